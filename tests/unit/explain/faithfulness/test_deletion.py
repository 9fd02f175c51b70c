"""Deletion and insertion, by hand and by what must pass and fail."""

import keras
import numpy as np
import pytest
from scipy.special import expit

from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.deletion import deletion_and_insertion, descending, displaced
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.verdicts import estimate, on_deletion, on_insertion
from galmorph.explain.grad_cam import GradCam
from galmorph.models.layers import with_probability
from tests.lookers import CENTRE, reads, shuffled


def test_areas_are_those_worked_out_by_hand(scores):
    """Four pixels, four steps, a logit of one unit for each of weights 4, 2, 1, -1, temperature 2."""
    image = keras.Input((2, 2, 3), name="image")
    logit = keras.layers.Dense(1, use_bias=False, name="logit")(keras.layers.Flatten(name="flat")(image))
    model = with_probability(keras.Model(image, logit), 2.0)
    weights = np.repeat([4.0, 2, 1, -1], 3) / 3
    model.get_layer("logit").set_weights([weights[:, None].astype(np.float32)])
    params = scores.model_copy(update={"hidden": "black", "steps": 4})
    galaxies = Galaxies(["a", "b"], np.ones((2, 2, 2, 3), np.uint8), (), ["Elliptical", "Other"], ["", ""])
    maps = np.array([[[4.0, 2], [1, -1]], [[-4, -2], [-1, 1]]], np.float32)
    areas = deletion_and_insertion(Answers(model, 3), galaxies, maps, params, 0)

    def area(*logits):
        p = expit(np.array(logits) / 2)
        return (p[:-1] + p[1:]).mean() / 2

    np.testing.assert_allclose(areas.deletion, [area(6, 2, 0, -1, 0), area(-6, -7, -6, -4, 0)], rtol=1e-6)
    np.testing.assert_allclose(areas.insertion, [area(0, 4, 6, 7, 6), area(0, 1, 0, -2, -6)], rtol=1e-6)


@pytest.fixture(scope="module")
def model():
    return reads(CENTRE)


@pytest.fixture(scope="module")
def maps(model, scored):
    return GradCam(model, None, 4).explain(scored.images, scored.target)


class TestVerdicts:
    """Grad-CAM of a model that reads the centre, and the same map shuffled."""

    def judged(self, model, scored, maps, scores):
        areas = deletion_and_insertion(Answers(model, 32), scored, maps, scores, 3)
        deletion = estimate(areas.deletion - areas.deletion_displaced, scores, 3)
        insertion = estimate(areas.insertion - areas.insertion_displaced, scores, 3)
        return (
            on_deletion(deletion, scores.negligible).verdict,
            on_insertion(insertion, scores.negligible).verdict,
        )

    def test_a_true_map_passes(self, model, scored, maps, scores):
        assert self.judged(model, scored, maps, scores) == ("passed", "passed")

    def test_a_shuffled_map_fails(self, model, scored, maps, scores):
        assert self.judged(model, scored, shuffled(maps), scores) == ("failed", "failed")

    def test_a_map_upside_down_fails(self, model, scored, maps, scores):
        assert self.judged(model, scored, -maps, scores) == ("failed", "failed")

    def test_neither_batches_nor_other_galaxies_matter(self, model, scored, maps, scores):
        together = deletion_and_insertion(Answers(model, 32), scored, maps, scores, 3)
        places = np.array([7, 2])
        alone = deletion_and_insertion(Answers(model, 5), scored.only(places), maps[places], scores, 3)
        np.testing.assert_allclose(alone.deletion, together.deletion[places], rtol=1e-5)
        np.testing.assert_allclose(alone.insertion_displaced, together.insertion_displaced[places], rtol=1e-5)

    def test_an_empty_map_has_no_area(self, model, scored, maps, scores):
        holed = maps.copy()
        holed[1] = 0
        areas = deletion_and_insertion(Answers(model, 32), scored, holed, scores, 3)
        whole = deletion_and_insertion(Answers(model, 32), scored, maps, scores, 3)
        for found, before in ((areas.deletion, whole.deletion), (areas.insertion, whole.insertion)):
            assert np.flatnonzero(np.isnan(found)).tolist() == [1]
            np.testing.assert_allclose(np.delete(found, 1), np.delete(before, 1), rtol=1e-5)

    def test_no_map_at_all(self, model, scored, maps, scores):
        areas = deletion_and_insertion(Answers(model, 32), scored, np.zeros_like(maps), scores, 3)
        assert np.isnan(areas.deletion).all()
        assert np.isnan(areas.insertion_displaced).all()


def test_equal_pixels_go_in_random_order():
    map_ = np.zeros((8, 8))
    map_[3, 3] = 1
    orders = [descending(map_, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all(order[0] == 27 and sorted(order) == list(range(64)) for order in orders)
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0][1:], np.sort(orders[0][1:]))


def test_a_displaced_map_has_the_same_pixels_elsewhere():
    map_ = np.random.default_rng(0).normal(size=(9, 9))
    found = {displaced(map_, np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(found) > 15
    moved = displaced(map_, np.random.default_rng(3))
    np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(map_, axis=None))


def test_no_more_than_a_batch_is_made_ahead_of_its_answer():
    """The stream is asked for a batch's images only when those before have been answered."""
    made = []

    def stream():
        for at in range(20):
            made.append(at)
            yield np.full((32, 32, 3), at, np.uint8)

    answers, ahead = Answers(reads(CENTRE), 6), []
    before, answers._answer = answers._answer, lambda batch: (ahead.append((len(made), len(batch))), before(batch))[1]
    assert len(answers.log_odds(stream())) == 20
    assert ahead == [(6, 6), (12, 6), (18, 6), (20, 2)]


def test_answers_follow_the_weights():
    model = reads(CENTRE)
    answers, image = Answers(model, 4), np.full((1, 32, 32, 3), 100, np.uint8)
    first = answers.log_odds(image)
    model.get_layer("logit").bias.assign([5.0])
    assert answers.log_odds(image) == pytest.approx(first + 7)
