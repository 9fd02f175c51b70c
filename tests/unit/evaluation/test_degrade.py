import cv2
import numpy as np
import pytest

from galmorph.data.dataset import crop_box, prepare
from galmorph.evaluation.degrade import KINDS, Setting, degrade, rotated, settings, view
from galmorph.params import PreprocessParams, check

PREPROCESS = PreprocessParams(crop=0.6, image_size=32)


@pytest.fixture(scope="module")
def image():
    """A lopsided galaxy on a noisy sky, the third band never observed."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:100, :100]
    light = 180 * np.exp(-np.hypot((y - 50) / 0.5, x - 50) / 8) + 90 * np.exp(-((y - 40) ** 2 + (x - 62) ** 2) / 40)
    pixels = random.normal(20, 3, (100, 100, 3)) + light[..., None]
    pixels[..., 2] = 7
    return np.clip(pixels, 0, 255).astype(np.uint8)


def change(image, kind, level, name="a"):
    return degrade(image, Setting(kind, level), 1, name)


def test_settings_are_all_that_params_ask_for(values):
    asked = check(values, "params.yaml").robustness
    found = list(settings(asked))
    assert [setting.kind for setting in found] == [kind for kind in KINDS for _ in getattr(asked, kind)]
    assert [setting.level for setting in found if setting.kind == "zoom"] == sorted(asked.zoom)
    assert Setting("zoom", 0.75).name == "zoom 0.75"


@pytest.mark.parametrize("kind", [kind for kind, (_, neutral) in KINDS.items() if neutral is not None])
def test_the_neutral_level_changes_nothing(image, kind):
    neutral = KINDS[kind][1]
    if kind != "blur":  # a Gaussian without width is no Gaussian
        np.testing.assert_array_equal(change(image, kind, neutral), image)
    np.testing.assert_array_equal(view(image, Setting("zoom", 1.0), PREPROCESS), prepare(image, PREPROCESS))


@pytest.mark.parametrize("zoom", [0.4, 0.6, 0.75, 1.35, 1.7, 3.0])
def test_a_disc_looks_zoom_times_as_large_and_stays_in_the_middle(zoom):
    frame = np.zeros((300, 300, 3), np.uint8)
    cv2.circle(frame, (150, 150), 20, (255, 255, 255), -1)
    seen = view(frame, Setting("zoom", zoom), PreprocessParams(crop=0.6, image_size=180))[..., 0] / 255
    # At no zoom a pixel of the frame is one of the view.
    assert np.sqrt(seen.sum() / (frame[..., 0] / 255).sum()) == pytest.approx(zoom, rel=0.01)
    y, x = np.mgrid[:180, :180]
    assert (seen * y).sum() / seen.sum() == pytest.approx(90, abs=zoom)
    assert (seen * x).sum() / seen.sum() == pytest.approx(90, abs=zoom)


@pytest.mark.parametrize("shape", [(90, 90), (90, 121), (121, 90), (91, 90)])
def test_past_the_frame_it_is_black(shape):
    frame = np.full((*shape, 3), 200, np.uint8)
    seen = view(frame, Setting("zoom", 0.5), PreprocessParams(crop=1.0, image_size=100))[..., 0]
    side = min(shape)
    rows, columns = seen.max(1) > 100, seen.max(0) > 100
    assert rows.sum() == pytest.approx(100 * min(1, shape[0] / (2 * side)), abs=2)
    assert columns.sum() == pytest.approx(100 * min(1, shape[1] / (2 * side)), abs=2)
    assert abs(np.flatnonzero(rows).mean() - 49.5) <= 1
    assert abs(np.flatnonzero(columns).mean() - 49.5) <= 1
    assert seen[0, 0] == 0


def test_rotation_is_anticlockwise_and_about_the_middle(image):
    np.testing.assert_array_equal(rotated(image, 90), np.rot90(image))
    np.testing.assert_array_equal(rotated(image, 180), image[::-1, ::-1])
    np.testing.assert_array_equal(rotated(image, -90), np.rot90(image, -1))
    smooth = cv2.GaussianBlur(image, (0, 0), 2)
    exact, turned = np.rot90(smooth).astype(int), rotated(rotated(smooth, 60), 30).astype(int)
    middle = slice(25, 75)
    assert np.abs(exact - turned)[middle, middle].max() <= 4
    assert rotated(image, 45)[0, 0].max() == 0


def test_a_quarter_turn_of_a_frame_that_is_not_square_keeps_its_shape(image):
    assert rotated(image[:, :80], 90).shape == (100, 80, 3)


def test_brightness_multiplies_and_stops_at_white(image):
    np.testing.assert_allclose(change(image, "brightness", 0.5), image / 2, atol=0.51)
    assert change(image, "brightness", 4.0).max() == 255


def test_noise_has_its_deviation_and_spares_a_band_that_was_never_observed():
    flat = np.full((200, 200, 3), 120, np.uint8)
    flat[::2, :, :2] = 121
    noisy = change(flat, "noise", 16.0).astype(float)
    assert (noisy - flat)[..., :2].std() == pytest.approx(16, rel=0.02)
    assert abs((noisy - flat)[..., :2].mean()) < 0.3
    np.testing.assert_array_equal(noisy[..., 2], flat[..., 2])


def test_noise_depends_on_the_galaxy_and_the_seed_alone(image):
    np.testing.assert_array_equal(change(image, "noise", 8.0), change(image, "noise", 8.0))
    assert (change(image, "noise", 8.0) != change(image, "noise", 8.0, "b")).any()


def test_blur_has_its_width():
    point = np.zeros((101, 101, 3), np.uint8)
    point[50, 50] = 255
    wide = cv2.GaussianBlur(point, (0, 0), 0.8) * 4.0
    seen = change(wide.clip(0, 255).astype(np.uint8), "blur", 2.0)[..., 0].astype(float)
    spread = np.sqrt((seen * (np.arange(101) - 50) ** 2).sum() / seen.sum())
    assert spread == pytest.approx(np.hypot(0.8, 2.0), rel=0.15)


def test_jpeg_is_worse_at_lower_quality_and_keeps_colours(image):
    errors = [np.abs(change(image, "jpeg", q).astype(int) - image).mean() for q in (95, 60, 20)]
    assert errors == sorted(errors)
    assert errors[0] < 2.5
    assert change(image, "jpeg", 95)[..., 0].mean() == pytest.approx(image[..., 0].mean(), abs=1)


def test_padding_puts_black_round_the_frame_and_the_galaxy_looks_smaller(image):
    padded = change(image, "padding", 1.5)
    assert padded.shape == (150, 150, 3)
    np.testing.assert_array_equal(padded[25:125, 25:125], image)
    assert padded.sum() == image.sum()
    top, _, side = crop_box(150, 150, PREPROCESS)
    assert (top, side) == (30, 90)
    seen = view(padded, Setting("padding", 1.5), PREPROCESS)
    np.testing.assert_array_equal(seen, prepare(padded, PREPROCESS))


def test_an_unknown_kind_is_refused(image):
    with pytest.raises(ValueError, match=r"zoom, rotation.*Received: 'fog'"):
        change(image, "fog", 1.0)
