"""Images that carry nothing: what an explanation measures from, and what takes the place of hidden pixels."""

import cv2
import numpy as np

from galmorph.data.segment import segment, sky_level
from galmorph.params import Baseline

#: Standard deviation of the blur, as a share of the image's side: no structure of a galaxy is left.
_BLUR = 0.1


def baselines(images: np.ndarray, kind: Baseline) -> np.ndarray:
    """Make the baseline of each image.

    Parameters
    ----------
    images
        `(N, S, S, 3)` RGB in [0, 255], uint8 or float.
    kind
        `black`: zeros. `sky`: one colour, the median of the image's own sky in each channel; where no sky is found, the
        level that is left after clipping what is brighter. `blurred`: the image without its small structure.

    Returns
    -------
    numpy.ndarray
        `(N, S, S, 3)` float32.
    """
    if kind == "black":
        return np.zeros(images.shape, np.float32)
    made = [_sky(image) if kind == "sky" else _blurred(image) for image in images]
    return np.stack(made) if made else np.empty(images.shape, np.float32)


def _sky(image: np.ndarray) -> np.ndarray:
    eight_bit = np.asarray(np.rint(image), np.uint8)
    sky = segment(eight_bit).sky
    pixels = image[sky] if sky.any() else image.reshape(-1, image.shape[-1])
    colour = [sky_level(pixels[:, channel])[0] for channel in range(image.shape[-1])]
    return np.broadcast_to(np.asarray(colour, np.float32), image.shape).copy()


def _blurred(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), _BLUR * image.shape[0]))
