import numpy as np
import pytest

from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.faithfulness.stability import noise_stability, turn_stability
from tests.lookers import CENTRE, Brightness, reads


class Fixed(Explainer):
    """A map that does not look at the image: brighter row by row."""

    name, title, meaning = "fixed", "Fixed", "nothing"

    def _attribute(self, images, signs):
        rows = np.arange(32, dtype=np.float32)[:, None] * np.ones(32, np.float32)
        return Attributions(np.stack([rows] * len(images)))


class Vanishing(Explainer):
    """An empty map unless the image is of whole numbers, as it was before the noise."""

    name, title, meaning = "vanishing", "Vanishing", "nothing"

    def _attribute(self, images, signs):
        whole = (images == np.rint(images)).all((1, 2, 3))
        return Attributions(np.where(whole[:, None, None], images.mean(-1), 0).astype(np.float32))


@pytest.fixture(scope="module")
def model():
    return reads(CENTRE)


def explained(explainer, galaxies):
    return explainer.explain(galaxies.images, galaxies.target)


def under_noise(explainer, galaxies, maps, scores, seed=1, batch_size=5):
    return noise_stability({"it": explainer}, galaxies, {"it": maps}, scores, seed, batch_size)["it"]


def under_turns(explainer, galaxies, maps):
    return turn_stability({"it": explainer}, galaxies, {"it": maps}, 5)["it"]


def test_a_map_of_the_image_turns_with_it(model, scored):
    explainer = Brightness(model, 5)
    np.testing.assert_allclose(under_turns(explainer, scored, explained(explainer, scored)), 1)


def test_a_map_of_the_frame_does_not(model, scored):
    """Of the seven, one keeps the rows (1), two turn them over (-1), four put them across (0)."""
    explainer = Fixed(model, 5)
    np.testing.assert_allclose(
        under_turns(explainer, scored, explained(explainer, scored)), (1 - 2 + 4 * 0) / 7, atol=1e-6
    )


def test_noise_that_is_small_against_the_image_changes_little(model, scored, scores):
    explainer = Brightness(model, 5)
    maps = explained(explainer, scored)
    little = under_noise(explainer, scored, maps, scores.model_copy(update={"noise": 0.01}))
    much = under_noise(explainer, scored, maps, scores.model_copy(update={"noise": 50.0}))
    assert (little > 0.99).all()
    assert (much < 0.7).all()
    assert (much > 0).all()


def test_a_map_that_does_not_look_at_the_image_is_stable_under_noise(model, scored, scores):
    explainer = Fixed(model, 5)
    np.testing.assert_allclose(under_noise(explainer, scored, explained(explainer, scored), scores), 1)


def test_a_map_that_noise_empties_is_not_stable(model, scored, scores):
    explainer = Vanishing(model, 5)
    np.testing.assert_array_equal(under_noise(explainer, scored, explained(explainer, scored), scores), 0)


def test_a_map_that_was_empty_has_no_stability(model, scored, scores):
    explainer = Brightness(model, 5)
    maps = explained(explainer, scored)
    maps[2] = 0
    for found in (under_noise(explainer, scored, maps, scores), under_turns(explainer, scored, maps)):
        assert np.flatnonzero(np.isnan(found)).tolist() == [2]


def test_noise_belongs_to_the_galaxy(model, scored, scores):
    maps = explained(Brightness(model, 5), scored)
    together = under_noise(Brightness(model, 5), scored, maps, scores)
    places = np.array([8, 3])
    alone = under_noise(Brightness(model, 1), scored.only(places), maps[places], scores, 1, 1)
    np.testing.assert_allclose(alone, together[places])
    assert not np.allclose(under_noise(Brightness(model, 5), scored, maps, scores, 2), together)
