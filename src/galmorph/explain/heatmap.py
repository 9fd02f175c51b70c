"""From an attribution to a picture; nothing here knows how the attribution came about."""

import matplotlib
import numpy as np


def normalised(attribution: np.ndarray) -> np.ndarray:
    """Scale an attribution to [0, 1] by its own maximum; negative values become 0, an all-zero map stays so.

    Parameters
    ----------
    attribution
        `(H, W)` float.

    Returns
    -------
    numpy.ndarray
        `(H, W)` float32.
    """
    positive = np.clip(attribution, 0, None).astype(np.float32)
    peak = float(positive.max(initial=0.0))
    return np.asarray(positive / peak if peak > 0 else positive)


def overlay(image: np.ndarray, attribution: np.ndarray, colour_map: str, alpha: float) -> np.ndarray:
    """Lay a heat map over the image it explains.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8: the cutout as the astronomer knows it, not what was fed to the model.
    attribution
        `(H, W)` float of the same frame.
    colour_map
        A matplotlib colour map; viridis is readable to the colour-blind.
    alpha
        Opacity of the heat map, 0 to 1.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8.
    """
    colours = matplotlib.colormaps[colour_map](normalised(attribution))[..., :3] * 255.0
    return np.asarray(np.rint(alpha * colours + (1 - alpha) * image).clip(0, 255), np.uint8)
