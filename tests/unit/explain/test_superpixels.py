"""Super-pixels that follow galaxies."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from galmorph.data.segment import segment
from galmorph.explain.superpixels import superpixels


@pytest.fixture
def annuli(params):
    return params.explain.lime.model_copy(update={"superpixels": "annuli", "annuli": 4, "sectors": 6})


@pytest.fixture
def slic(params):
    return params.explain.lime.model_copy(update={"superpixels": "slic"})


def spot(side, x, y, radius, axis_ratio, degrees, peak):
    rows, columns = np.mgrid[:side, :side]
    dx, dy, turn = columns - x, y - rows, np.radians(degrees)
    along = dx * np.cos(turn) + dy * np.sin(turn)
    across = (dy * np.cos(turn) - dx * np.sin(turn)) / axis_ratio
    return peak * np.exp(-0.5 * (np.hypot(along, across) / radius) ** 2)


def picture(light, seed=0, noise=1.0):
    sky = 12 + np.random.default_rng(seed).normal(0, noise, (*light.shape, 3))
    return (light[..., None] + sky).clip(0, 255).astype(np.uint8)


def galaxy(seed):
    """A random galaxy, off the centre, turned and flattened; its image, and where its middle is."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(32, 97))
    x, y = (side - 1) / 2 + rng.uniform(-0.06, 0.06, 2) * side
    light = spot(
        side, x, y, rng.uniform(0.06, 0.12) * side, rng.uniform(0.25, 1), rng.uniform(0, 180), rng.uniform(60, 220)
    )
    if rng.uniform() < 0.5:
        light += spot(side, 0.12 * side, 0.85 * side, 0.04 * side, 1, 0, 150)
    return picture(light, seed), (x, y)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_galaxy_the_pieces_are_numbered_without_gaps_and_its_centre_is_one(seed, annuli):
    image, (x, y) = galaxy(seed)
    made = superpixels(image, annuli)
    assert made.galaxy_found
    assert made.labels.shape == image.shape[:2]
    assert np.issubdtype(made.labels.dtype, np.integer)
    np.testing.assert_array_equal(np.unique(made.labels), np.arange(made.count))
    assert made.count <= 1 + 5 * 6
    rows, columns = np.nonzero(made.labels == made.labels[round(y), round(x)])
    # Around the galaxy's centre, not the image's, and on both sides of it.
    assert np.hypot(rows.mean() - y, columns.mean() - x) < 1.0
    np.testing.assert_array_equal(superpixels(image.astype(np.float32), annuli).labels, made.labels)


@pytest.mark.parametrize("seed", range(20))
def test_turning_the_image_turns_the_pieces(seed, annuli):
    image = picture(spot(64, 33, 29, 8, 0.5, 180 * np.random.default_rng(seed).uniform(), 180), noise=0.0)
    upright = superpixels(image, annuli).labels
    turned = superpixels(np.rot90(image).copy(), annuli).labels
    assert adjusted_rand_score(np.rot90(upright).ravel(), turned.ravel()) > 0.97


@pytest.mark.parametrize("degrees", [0, 35, 90, 150])
def test_annuli_have_the_galaxys_own_form_and_grow_evenly(degrees, annuli):
    whole = annuli.model_copy(update={"sectors": 1})
    labels = superpixels(picture(spot(128, 60, 66, 13, 0.4, degrees, 200)), whole).labels
    assert labels.max() == 4  # the centre, three annuli, the sky
    areas, radii = [], []
    for ring in range(4):
        rows, columns = np.nonzero(labels <= ring)
        offsets = np.stack([columns - 60.0, 66.0 - rows])
        minor, major = np.sqrt(np.linalg.eigvalsh(offsets @ offsets.T / len(rows)))
        assert minor / major == pytest.approx(0.4, abs=0.06)
        areas.append(len(rows))
        radii.append(major)
    growth = np.divide(radii[1:], radii[:-1])
    np.testing.assert_allclose(growth, growth.mean(), rtol=0.1)
    # Half the light of a Gaussian lies within 1.18 sigma; the centre reaches half as far.
    assert areas[0] == pytest.approx(np.pi * 0.4 * (0.5 * 1.177 * 13) ** 2, rel=0.15)


def test_the_sky_holds_nothing_of_the_galaxy(annuli):
    image = picture(spot(96, 47, 50, 9, 0.5, 20, 200))
    labels = superpixels(image, annuli.model_copy(update={"sectors": 1})).labels
    sky = labels == labels.max()
    assert sky[0, 0]
    assert not sky[segment(image).galaxy].any()
    assert sky.mean() > 0.5


def test_sectors_of_an_annulus_are_alike_in_size(annuli):
    labels = superpixels(picture(spot(128, 64, 64, 14, 0.4, 30, 200)), annuli).labels
    sizes = np.bincount(labels.ravel())[1 : 1 + 3 * 6].reshape(3, 6)
    assert (sizes.max(1) < 1.25 * sizes.min(1)).all()


def test_a_neighbour_shares_no_piece_with_galaxy_or_sky(annuli):
    image = picture(spot(96, 48, 48, 9, 0.6, 0, 200) + spot(96, 18, 74, 4, 1, 0, 200))
    neighbours = segment(image).neighbours
    labels = superpixels(image, annuli).labels
    assert neighbours[74, 18]
    assert not set(labels[neighbours]) & set(labels[~neighbours])


@pytest.mark.parametrize("value", [0, 7, 255])
def test_without_a_galaxy_circles_lie_about_the_middle(value, annuli):
    made = superpixels(np.full((48, 48, 3), value, np.uint8), annuli)
    assert not made.galaxy_found
    assert made.count == 1 + 4 * 6
    rows, columns = np.nonzero(made.labels == made.labels[24, 24])
    assert (rows.mean(), columns.mean()) == (23.5, 23.5)


def test_a_galaxy_away_from_the_middle_is_none(annuli):
    made = superpixels(picture(spot(96, 10, 10, 4, 1, 0, 200)), annuli)
    assert not made.galaxy_found
    assert made.labels[10, 10] != made.labels[30, 10]  # it is a neighbour


@pytest.mark.parametrize("side", [31, 32])
def test_a_galaxy_of_one_pixel_is_cut_up_all_the_same(side, annuli):
    image = np.full((side, side, 3), 10, np.uint8)
    image[side // 2, side // 2] = 255
    made = superpixels(image, annuli)
    assert made.galaxy_found
    np.testing.assert_array_equal(np.unique(made.labels), np.arange(made.count))
    assert made.labels[side // 2, side // 2] == 0
    assert (made.labels == 0).sum() == 1


def test_one_annulus_is_the_galaxy_and_the_sky(annuli):
    whole = annuli.model_copy(update={"annuli": 1, "sectors": 1})
    image = picture(spot(64, 32, 32, 7, 0.7, 0, 200))
    labels = superpixels(image, whole).labels
    assert labels.max() == 1
    assert not labels[segment(image).galaxy].any()


@pytest.mark.parametrize("seed", range(5))
def test_slic_cuts_by_colour_and_always_the_same(seed, slic):
    image, (x, y) = galaxy(seed)
    made = superpixels(image, slic)
    assert made.galaxy_found
    np.testing.assert_array_equal(np.unique(made.labels), np.arange(made.count))
    assert 5 < made.count <= 2 * slic.segments
    assert made.labels[round(y), round(x)] != made.labels[0, 0]
    np.testing.assert_array_equal(superpixels(image, slic).labels, made.labels)


def test_slic_of_one_colour_is_a_tiling(slic):
    made = superpixels(np.full((48, 48, 3), 9, np.uint8), slic)
    assert not made.galaxy_found
    np.testing.assert_array_equal(np.unique(made.labels), np.arange(made.count))
