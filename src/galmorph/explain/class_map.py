"""From the coarse map of a closed form to the map of a class; without TensorFlow, for the service."""

import cv2
import numpy as np


def class_map(coarse: np.ndarray, signs: np.ndarray, side: int) -> np.ndarray:
    """Make Grad-CAM's map for a class of the weighted sum of channels for Elliptical.

    Parameters
    ----------
    coarse
        `(N, h, w)` float, evidence for the logit of Elliptical.
    signs
        `(N,)`: 1 where Elliptical is explained, -1 for Other.
    side
        Of the images that the model saw, in pixels; at least h and w.

    Returns
    -------
    numpy.ndarray
        `(N, side, side)` float32, at least 0; what `GradCam` gives for that class.
    """
    maps = np.empty((len(coarse), side, side), np.float32)
    for at, (each, sign) in enumerate(zip(coarse, signs, strict=True)):
        positive = np.maximum(sign * each, 0).astype(np.float32)
        maps[at] = cv2.resize(positive, (side, side), interpolation=cv2.INTER_LINEAR)
    return maps


def empty_text(label: str) -> str:
    """Say in words what a class's map means that is zero all over: there is nothing to draw."""
    return f"nothing in the picture speaks for {label}; all evidence in the map is against it"
