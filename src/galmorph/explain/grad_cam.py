"""Grad-CAM: where the last convolution sees what speaks for a class."""

import keras
import numpy as np
import tensorflow as tf

from galmorph.errors import ModelError
from galmorph.explain.base import Attributions, Explainer


class GradCam(Explainer):
    """Gradient-weighted class activation maps.

    The gradient of the class's logit, averaged over each channel of a convolution, weights that channel; the weighted
    sum, cut off below zero, is the map. Departures from the paper: none. The logit, not the probability, is explained,
    so that a saturated sigmoid does not flatten the gradient; the map is resized to the image bilinearly.

    Parameters
    ----------
    model
        A galmorph model.
    layer
        Name of the convolution; None: the last one.
    batch_size
        Images at a time.

    Raises
    ------
    ModelError
        When the layer is not there, or the model has no convolution.

    References
    ----------
    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV,
    doi:10.1109/ICCV.2017.74.
    """

    name = "grad_cam"
    title = "Grad-CAM"
    meaning = "how much the last convolution's features around a pixel raise the class's logit"

    def __init__(self, model: keras.Model, layer: str | None, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.layer = last_convolution(model) if layer is None else convolution(model, layer)
        self._both = keras.Model(model.input, [model.get_layer(self.layer).output, model.get_layer("logit").output])
        self._maps = tf.function(self._batch_maps, reduce_retracing=True)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        parts = [
            self._maps(images[start : start + self.batch_size], signs[start : start + self.batch_size]).numpy()
            for start in range(0, len(images), self.batch_size)
        ]
        return Attributions(np.concatenate(parts) if parts else np.empty(images.shape[:3], np.float32))

    def _batch_maps(self, images: tf.Tensor, signs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            features, logit = self._both(images, training=False)  # (b, h, w, C), (b, 1)
            score = tf.reduce_sum(logit[:, 0] * signs)
        gradient = tape.gradient(score, features)
        weights = tf.reduce_mean(gradient, (1, 2), keepdims=True)  # (b, 1, 1, C)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, -1, keepdims=True))
        return tf.cast(tf.image.resize(maps, tf.shape(images)[1:3])[..., 0], tf.float32)


def convolutions(model: keras.Model) -> list[str]:
    """Names of a model's convolutions, from the image on."""
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def last_convolution(model: keras.Model) -> str:
    """Name of the convolution nearest the answer.

    Raises
    ------
    ModelError
        When there is none.
    """
    names = convolutions(model)
    if not names:
        raise ModelError(f"{model.name} has no convolution, so Grad-CAM has nothing to look at; choose another method.")
    return names[-1]


def convolution(model: keras.Model, name: str) -> str:
    """Return `name` when it is a convolution of the model.

    Raises
    ------
    ModelError
        When it is not; the message lists those there are.
    """
    names = convolutions(model)
    if name not in names:
        raise ModelError(
            f"explain.grad_cam.layer must be one of {model.name}'s convolutions: {', '.join(names)}. Received: {name!r}"
        )
    return name
