"""Grad-CAM and what grew out of it: where a late convolution sees what speaks for a class."""

from abc import abstractmethod

import keras
import numpy as np
import tensorflow as tf
from skimage.restoration import denoise_tv_chambolle

from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.graph import feature_layer, rectified


class ChannelMap(Explainer):
    """A map that is a weighted sum of a layer's channels, cut off below zero.

    The logit, not the probability, is explained, so that a saturated sigmoid does not flatten the gradient. Gradients
    and sums are float32 under any precision of the model; the map is resized to the image bilinearly.

    Parameters
    ----------
    model
        A galmorph model.
    layer
        Name of a layer `(N, h, w, C)` whose channels are weighted.
    batch_size
        Images at a time.
    """

    def __init__(self, model: keras.Model, layer: str, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.layer = layer
        self._both = keras.Model(model.input, [model.get_layer(layer).output, model.get_layer("logit").output])
        self._maps = tf.function(self._batch_maps, reduce_retracing=True, autograph=False)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            maps[part] = self._maps(images[part], signs[part]).numpy()
        return Attributions(maps)

    def _batch_maps(self, images: tf.Tensor, signs: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            features, logit = self._both(images, training=False)  # (b, h, w, C), (b, 1)
            score = tf.reduce_sum(logit[:, 0] * signs)
        gradient = tf.cast(tape.gradient(score, features), tf.float32)
        features = tf.cast(features, tf.float32)
        weights = self._weights(features, gradient)[:, None, None]  # (b, 1, 1, C)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, -1, keepdims=True))
        return tf.image.resize(maps, tf.shape(images)[1:3])[..., 0]

    @abstractmethod
    def _weights(self, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """Weigh the channels, `(b, C)`, given features and the score's gradient, `(b, h, w, C)` float32 each."""


class GradCam(ChannelMap):
    """Gradient-weighted class activation maps.

    The gradient of the class's logit, averaged over each channel of a convolution, weights that channel; the weighted
    sum, cut off below zero, is the map. Departures from the paper: none. Under a head that
    flattens, the average over positions loses which position weighs what: the map says what was seen where, and what
    such features weigh on the whole.

    Parameters
    ----------
    model
        A galmorph model.
    layer
        Name of the convolution, or of an activation after it; None: the last convolution, after the ReLU that follows
        it. In resnet50 that is the output of the last block, where the averaged gradient times the features adds up to
        the logit but for what the biases give; the last convolution itself is only a part of a sum there.
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
        super().__init__(model, feature_layer(model, layer), batch_size)

    def _weights(self, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:  # noqa: ARG002 - gradients alone weigh
        return tf.reduce_mean(gradient, (1, 2))


class GradCamTv(GradCam):
    """Grad-CAM's map with its total variation reduced: fewer and flatter regions with sharper edges.

    The denoising is of the picture, not of the evidence: a faint region may vanish.

    Parameters
    ----------
    model, layer, batch_size
        As for `GradCam`.
    weight
        Of the total variation against the distance from the map, for maps scaled to [0, 1]. Larger: flatter.

    References
    ----------
    Chambolle 2004, "An Algorithm for Total Variation Minimization and Applications", J. Math. Imaging Vis. 20,
    doi:10.1023/B:JMIV.0000011325.36760.1e; scikit-image's `denoise_tv_chambolle`.
    """

    name = "grad_cam_tv"
    title = "Grad-CAM, TV-denoised"
    meaning = "Grad-CAM's value around a pixel, with small variations removed"

    def __init__(self, model: keras.Model, layer: str | None, weight: float, batch_size: int) -> None:
        super().__init__(model, layer, batch_size)
        self.weight = weight

    refines = GradCam.name

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        return self.refined(super()._attribute(images, signs))

    def refined(self, made: Attributions) -> Attributions:
        """Take total variation out of what `GradCam` has made."""
        maps = np.empty_like(made.maps)
        for at, each in enumerate(made.maps):
            maps[at] = total_variation_reduced(each, self.weight)
        return Attributions(maps)


class GradCamPlusPlus(ChannelMap):
    """Grad-CAM++: like Grad-CAM, but a channel seen in several places counts for each of them.

    A channel's weight is the sum over positions of `alpha * relu(g)`, g the gradient of the class's logit S, and
    `alpha = g² / (2 g² + sum(A) g³)` the closed form for the score exp(S) over features A that ReLUs alone lead to S.
    Departures from the paper: the factor exp(S) of all weights of an image is left out, which would overflow and
    changes no picture; and the map is always that of the features after the ReLU that follows the convolution, because
    the closed form holds for features that are not negative. Where no ReLU follows, a channel whose denominator is not
    positive gets no weight. The weights are no multiples of the logit: scaling it changes their balance.

    Parameters
    ----------
    model
        A galmorph model.
    layer
        Name of the convolution, or of an activation after it; None: the last convolution.
    batch_size
        Images at a time.

    Raises
    ------
    ModelError
        When the layer is not there, or the model has no convolution.

    References
    ----------
    Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-Based Visual Explanations for Deep Convolutional
    Networks", WACV, doi:10.1109/WACV.2018.00097, equations 10 and 19.
    """

    name = "grad_cam_plus_plus"
    title = "Grad-CAM++"
    meaning = "how much features of the last convolution that raise the class's logit anywhere are there around a pixel"

    def __init__(self, model: keras.Model, layer: str | None, batch_size: int) -> None:
        super().__init__(model, rectified(model, feature_layer(model, layer)), batch_size)

    def _weights(self, features: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        raising = tf.nn.relu(gradient)
        # alpha with g² cancelled: no square or cube of a small gradient to underflow, and 2 where nothing is there.
        denominator = 2.0 + raising * tf.reduce_sum(features, (1, 2), keepdims=True)
        weighed = tf.math.divide_no_nan(raising, tf.nn.relu(denominator))
        return tf.reduce_sum(weighed, (1, 2))


def total_variation_reduced(attribution: np.ndarray, weight: float) -> np.ndarray:
    """Reduce the total variation of a map.

    Parameters
    ----------
    attribution
        `(H, W)` float32, at least 0.
    weight
        For the map scaled to [0, 1] by its own maximum.

    Returns
    -------
    numpy.ndarray
        `(H, W)` float32 in the units of `attribution`; an empty map stays empty.
    """
    peak = attribution.max(initial=0.0)
    if not peak > 0:
        return np.zeros_like(attribution)
    # The iteration ends near its limit, not in it: what falls below zero is no evidence.
    return np.asarray(np.maximum(denoise_tv_chambolle(attribution / peak, weight=weight), 0) * peak, np.float32)
