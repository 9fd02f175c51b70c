"""A model's answers to many altered images."""

import keras
import numpy as np
import pytest

from galmorph.explain.answers import LogitAnswerer, changes


@pytest.fixture
def answerer(model):
    return LogitAnswerer(model, 3)


def test_answers_are_the_models_own_logits(model, answerer, galaxies):
    logit = keras.Model(model.input, model.get_layer("logit").output)
    expected = logit.predict_on_batch(galaxies.astype(np.float32))[:, 0]
    assert answerer(galaxies).dtype == np.float64
    np.testing.assert_allclose(answerer(galaxies), expected, rtol=1e-5, atol=1e-6)


def test_no_image_no_answer(answerer, galaxies):
    assert answerer(galaxies[:0]).shape == (0,)
    assert answerer.logits(iter(())).shape == (0,)


def test_the_model_is_traced_once_whatever_the_lengths(answerer, galaxies):
    for count in (5, 1, 4, 3):
        answerer(galaxies[:count])
    answerer.logits([galaxies[:2], galaxies[:5].astype(np.float64)])
    assert answerer._answer.experimental_get_tracing_count() == 1


def test_batches_are_made_only_when_the_last_one_was_answered(answerer, galaxies, monkeypatch):
    steps = []
    answer = answerer._answer
    monkeypatch.setattr(answerer, "_answer", lambda batch: steps.append("answered") or answer(batch))

    def batches():
        for _ in range(3):
            steps.append("made")
            yield galaxies[:2]

    assert answerer.logits(batches()).shape == (6,)
    assert steps == ["made", "answered"] * 3


def test_weights_are_those_of_the_moment(model, galaxies):
    own = keras.models.clone_model(model)
    answerer = LogitAnswerer(own, 5)
    before = answerer(galaxies)
    own.set_weights([2 * weight for weight in own.get_weights()])
    after = answerer(galaxies)
    assert not np.allclose(before, after)
    np.testing.assert_array_equal(after, LogitAnswerer(own, 5)(galaxies))


def test_rounding_is_no_change():
    np.testing.assert_array_equal(changes(np.array([0.1, 0.100001, 0.2]), 0.1), [0.0, 0.0, 0.1])
    np.testing.assert_array_equal(changes(np.array([40.0001, 41.0, 39.0]), 40.0), [0.0, 1.0, -1.0])
