"""Logits and probabilities of prepared images."""

from collections.abc import Iterable, Iterator

import keras
import numpy as np

from galmorph.errors import ModelError


def predict_logits(model: keras.Model, images: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Answer a set of images.

    Parameters
    ----------
    model
        A galmorph model, ending in `logit`, `temperature`, `p_elliptical`.
    images
        `(N, S, S, 3)` uint8 at the model's size.
    batch_size
        Images at a time.

    Returns
    -------
    logits, p_elliptical : numpy.ndarray
        `(N,)` float64 each: the raw logit and the calibrated probability.

    Raises
    ------
    ModelError
        When the images are not of the model's size.
    """
    check_size(model, images)
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    logits, probabilities = zip(*predict_batches(model, batches), strict=True)
    return np.concatenate(logits), np.concatenate(probabilities)


def check_size(model: keras.Model, images: np.ndarray) -> None:
    """Raise a ModelError when `(N, H, W, 3)` images are not of the model's size."""
    if images.shape[1:] != model.input_shape[1:]:
        raise ModelError(
            f"{model.name} takes images of shape {model.input_shape[1:]}; prepare them with data.dataset.prepare and "
            f"the model's own preprocess values. Received: {images.shape[1:]}"
        )


def predict_batches(model: keras.Model, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Answer batch after batch, as they come, so that no more than one need be in memory.

    Parameters
    ----------
    model
        A galmorph model, ending in `logit`, `temperature`, `p_elliptical`.
    batches
        `(b, S, S, 3)` uint8 each, at the model's size.

    Yields
    ------
    logits, p_elliptical : numpy.ndarray
        `(b,)` float64 each.
    """
    both = keras.Model(model.input, [model.get_layer("logit").output, model.get_layer("p_elliptical").output])
    for batch in batches:
        logit, probability = both.predict_on_batch(batch.astype(np.float32))
        yield logit[:, 0].astype(np.float64), probability[:, 0].astype(np.float64)
