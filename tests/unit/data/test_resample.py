import cv2
import numpy as np
import pytest

from galmorph.data.resample import resample


def texture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("fill", ["nearest", "black"])
@pytest.mark.parametrize(("side", "size"), [(100, 100), (100, 64), (100, 33), (100, 25), (40, 97), (40, 160)])
def test_whole_frames_come_out_as_opencv_s(side, size, fill):
    image = texture(side, side)
    method = cv2.INTER_AREA if size <= side else cv2.INTER_CUBIC
    expected = cv2.resize(image, (size, size), interpolation=method).astype(int)
    made = resample(image, 0, 0, side, size, fill).astype(int)
    middle = slice(None) if size <= side or fill == "nearest" else slice(4, -4)
    assert np.abs(made - expected)[middle, middle].max() <= 1


def test_a_square_between_pixels_averages_what_it_covers():
    image = texture(120, 121)
    made = resample(image, 20.5, 31.25, 60, 60, "black").astype(float)
    part = image.astype(float)
    rows = (part[20:80] + part[21:81]) / 2
    expected = 0.75 * rows[:, 31:91] + 0.25 * rows[:, 32:92]
    np.testing.assert_allclose(made, expected, atol=0.51)


@pytest.mark.parametrize("fill", ["nearest", "black"])
def test_shrinking_past_the_frame(fill):
    image = texture(20, 20)
    border = cv2.BORDER_REPLICATE if fill == "nearest" else cv2.BORDER_CONSTANT
    padded = cv2.copyMakeBorder(image, 15, 15, 15, 15, border)
    expected = resample(padded, 2, 4, 46, 17, fill)
    np.testing.assert_allclose(resample(image, -13, -11, 46, 17, fill).astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize(("fill", "value"), [("nearest", 77), ("black", 0)])
@pytest.mark.parametrize("size", [5, 200])
def test_a_square_that_misses_the_frame(fill, value, size):
    made = resample(np.full((20, 20, 3), 77, np.uint8), 300, -400, 50, size, fill)
    np.testing.assert_array_equal(made, value)
    assert made.shape == (size, size, 3)
