"""SmoothGrad on models whose mean gradients are known."""

import keras
import numpy as np
import pytest

from galmorph.explain.gradients import LogitGradients
from galmorph.explain.smooth_grad import SmoothGrad
from galmorph.models.layers import with_probability

SIDE = 6


def weighing(activation: str | None, weights: np.ndarray, bias: float) -> keras.Model:
    """A logit that is the activation of weighted pixels, `weights` `(S, S, 3)`, plus a bias."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    unit = keras.layers.Dense(1, activation=activation, name="unit")(keras.layers.Flatten()(image))
    model = with_probability(keras.Model(image, keras.layers.Dense(1, use_bias=False, name="logit")(unit)), 1.0)
    model.get_layer("unit").set_weights([weights.reshape(-1, 1).astype(np.float32), np.array([bias], np.float32)])
    model.get_layer("logit").set_weights([np.ones((1, 1), np.float32)])
    return model


@pytest.fixture
def weights():
    return np.random.default_rng(1).normal(size=(SIDE, SIDE, 3)) / 100


@pytest.fixture
def images():
    return np.random.default_rng(2).uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def smooth(params):
    return lambda **values: params.explain.smooth_grad.model_copy(update=values)


def test_noise_does_not_move_a_linear_model(weights, images, smooth):
    explainer = SmoothGrad(weighing(None, weights, 0.0), smooth(samples=3), 1, 4)
    expected = np.broadcast_to(weights.sum(-1) * 255, (4, SIDE, SIDE))
    np.testing.assert_allclose(explainer.explain(images, ["Elliptical"] * 4), expected, atol=1e-4)
    np.testing.assert_allclose(explainer.explain(images, ["Other"] * 4), -expected, atol=1e-4)


def test_behind_a_relu_the_gradient_is_weighed_by_how_often_the_unit_is_on(images, smooth):
    """At its threshold a unit is on for half of the noise; one standard deviation above it, for 84 %."""
    weights = np.full((SIDE, SIDE, 3), 0.01)
    image = images[:1]
    deviation = 0.1 * float(np.ptp(image))
    spread = deviation * float(np.sqrt(np.square(weights).sum()))  # of the unit's input under the noise
    at_threshold = -float((weights * image[0]).sum())
    for bias, share in ((at_threshold, 0.5), (at_threshold + spread, 0.841)):
        model = weighing("relu", weights, bias)
        made = SmoothGrad(model, smooth(samples=600, noise=0.1), 1, 32).explain(image, ["Elliptical"])
        np.testing.assert_allclose(made, share * 0.03 * 255, rtol=0.1)


def test_the_seed_decides_the_noise(model, galaxies, smooth):
    one, again, other = (
        SmoothGrad(model, smooth(samples=2), seed, 5).explain(galaxies, ["Other"] * 5) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def test_every_image_gets_the_same_noise_in_proportion_to_its_range(monkeypatch, model, smooth):
    seen = []
    call = LogitGradients.__call__
    monkeypatch.setattr(LogitGradients, "__call__", lambda self, images: seen.append(images) or call(self, images))
    dark = np.random.default_rng(5).integers(0, 101, (24, 24, 3)).astype(np.float32)
    images = np.stack([dark, 2 * dark, np.full_like(dark, 90)])
    SmoothGrad(model, smooth(samples=2, noise=0.2), 1, 3).explain(images, ["Other"] * 3)
    assert len(seen) == 2
    added = [copies - images for copies in seen]
    for noise in added:
        np.testing.assert_allclose(noise[1], 2 * noise[0], atol=1e-3)
        assert not noise[2].any(), "an image without range is left as it is"
        assert noise[0].std() == pytest.approx(0.2 * np.ptp(dark), rel=0.05)
    assert not np.allclose(added[0], added[1])
