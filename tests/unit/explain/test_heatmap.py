"""From an attribution to colours."""

import matplotlib
import numpy as np
import pytest

from galmorph.data.dataset import prepare
from galmorph.explain.heatmap import coloured, normalised, overlay, overlay_on_frame, scale_end
from galmorph.params import PreprocessParams


@pytest.fixture
def picture(params):
    return params.explain.picture


def test_the_defaults_are_those_that_are_promised(picture):
    assert (picture.colour_map, picture.alpha) == ("viridis", 0.6)


def test_normalisation_keeps_an_empty_map_empty():
    assert not normalised(np.zeros((4, 4)), False, 0.9).any()
    assert not normalised(np.zeros((4, 4)), True, 0.9).any()
    assert normalised(np.zeros((0, 4)), True, 0.9).shape == (0, 4)


def test_negative_values_count_only_where_they_mean_something():
    values = np.array([[-4.0, 2.0], [0.0, 1.0]])
    np.testing.assert_allclose(normalised(values, False, 1.0), [[0, 1], [0, 0.5]])
    np.testing.assert_allclose(normalised(values, True, 1.0), [[-1, 0.5], [0, 0.25]])


def test_a_few_extreme_pixels_do_not_darken_the_rest():
    values = np.ones((10, 10))
    values[0, 0] = 1000
    assert scale_end(values, False, 0.95) == 1
    assert normalised(values, False, 0.95).min() == 1
    assert scale_end(values, False, 1.0) == 1000


def test_one_hot_pixel_is_no_empty_map():
    values = np.zeros((100, 100))
    values[3, 4] = -2
    assert scale_end(values, True, 0.995) == 2
    assert np.argwhere(normalised(values, True, 0.995)).tolist() == [[3, 4]]


def test_zero_is_the_dark_end_and_the_dark_middle(picture):
    zero = np.array([[0.0, 1.0]])
    plain, signed = coloured(zero, False, picture), coloured(np.array([[-1.0, 0.0, 1.0]]), True, picture)
    np.testing.assert_array_equal(plain[0], [[68, 1, 84], [253, 231, 37]])  # viridis, from purple to yellow
    luminance = signed[0].astype(float).mean(-1)
    assert luminance[1] < 30
    assert min(luminance[0], luminance[2]) > 100
    # Red for, blue against: told apart by everyone.
    assert signed[0, 2, 0] > signed[0, 2, 2]
    assert signed[0, 0, 2] > signed[0, 0, 0]


def test_jet_if_asked(picture):
    jet = picture.model_copy(update={"colour_map": "jet"})
    expected = np.rint(255 * np.array(matplotlib.colormaps["jet"](1.0)[:3]))
    np.testing.assert_array_equal(coloured(np.ones((1, 1)), False, jet)[0, 0], expected)


def test_the_overlay_mixes_image_and_colour(picture):
    image = np.full((2, 2, 3), 100, np.uint8)
    values = np.array([[0.0, 1.0], [0.0, 0.0]])
    clear, full = (picture.model_copy(update={"alpha": alpha}) for alpha in (0.0, 1.0))
    np.testing.assert_array_equal(overlay(image, values, False, clear), image)
    np.testing.assert_array_equal(overlay(image, values, False, full)[0, 1], [253, 231, 37])
    mixed = overlay(image, values, False, picture)
    np.testing.assert_array_equal(mixed[0, 1], np.rint(0.6 * np.array([253, 231, 37]) + 40))


def test_a_signed_overlay_leaves_the_image_clear_where_nothing_speaks(picture):
    image = np.full((1, 3, 3), 100, np.uint8)
    laid = overlay(image, np.array([[-1.0, 0.0, 1.0]]), True, picture)
    np.testing.assert_array_equal(laid[0, 1], [100, 100, 100])
    assert (laid[0, [0, 2]] != 100).any(-1).all()


def test_an_empty_map_leaves_the_image_as_it_is(picture):
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    np.testing.assert_array_equal(overlay(image, np.zeros((4, 4)), False, picture), image)


@pytest.mark.parametrize(("row", "column"), [(40, 50), (55, 31), (33, 69)])
def test_a_hot_pixel_lands_where_it_came_from(row, column, picture):
    """A point of light goes through `prepare`; the map of its brightness, laid back, is brightest at the point."""
    image = np.zeros((80, 100, 3), np.uint8)
    image[row, column] = 255
    seen = PreprocessParams(crop=0.5, image_size=40)  # rows 20 to 60, columns 30 to 70, pixel by pixel
    attribution = prepare(image, seen)[..., 0].astype(np.float32)
    full = picture.model_copy(update={"alpha": 1.0})
    laid = overlay_on_frame(np.zeros_like(image), attribution, True, seen, full)
    assert np.argwhere(laid.sum(-1) > 0).tolist() == [[row, column]]


@pytest.mark.parametrize("size", [20, 24, 64])
def test_the_centre_of_a_coarse_map_stays_the_centre(size, picture):
    """Whatever the model's size, a map lies symmetrically about the centre of the crop."""
    seen = PreprocessParams(crop=0.5, image_size=size)
    rows = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2))
    laid = overlay_on_frame(np.zeros((120, 120, 3), np.uint8), rows.max() - rows, False, seen, picture).astype(int)
    assert np.abs(laid - laid[::-1]).max() <= 1
    assert np.abs(laid - laid[:, ::-1]).max() <= 1


def test_what_the_model_did_not_see_is_left_as_it_is(picture):
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    laid = overlay_on_frame(image, np.ones((24, 24)), False, PreprocessParams(crop=0.5, image_size=24), picture)
    changed = (laid != image).any(-1)
    assert changed[15:45, 25:55].mean() > 0.95
    changed[15:45, 25:55] = False
    assert not changed.any()
