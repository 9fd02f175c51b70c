"""The engine of path and noise methods: shapes of batches, tracing, padding."""

import keras
import numpy as np
import pytest

from galmorph.explain.gradients import LogitGradients, slices
from galmorph.explain.integrated_gradients import IntegratedGradients
from galmorph.explain.smooth_grad import SmoothGrad


@pytest.fixture
def spied(monkeypatch):
    """Lengths of all batches that the engine is given, and how often it traces."""
    lengths, traces = [], []
    call, trace = LogitGradients.__call__, LogitGradients._batch

    def counted(self, images):
        lengths.append(len(images))
        return call(self, images)

    def traced(self, images):
        traces.append(images.shape)
        return trace(self, images)

    monkeypatch.setattr(LogitGradients, "__call__", counted)
    monkeypatch.setattr(LogitGradients, "_batch", traced)
    return lengths, traces


def test_gradients_are_those_of_small_differences(model):
    """Along a random direction, in the middle of a piece where the network is linear."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (3, 24, 24, 3)).astype(np.float32)
    direction = rng.normal(size=(24, 24, 3)).astype(np.float32)
    engine = LogitGradients(model, 2)
    logits, gradients = zip(*(engine(images[part]) for part in slices(3, 2)), strict=True)
    step = 0.02
    ahead, _ = engine(images[:2] + step * direction)
    behind, _ = engine(images[:2] - step * direction)
    slopes = (ahead - behind) / (2 * step)
    np.testing.assert_allclose((gradients[0] * direction).sum((1, 2, 3)), slopes, rtol=0.02)
    assert [len(part) for part in logits] == [2, 1]


def test_padding_changes_nothing(model, galaxies):
    images = galaxies.astype(np.float32)
    for one, other in zip(LogitGradients(model, 8)(images), LogitGradients(model, 5)(images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_no_batch_is_larger_than_asked_for_and_the_graph_is_traced_once(model, galaxies, explain_params, spied):
    lengths, traces = spied
    explainer = IntegratedGradients(model, explain_params.integrated_gradients, 3)
    for images in (galaxies, galaxies[:1], galaxies):
        explainer.explain(images, ["Other"] * len(images))
    assert max(lengths) == 3
    assert set(traces) == {(3, 24, 24, 3)}
    assert len(traces) == 1


def test_paths_of_several_images_share_batches(model, galaxies, explain_params, spied):
    """5 paths of 8 points in batches of 5: 8 full batches, not 5 times 2."""
    once = explain_params.integrated_gradients.model_copy(update={"max_steps": 8})
    IntegratedGradients(model, once, 5).explain(galaxies, ["Other"] * 5)
    assert spied[0] == [5] * 8


def test_noisy_copies_share_batches(model, galaxies, explain_params, spied):
    smooth = explain_params.smooth_grad.model_copy(update={"samples": 3})
    SmoothGrad(model, smooth, 1, 5).explain(galaxies, ["Other"] * 5)
    assert spied[0] == [5] * 3


def test_weights_are_read_at_each_call(model, galaxies):
    own = keras.models.clone_model(model)
    own.set_weights(model.get_weights())
    engine, images = LogitGradients(own, 5), galaxies.astype(np.float32)
    before = engine(images)[1]
    own.get_layer("logit").set_weights([-weights for weights in own.get_layer("logit").get_weights()])
    np.testing.assert_allclose(engine(images)[1], -before, rtol=1e-5, atol=1e-8)
