"""Occlusion: what an answer loses when a square of the image is hidden."""

from collections.abc import Iterator

import keras
import numpy as np

from galmorph.explain.answers import LogitAnswerer, changes
from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.baselines import baselines
from galmorph.params import OcclusionParams


class Occlusion(Explainer):
    """A square moves over the image and hides what is below it; the drop of the class's logit is its pixels' evidence.

    It needs nothing of the model but its answers, and so stands beside the methods that look inside as a check.
    Departures from the paper: the logit is explained, not the probability, so that a saturated sigmoid does not flatten
    the drops; what hides is the image's baseline, not grey, which no sky has; and the squares overlap, so each pixel
    gets the mean drop over all squares that cover it. No square reaches past the image, and the last ones are moved
    back to its edge: every square hides as many pixels, and a pixel at the border is not worth less for being covered
    by fewer of them.

    Parameters
    ----------
    model
        A galmorph model.
    params
        Side of the square, how far it moves, and what it shows.
    batch_size
        Images at a time.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", ECCV,
    doi:10.1007/978-3-319-10590-1_53.
    """

    name = "occlusion"
    title = "Occlusion"
    meaning = "how far the class's logit falls, on average, when a square that covers the pixel is hidden"
    signed = True

    def __init__(self, model: keras.Model, params: OcclusionParams, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.params = params
        self._answer = LogitAnswerer(model, batch_size)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        patch, corners = squares(images.shape[1], self.params)
        hidden = baselines(images, self.params.hidden)
        for at, image in enumerate(images):
            whole = self._answer(image[None])[0]
            logits = self._answer.logits(_occluded(image, hidden[at], corners, patch, self.batch_size))
            maps[at] = -signs[at] * mean_over_squares(changes(logits, whole), corners, patch, images.shape[1])
        return Attributions(maps)


def squares(side: int, params: OcclusionParams) -> tuple[int, np.ndarray]:
    """Lay squares over an image so that each of its pixels is covered.

    Parameters
    ----------
    side
        Of the image, pixels.
    params
        Shares of it.

    Returns
    -------
    patch : int
        Side of the squares, pixels.
    corners : numpy.ndarray
        `(P, 2)` int: top and left of each.
    """
    patch = max(1, round(params.patch * side))
    stride = max(1, round(params.stride * side))
    starts = np.append(np.arange(0, side - patch, stride), side - patch)
    return patch, np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)


def mean_over_squares(values: np.ndarray, corners: np.ndarray, patch: int, side: int) -> np.ndarray:
    """Give each pixel the mean of the squares that cover it.

    Parameters
    ----------
    values
        `(P,)`: of each square.
    corners, patch
        As `squares` lays them: they cover every pixel.
    side
        Of the image, pixels.

    Returns
    -------
    numpy.ndarray
        `(side, side)` float64.
    """
    total, count = np.zeros((2, side, side))
    for value, (top, left) in zip(values, corners, strict=True):
        covered = np.s_[top : top + patch, left : left + patch]
        total[covered] += value
        count[covered] += 1
    return total / count


def _occluded(
    image: np.ndarray, hidden: np.ndarray, corners: np.ndarray, patch: int, batch_size: int
) -> Iterator[np.ndarray]:
    for start in range(0, len(corners), batch_size):
        chosen = corners[start : start + batch_size]
        batch = np.repeat(image[None], len(chosen), axis=0)
        for altered, (top, left) in zip(batch, chosen, strict=True):
            covered = np.s_[top : top + patch, left : left + patch]
            altered[covered] = hidden[covered]
        yield batch
