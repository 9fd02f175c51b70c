"""Gradients of the logit with respect to pixels, in batches of one shape: what path and noise methods stand on."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf


class LogitGradients:
    """Logits of images and their gradients with respect to the pixels.

    Compiled once, for batches of `batch_size` images exactly: a shorter batch is filled up with black ones. Weights are
    read at each call. Logits and gradients are float32 under any precision of the model.

    Parameters
    ----------
    model
        A galmorph model.
    batch_size
        Images at a time; no tensor holds more.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.batch_size = batch_size
        self._logit = keras.Model(model.input, model.get_layer("logit").output)
        shape = (batch_size, *model.input_shape[1:])
        self._compiled = tf.function(self._batch, input_signature=[tf.TensorSpec(shape, tf.float32)])

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answer one batch.

        Parameters
        ----------
        images
            `(b, S, S, 3)` float32, b at most `batch_size`. Values outside [0, 255] are allowed.

        Returns
        -------
        logits : numpy.ndarray
            `(b,)` float32.
        gradients : numpy.ndarray
            `(b, S, S, 3)` float32, logits for each unit of pixel value.
        """
        count = len(images)
        if count < self.batch_size:
            empty = np.zeros((self.batch_size - count, *images.shape[1:]), np.float32)
            images = np.concatenate([images, empty])
        logits, gradients = self._compiled(tf.constant(images))
        return logits.numpy()[:count], gradients.numpy()[:count]

    def accumulate(
        self,
        points: Callable[[slice], np.ndarray],
        owners: np.ndarray,
        weights: np.ndarray,
        totals: np.ndarray,
    ) -> np.ndarray:
        """Add up the weighted gradients of many points for the images that they belong to.

        Parameters
        ----------
        points
            Makes the points of a slice of the list, `(b, S, S, 3)` float32; b is `batch_size` at most. They are made
            when they are needed, so that there is never more than one batch of them.
        owners
            `(P,)` int: the row of `totals` that each point belongs to.
        weights
            `(P,)` float32.
        totals
            `(n, S, S, 3)` float32, added to in place.

        Returns
        -------
        numpy.ndarray
            `(P,)` float32 logits of the points.
        """
        logits = np.empty(len(owners), np.float32)
        for part in slices(len(owners), self.batch_size):
            logits[part], gradients = self(points(part))
            for owner, weight, gradient in zip(owners[part], weights[part], gradients, strict=True):
                totals[owner] += weight * gradient
        return logits

    def _batch(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = self._logit(images, training=False)[:, 0]  # (b,)
        # No image's logit depends on another image, so the gradient of their sum is that of each.
        return logits, tape.gradient(logits, images)


def slices(count: int, size: int) -> Iterator[slice]:
    """Cut `count` items into slices of `size`; the last may be shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
