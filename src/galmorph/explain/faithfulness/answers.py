"""The model's calibrated answers to images that are made one at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from galmorph.explain.answers import compiled_column

Array = NDArray[np.float64]


class Answers:
    """Asks a model about a stream of images, some at a time, with the weights that it has then.

    Parameters
    ----------
    model
        A galmorph model, ending in `logit`, `temperature`, `p_elliptical`.
    batch_size
        Images at a time: no more of a stream are in memory.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self._batch_size = batch_size
        self._answer = compiled_column(model, "temperature")

    def log_odds(self, images: Iterable[np.ndarray]) -> Array:
        """Return the calibrated log-odds of Elliptical, the logit over the temperature, `(n,)` float64.

        Parameters
        ----------
        images
            n images, `(S, S, 3)` in [0, 255] each.
        """
        parts = [self._answer(batch).numpy() for batch in _batches(images, self._batch_size)]
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0)


def probability(log_odds: Array, signs: np.ndarray) -> Array:
    """Return the calibrated probability of the class that a sign stands for; of the shape that both broadcast to."""
    return np.asarray(expit(log_odds * signs), np.float64)


def _batches(images: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    left = iter(images)
    while batch := list(islice(left, size)):
        yield np.stack(batch).astype(np.float32)
