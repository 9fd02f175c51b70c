"""SmoothGrad: the gradient without the accidents of one image's pixels."""

from functools import partial

import keras
import numpy as np

from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.gradients import LogitGradients, slices
from galmorph.params import SmoothGradParams


class SmoothGrad(Explainer):
    """Mean gradient over noisy copies of an image.

    A pixel's value is the mean gradient of the class's score with respect to its three channels, added up, times 255:
    by how much the score would rise if the pixel went from black to white and the model were linear. It is signed.
    Departures from the paper: the logit is explained, signed values are kept, and the channels are added up instead of
    shown as colours. The noise is Gaussian; its standard deviation is `noise` of the image's own range, which runs from
    its least to its greatest value. Noisy values may leave [0, 255]. The noise is the same for every image, so that an
    answer does not depend on which images come with it. An image without range gets no noise: its map is the gradient.

    Parameters
    ----------
    model
        A galmorph model.
    params
        Copies and noise.
    seed
        Of the noise.
    batch_size
        Noisy copies at a time, of whatever images, and images at a time.

    References
    ----------
    Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.
    """

    name = "smooth_grad"
    title = "SmoothGrad"
    meaning = "how much the class's logit rises, on average over noisy copies, as a pixel becomes brighter"
    signed = True

    def __init__(self, model: keras.Model, params: SmoothGradParams, seed: int, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.params, self.seed = params, seed
        self._gradients = LogitGradients(model, batch_size)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        for part in slices(len(images), self.batch_size):
            maps[part] = signs[part, None, None] * self._mean(images[part]).sum(-1) * 255
        return Attributions(maps)

    def _mean(self, images: np.ndarray) -> np.ndarray:
        """Average the gradient over noisy copies of at most `batch_size` images, `(n, S, S, 3)` float32."""
        count, copies = len(images), self.params.samples
        # All images with one noise, then with the next: a batch needs a few noises only.
        owners = np.tile(np.arange(count), copies)
        noises = np.repeat(np.arange(copies), count)
        means = np.zeros(images.shape, np.float32)
        weights = np.full(len(owners), 1 / copies, np.float32)
        self._gradients.accumulate(partial(self._noisy, images, owners, noises), owners, weights, means)
        return means

    def _noisy(self, images: np.ndarray, owners: np.ndarray, noises: np.ndarray, part: slice) -> np.ndarray:
        copies: np.ndarray = images[owners[part]]
        deviation = self.params.noise * np.ptp(copies, axis=(1, 2, 3), keepdims=True)  # (b, 1, 1, 1)
        for number in np.unique(noises[part]):
            here = noises[part] == number
            copies[here] += deviation[here] * self._noise(int(number), images.shape[1:])
        return copies

    def _noise(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Make the same unit noise for the same number at every call: none of it need be kept."""
        return np.random.default_rng((self.seed, number)).standard_normal(shape, np.float32)
