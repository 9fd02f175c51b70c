"""A model's answers to altered images, as many as a black-box method asks for, with bounded memory."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

#: Logits that differ by no more than this, as a share of the reference or of 1, do so by float32's rounding alone.
_ROUNDING = 1e-5


def compiled_column(model: keras.Model, layer: str) -> Callable[[np.ndarray], tf.Tensor]:
    """Compile the pass to a layer of one value, at inference; `(b, S, S, 3)` float32 in, `(b,)` out.

    It is traced once, whatever the length of a batch: a last, smaller one must not compile the model again.
    """
    until = keras.Model(model.input, model.get_layer(layer).output)
    compiled: Callable[[np.ndarray], tf.Tensor] = tf.function(
        lambda images: until(images, training=False)[:, 0],
        input_signature=[tf.TensorSpec(model.input_shape, tf.float32)],
    )
    return compiled


class LogitAnswerer:
    """The logits of many images: what black-box methods and checks ask of a model.

    The model is traced once, whatever the lengths of batches: without `predict`'s overhead at each call, and without
    padding the last batch. Its weights are read at each call.

    Parameters
    ----------
    model
        A galmorph model.
    batch_size
        Images at a time, and so what bounds memory.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.batch_size = batch_size
        self._answer = compiled_column(model, "logit")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Answer a set of images.

        Parameters
        ----------
        images
            `(N, S, S, 3)` in [0, 255], of any real type. N may be 0.

        Returns
        -------
        numpy.ndarray
            `(N,)` float64 logits, in the images' order.
        """
        return self.logits(images[start : start + self.batch_size] for start in range(0, len(images), self.batch_size))

    def logits(self, batches: Iterable[np.ndarray]) -> np.ndarray:
        """Answer images as they are made, so that no more than a batch of them exists at once.

        Parameters
        ----------
        batches
            `(b, S, S, 3)` in [0, 255] each, of any real type; they are asked for one after the other.

        Returns
        -------
        numpy.ndarray
            `(N,)` float64 logits of all of them, in their order.
        """
        answers = [self._answer(np.asarray(batch, np.float32)).numpy().astype(np.float64) for batch in batches]
        return np.concatenate(answers) if answers else np.empty(0)


def changes(logits: np.ndarray, reference: float) -> np.ndarray:
    """How far logits lie above a reference: 0 where rounding alone tells them apart.

    Without that an image of one colour, which hiding leaves as it is, would be explained by rounding errors.

    Parameters
    ----------
    logits
        `(N,)`.
    reference
        Logit of the image that was altered.

    Returns
    -------
    numpy.ndarray
        `(N,)` float64.
    """
    change = np.asarray(logits, np.float64) - reference
    scale = max(1.0, abs(float(reference)))
    return np.where(np.abs(change) > _ROUNDING * scale, change, 0.0)
