import cv2
import numpy as np
import pytest

from galmorph.data.segment import segment, sky_level
from galmorph.evaluation.masking import masked

SIDE = 120
MARGIN = 0.04


def cutout(seed=0, galaxy=True, neighbour=True, blank=False):
    """A smooth galaxy on a noisy sky of level 20, 24 and 30, with a neighbour at the lower right."""
    random = np.random.default_rng(seed)
    # Noise with a grain of two pixels, as resampled cutouts have.
    sky = cv2.GaussianBlur(random.normal(0, 8, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 1.2)
    image = sky + np.array([20, 24, 30], np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    if galaxy:
        image += 150 * np.exp(-np.hypot((y - 60) / 0.6, x - 60) / 7)[..., None]
    if neighbour:
        image += 120 * np.exp(-(((y - 95) ** 2 + (x - 95) ** 2) / 30))[..., None]
    if blank:
        image[..., 2] = 0
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def test_without_galaxy_there_is_no_galaxy_and_the_rest_is_untouched():
    image = cutout()
    galaxy = segment(image).galaxy
    without = masked(image, MARGIN, 1, "a").without_galaxy
    assert not segment(without).galaxy.any()
    level, deviation = sky_level(image[segment(image).sky])
    for channel in range(3):
        level, deviation = sky_level(image[..., channel][segment(image).sky])
        filled = without[..., channel][galaxy]
        assert abs(filled.mean() - level) < deviation
        assert 0.7 < filled.std() / deviation < 1.4
    far = ~cv2.dilate(galaxy.astype(np.uint8), np.ones((13, 13))).astype(bool)
    np.testing.assert_array_equal(without[far], image[far])
    assert segment(without).neighbours[95, 95]


def test_the_patch_has_the_grain_of_the_sky():
    """White noise in its place would show the galaxy's outline: neighbouring pixels of real sky are alike."""
    image = cutout(neighbour=False)
    galaxy = segment(image).galaxy
    without = masked(image, MARGIN, 1, "a").without_galaxy[..., 0].astype(float)

    def alike(mask):
        both = mask[:, 1:] & mask[:, :-1]
        return np.corrcoef(without[:, 1:][both], without[:, :-1][both])[0, 1]

    assert alike(segment(image).sky) > 0.6
    assert alike(galaxy) > 0.5


def test_without_surroundings_the_galaxy_is_kept_and_neighbours_are_gone():
    image = cutout()
    segments = segment(image)
    alone = masked(image, MARGIN, 1, "a").without_surroundings
    np.testing.assert_array_equal(alone[segments.galaxy], image[segments.galaxy])
    assert not segment(alone).neighbours[95, 95]
    sky = alone[segments.sky | segments.neighbours].astype(float)
    assert sky.mean(0) == pytest.approx(image[segments.sky].mean(0), abs=0.3)
    assert sky.std(0) == pytest.approx(image[segments.sky].std(0), rel=0.05)


def test_a_band_that_was_never_observed_stays_blank():
    found = masked(cutout(blank=True), MARGIN, 1, "a")
    assert not found.without_galaxy[..., 2].any()
    assert not found.without_surroundings[..., 2].any()


def test_no_galaxy_nothing_to_mask():
    assert masked(cutout(galaxy=False), MARGIN, 1, "a") is None
    assert masked(np.zeros((64, 64, 3), np.uint8), MARGIN, 1, "a") is None


def test_a_galaxy_that_fills_most_of_the_frame_leaves_nothing_unfilled():
    y, x = np.mgrid[:SIDE, :SIDE]
    light = 200 * np.exp(-np.hypot(y - 60, x - 60) / 18)[..., None] + np.random.default_rng(0).normal(15, 3, (1, 1, 3))
    image = np.clip(light + np.random.default_rng(1).normal(0, 2, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    segments = segment(image)
    assert segments.galaxy.mean() > 0.25
    without = masked(image, MARGIN, 1, "a").without_galaxy
    assert without[segments.galaxy].max() <= image[segments.sky].max()


def test_same_seed_and_galaxy_same_pixels():
    image = cutout()
    first, again, other = (masked(image, MARGIN, *key) for key in ((1, "a"), (1, "a"), (1, "b")))
    np.testing.assert_array_equal(first.without_galaxy, again.without_galaxy)
    np.testing.assert_array_equal(first.without_surroundings, again.without_surroundings)
    assert (first.without_surroundings != other.without_surroundings).any()
