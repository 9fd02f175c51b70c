"""Grad-CAM against weights worked out by hand."""

import keras
import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.explain.grad_cam import GradCam
from galmorph.models.layers import with_probability


def hand_made(weight: float) -> keras.Model:
    """A 1×1 convolution that copies red and green; the logit is `weight` times mean red, less mean green."""
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="copy")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, use_bias=False, name="logit")(pooled)), 1.0)
    made.get_layer("copy").set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)[None, None]])
    made.get_layer("logit").set_weights([np.array([[weight], [-1]], np.float32)])
    return made


def test_grad_cam_is_the_formula():
    """Channel weights are the mean gradients, here weight/64 and -1/64."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    expected = np.maximum(3.0 * image[..., 0] - image[..., 1], 0) / 64
    explainer = GradCam(hand_made(3.0), None, 1)
    np.testing.assert_allclose(explainer.explain(image, ["Elliptical"]), expected, atol=1e-4)
    opposite = np.maximum(image[..., 1] - 3.0 * image[..., 0], 0) / 64
    np.testing.assert_allclose(explainer.explain(image, ["Other"]), opposite, atol=1e-4)


def test_grad_cam_points_at_the_source_of_the_evidence():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[0, 2, 6, 0] = 200
    attribution = GradCam(hand_made(1.0), "copy", 1).explain(image, ["Elliptical"])[0]
    assert np.unravel_index(attribution.argmax(), (8, 8)) == (2, 6)


def test_nothing_for_the_class_is_an_empty_map():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[..., 1] = 50
    assert not GradCam(hand_made(1.0), None, 1).explain(image, ["Elliptical"]).any()


def test_an_unknown_layer_lists_the_convolutions(model):
    with pytest.raises(ModelError, match=r"block1_conv, block2_conv.*'head_dense'"):
        GradCam(model, "head_dense", 1)


def test_a_model_without_convolution_is_refused():
    image = keras.Input((8, 8, 3))
    flat = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(image)))
    with pytest.raises(ModelError, match="no convolution"):
        GradCam(with_probability(flat, 1.0), None, 1)
