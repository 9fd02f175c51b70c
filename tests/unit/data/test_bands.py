"""From FITS bytes to the colour image."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from galmorph.data.bands import calibrated, colour_image, decode_band
from galmorph.errors import ImageError
from galmorph.params import CutoutsParams, SkyParams, read_values

PARAMS = CutoutsParams(**read_values(Path(__file__).parents[3] / "params.yaml")["acquire"]["cutouts"])
SKY = PARAMS.sky
SIZE = 60


def as_fits(data, **header):
    content = BytesIO()
    fits.PrimaryHDU(data, fits.Header(header)).writeto(content)
    return content.getvalue()


def sky_and_galaxy(level=0.0, noise=0.04, peak=20.0, seed=1, size=SIZE):
    y, x = np.indices((size, size)) - (size - 1) / 2
    rng = np.random.default_rng(seed)
    return (level + rng.normal(0, noise, (size, size)) + peak * np.exp(-np.hypot(x, y) / 3)).astype(np.float32)


# --- decode_band


def test_a_band_comes_back_as_it_was():
    data = sky_and_galaxy()
    found = decode_band(as_fits(data), SIZE)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, data)


def test_a_cube_of_one_plane_is_an_image():
    data = sky_and_galaxy()
    np.testing.assert_array_equal(decode_band(as_fits(data[None]), SIZE), data)


@pytest.mark.parametrize("blank", [0, 5])
def test_scaled_integers_and_their_blank_are_understood(blank):
    hdu = fits.PrimaryHDU(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) * 0.5)
    hdu.scale("int16", bscale=0.5, bzero=0)
    hdu.header["BLANK"] = blank
    content = BytesIO()
    hdu.writeto(content)
    assert fits.getheader(BytesIO(content.getvalue()))["BITPIX"] == 16
    found = decode_band(content.getvalue(), SIZE)
    assert np.isnan(found[0, blank])
    assert found[0, 3] == 1.5


@pytest.mark.parametrize(
    "data",
    [
        np.full((SIZE, SIZE), np.nan, np.float32),
        np.zeros((SIZE, SIZE), np.float32),
        np.full((SIZE, SIZE), -7.0, np.float32),
        np.full((SIZE, SIZE), np.inf, np.float32),
        None,
    ],
)
def test_a_place_that_was_not_observed_is_none(data):
    assert decode_band(as_fits(data), SIZE) is None


def test_partly_observed_is_observed():
    data = sky_and_galaxy()
    data[:20] = np.nan
    data[30, 30] = np.inf
    found = decode_band(as_fits(data), SIZE)
    assert np.isnan(found[:20]).all()
    assert np.isnan(found[30, 30])
    assert np.isfinite(found[20:]).sum() == 40 * SIZE - 1


def test_every_cut_is_noticed():
    # Padding at the end may be missing; nothing of the image may.
    content = as_fits(sky_and_galaxy())
    needed = 2880 + SIZE * SIZE * 4
    decode_band(content[:needed], SIZE)
    for length in (0, 5, 79, 2000, 2880, 2881, needed - 1):
        with pytest.raises(ImageError):
            decode_band(content[:length], SIZE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><body>Service unavailable</body></html>", "not a FITS file. Received: b'<html>"),
        (b"", "not a FITS file"),
        (b"SIMPLE  =                    T", "cut off"),
        (b"SIMPLE" + b"\xff" * 5000, "FITS header is not text"),
        (as_fits(np.zeros((SIZE - 1, SIZE), np.float32)), r"60x60 pixels. Received: shape \(59, 60\)"),
        (as_fits(np.zeros((2, SIZE, SIZE), np.float32)), "Received: shape"),
        (as_fits(np.zeros(SIZE, np.float32)), "Received: shape"),
    ],
)
def test_what_is_no_such_image_is_an_image_error(content, words):
    with pytest.raises(ImageError, match=words):
        decode_band(content, SIZE)


# --- calibrated


def test_sky_level_goes_and_the_unit_is_applied():
    band = np.full((SIZE, SIZE), 3.0)
    band[30, 30] = 13.0
    found = calibrated(band, unit=2.0, noise=1.0, sky=SKY)
    assert found[30, 30] == pytest.approx(20.0)
    assert found[0, 0] == 0


def test_without_a_unit_the_sky_noise_becomes_what_it_should_be():
    found = calibrated(sky_and_galaxy(level=5000, noise=30, size=200), unit=None, noise=0.57, sky=SKY)
    corner = found[:20]
    assert corner.std() == pytest.approx(0.57, rel=0.05)
    assert corner.mean() == pytest.approx(SKY.pedestal * 0.57, rel=0.1)


def test_a_star_on_the_border_moves_neither_level_nor_noise():
    band = sky_and_galaxy(size=200)
    with_star = band.copy()
    with_star[2:9, 50:57] += 500
    np.testing.assert_allclose(
        calibrated(with_star, None, 0.5, SKY)[100:], calibrated(band, None, 0.5, SKY)[100:], rtol=0.05, atol=0.02
    )


def test_places_without_a_value_look_like_sky():
    band = sky_and_galaxy(level=100, noise=1.0)
    band[:, :10] = np.nan
    found = calibrated(band, unit=1.0, noise=1.0, sky=SKY)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, :10], found[0, 0])
    assert found[0, 0] == pytest.approx(SKY.pedestal * 1.0, rel=0.1)


def test_a_border_without_values_falls_back_on_the_rest():
    band = np.full((SIZE, SIZE), np.nan)
    band[20:40, 20:40] = sky_and_galaxy(level=7, peak=0, size=20)
    found = calibrated(band, unit=1.0, noise=1.0, sky=SkyParams(border=0.1, noise=SKY.noise, pedestal=0.0))
    assert abs(found[20:40, 20:40].mean()) < 0.05


# --- colour_image


def colour(g=None, i=None, h=None):
    return colour_image({"g": g, "i": i, "H": h}, PARAMS)


def test_red_is_h_green_is_i_blue_is_g():
    band = sky_and_galaxy()
    for channel, image in enumerate((colour(h=band), colour(i=band), colour(g=band))):
        others = [other for other in range(3) if other != channel]
        assert image[30, 30, channel] > 100
        assert (image[..., others] == 0).all()


def test_shape_and_type():
    image = colour(*[sky_and_galaxy(seed=seed) for seed in range(3)])
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]


def test_north_is_up():
    band = sky_and_galaxy(peak=0)
    band[50:53, 20:23] += 50  # FITS rows count from the south
    image = colour(i=band)
    row, column = np.unravel_index(image[..., 1].argmax(), (SIZE, SIZE))
    assert 7 <= row <= 9
    assert 20 <= column <= 22


def test_the_unit_and_sky_of_a_band_without_a_unit_do_not_matter():
    g, i, h = (sky_and_galaxy(seed=seed) for seed in range(3))
    first = colour(g, i, h).astype(int)
    second = colour(g, i, (h.astype(float) * 250 + 5000).astype(np.float32)).astype(int)
    assert np.abs(first - second).max() <= 1


def test_a_brighter_galaxy_is_brighter_and_a_redder_one_redder():
    g, i, h = (sky_and_galaxy(seed=seed, peak=2.0) for seed in range(3))
    bright = colour(*(sky_and_galaxy(seed=seed, peak=8.0) for seed in range(3)))
    assert bright[25:35, 25:35].mean() > 1.2 * colour(g, i, h)[25:35, 25:35].mean()
    red = colour(g, i, sky_and_galaxy(seed=2, peak=8.0))[25:35, 25:35].mean((0, 1))
    plain = colour(g, i, h)[25:35, 25:35].mean((0, 1))
    assert red[0] / red[2] > 2 * plain[0] / plain[2]


def test_a_missing_band_is_a_blank_channel():
    image = colour(sky_and_galaxy(seed=1), sky_and_galaxy(seed=2), None)
    assert (image[..., 0] == 0).all()
    assert image[..., 1].std() > 5


def test_no_band_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one band"):
        colour()
