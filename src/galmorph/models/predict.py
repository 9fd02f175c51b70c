"""Logits and probabilities of prepared images."""

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
    if images.shape[1:] != model.input_shape[1:]:
        raise ModelError(
            f"{model.name} takes images of shape {model.input_shape[1:]}; prepare them with data.dataset.prepare and "
            f"the model's own preprocess values. Received: {images.shape[1:]}"
        )
    both = keras.Model(model.input, [model.get_layer("logit").output, model.get_layer("p_elliptical").output])
    logits, probabilities = [], []
    for start in range(0, len(images), batch_size):
        logit, probability = both.predict_on_batch(images[start : start + batch_size].astype(np.float32))
        logits.append(logit[:, 0])
        probabilities.append(probability[:, 0])
    return np.concatenate(logits).astype(np.float64), np.concatenate(probabilities).astype(np.float64)
