"""FITS images from outside: which way is up, what planes mean, what has no value, and what is refused."""

import io

import numpy as np
import pytest
from astropy.io import fits

from galmorph.data.bands import colour_image
from galmorph.data.fits_image import decode_fits
from galmorph.errors import ImageError, TooManyPixelsError


def file(data, **cards):
    stream = io.BytesIO()
    unit = fits.PrimaryHDU(data)
    unit.header.update(cards)
    unit.writeto(stream)
    return stream.getvalue()


@pytest.fixture
def bands(params):
    return params.acquire.cutouts


def light(seed=0, side=48):
    """Noise, and a source in the north-west corner: the last rows, the first columns."""
    band = np.random.default_rng(seed).normal(100, 2, (side, side)).astype(np.float32)
    band[-10:-6, 5:9] += 400
    return band


def test_three_planes_are_g_i_and_h_with_north_up(bands):
    planes = np.stack([light(1), light(2) * 3, light(3)])
    found = decode_fits(file(planes), "a.fits", 10_000, bands)
    assert (found.shape, found.dtype) == ((48, 48, 3), np.uint8)
    assert np.unravel_index(found.sum(-1).argmax(), (48, 48))[0] in range(6, 10)
    noise_only = bands.model_copy(update={"unit": dict.fromkeys("giH")})
    expected = colour_image(dict(zip("giH", planes, strict=True)), noise_only)
    assert (found == expected).all()
    # The unit does not matter: each band is scaled by its own noise.
    assert np.abs(decode_fits(file(planes * 7), "a.fits", 10_000, bands).astype(int) - found).max() <= 1


def test_one_plane_is_grey(bands):
    found = decode_fits(file(light()), "a.fits", 10_000, bands)
    assert (found == found[..., :1]).all()
    assert found.max() > 100
    assert found[6:10, 5:9].min() > np.median(found)


def test_a_cube_of_one_plane_is_that_plane(bands):
    flat = decode_fits(file(light()), "a.fits", 10_000, bands)
    assert (decode_fits(file(light()[None, None]), "a.fits", 10_000, bands) == flat).all()


def test_eight_bits_are_a_picture_as_it_is(bands):
    picture = np.random.default_rng(1).integers(0, 256, (3, 20, 30), np.uint8)
    found = decode_fits(file(picture), "a.fits", 10_000, bands)
    assert (found == picture.transpose(1, 2, 0)[::-1]).all()
    grey = decode_fits(file(picture[0]), "a.fits", 10_000, bands)
    assert (grey == picture[0][::-1, :, None]).all()


def test_pixels_without_a_value_are_as_bright_as_the_sky(bands):
    plane = light()
    holes = plane.copy()
    holes[:4], holes[20, 20], holes[21, 21] = np.nan, np.inf, 1e30
    found = decode_fits(file(np.stack([holes] * 3)), "a.fits", 10_000, bands)
    whole = decode_fits(file(np.stack([plane] * 3)), "a.fits", 10_000, bands)
    assert np.abs(found[-1].astype(int) - np.median(whole, (0, 1))).max() <= 6
    assert np.abs(found.astype(int) - whole)[5:20].max() <= 6


def test_a_plane_without_any_value_stays_blank(bands):
    found = decode_fits(file(np.stack([light(1), light(2), np.full((48, 48), np.nan)])), "a.fits", 10_000, bands)
    # H is red.
    assert found[..., 0].max() == 0
    assert found[..., 1].max() > 0


def test_integers_are_scaled_and_blank_ones_have_no_value(bands):
    stored = np.rint(light()).astype(np.int16)
    stored[:3] = -9
    found = decode_fits(file(stored, BSCALE=2.0, BZERO=5.0, BLANK=-9), "a.fits", 10_000, bands)
    floats = np.where(stored == -9, np.nan, stored * 2.0 + 5.0)
    assert (found == decode_fits(file(floats), "a.fits", 10_000, bands)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "not a FITS file"),
        (b"SIMPLE  =" + b"\xff" * 5000, "not a FITS file"),
        (file(light())[:4000], "cut off"),
        (file(None), "one plane, or three"),
        (file(np.ones((2, 8, 8), np.float32)), "one plane, or three"),
        (file(np.ones((8,), np.float32)), "one plane, or three"),
        (file(np.ones((8, 8), np.float32)), "shows nothing"),
        (file(np.full((8, 8), np.nan)), "none finite"),
        (file(light()).replace(b"NAXIS1  =                   48", b"NAXIS1  =                  -48"), "gives no sizes"),
        (file(light()).replace(b"NAXIS   =                    2", b"NAXIS   =                    T"), "a.fits"),
        (file(light()).replace(b"BITPIX  =                  -32", b"BITPIX  =                  -31"), "BITPIX -31"),
    ],
)
def test_what_is_no_image_is_refused_by_name(bands, content, message):
    with pytest.raises(ImageError, match=message) as raised:
        decode_fits(content, "a.fits", 10_000, bands)
    assert "a.fits" in str(raised.value)


def test_a_size_that_is_only_announced_is_refused_before_anything_is_made_of_it(bands):
    content = file(light()).replace(b"NAXIS1  =                   48", b"NAXIS1  =               480000")
    with pytest.raises(TooManyPixelsError, match="480000 x 48 pixels"):
        decode_fits(content, "a.fits", 10_000, bands)


def test_a_header_that_was_tampered_with_raises_nothing_but_its_error(bands):
    good = bytearray(file(light()))
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        bad = bytearray(good)
        for at in random.integers(0, 2880, 4):
            bad[at] = random.integers(0, 256)
        try:
            assert decode_fits(bytes(bad), "a.fits", 10_000, bands).dtype == np.uint8
        except ImageError:
            refused += 1
    assert refused > 10
