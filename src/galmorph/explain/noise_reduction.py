"""Smoothing of signed attributions: a Gaussian, or one of the denoisers that cutouts are denoised by."""

import cv2
import numpy as np

from galmorph.data.denoise import denoise
from galmorph.params import DenoiserParams, NoiseReductionParams

#: Grey that stands for zero, and the levels on either side of it: from 1 to 255, so that no sign is favoured.
_ZERO, _LEVELS = 128, 127


def reduce_noise(maps: np.ndarray, params: NoiseReductionParams) -> np.ndarray:
    """Smooth each of a set of signed maps.

    Positive and negative values are smoothed together: speckle of alternating sign is noise and cancels, as it does in
    the map's sum. `gaussian` works on the values themselves; the map is continued beyond its border by its mirror
    image, so that its sum is kept to rounding.

    The denoisers of `galmorph.data.denoise` work on 8-bit images. They see a map as a grey picture, zero at 128, that
    reaches black or white at the map's largest absolute value; what they return is scaled back. Signs stay meaningful,
    a flipped map gives the flipped answer up to a level's rounding, and an empty map stays empty. A value is known to
    1/127 of the largest, and what is smaller than half of that becomes zero. These denoisers are not linear, so the sum
    is kept only roughly: a median or a wavelet takes out lonely peaks, whatever they add up to.

    Parameters
    ----------
    maps
        `(N, S, S)` float32, signed.
    params
        `method`, and the values of each; those of the denoisers are in levels of 255 and pixels.

    Returns
    -------
    numpy.ndarray
        `(N, S, S)` float32, in the units of `maps`.

    References
    ----------
    Those of the functions in `galmorph.data.denoise`.
    """
    smoothed = np.empty(maps.shape, np.float32)
    for number, attribution in enumerate(maps):
        if params.method == "gaussian":
            smoothed[number] = cv2.GaussianBlur(attribution, (0, 0), params.sigma, borderType=cv2.BORDER_REFLECT)
        else:
            smoothed[number] = _denoised(attribution, getattr(params, params.method))
    return smoothed


def _denoised(attribution: np.ndarray, params: DenoiserParams) -> np.ndarray:
    """Denoise one map, `(S, S)` float32, as a grey picture."""
    largest = float(np.abs(attribution).max())
    if largest == 0:
        return attribution
    grey = np.rint(attribution / largest * _LEVELS + _ZERO).astype(np.uint8)
    picture = denoise(np.repeat(grey[..., None], 3, -1), params)
    # All bands were given the same and none flows into another: they are still the same.
    return np.asarray((picture[..., 0].astype(np.float32) - _ZERO) / _LEVELS * largest)
