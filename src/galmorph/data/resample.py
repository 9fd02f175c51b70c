"""Cutting a square out of an image and resizing it, wherever its edges fall: between pixels, or past the frame."""

import cv2
import numpy as np

from galmorph.params import Fill

#: Sharpness of OpenCV's bicubic kernel (Keys 1981, doi:10.1109/TASSP.1981.1163711).
_CUBIC = -0.75


def resample(image: np.ndarray, top: float, left: float, side: float, size: int, fill: Fill) -> np.ndarray:
    """Cut a square out of an image and resize it.

    Shrinking averages over the area, enlarging is bicubic, as OpenCV does both. Unlike OpenCV's `resize` it takes
    squares that do not begin or end at whole pixels, and enlarging looks at the pixels around the square: a larger
    square of the same grid holds the same pixels in its middle.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8.
    top, left, side
        Of the square in pixels; the image covers 0 to H and 0 to W.
    size
        Side of the result in pixels.
    fill
        What lies past the frame: its edge pixels again (`nearest`), or `black`.

    Returns
    -------
    numpy.ndarray
        `(size, size, 3)` uint8.
    """
    height, width = image.shape[:2]
    inside = top >= 0 and left >= 0 and top + side <= height and left + side <= width
    if inside and side >= size and all(float(edge).is_integer() for edge in (top, left, side)):
        square = image[int(top) : int(top + side), int(left) : int(left + side)]
        return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    down, rows = _needed(_weights(height, top, side / size, size, fill))
    across, columns = _needed(_weights(width, left, side / size, size, fill))
    part = image[rows, columns].astype(np.float32)
    halfway = (down @ part.reshape(len(part), -1)).reshape(size, -1, 3)  # (size, w, 3)
    return np.clip(np.rint(across @ halfway), 0, 255).astype(np.uint8)  # (size, size, 3)


def _needed(weights: np.ndarray) -> tuple[np.ndarray, slice]:
    """Drop the pixels at both ends that no result looks at, and say which are left."""
    used = np.flatnonzero(weights.any(0))
    if not len(used):
        return weights[:, :1], slice(0, 1)
    return np.ascontiguousarray(weights[:, used[0] : used[-1] + 1]), slice(int(used[0]), int(used[-1]) + 1)


def _weights(length: int, start: float, step: float, count: int, fill: Fill) -> np.ndarray:
    """Weight of each of `length` pixels in each of `count` results, `(count, length)` float32."""
    edges = start + step * np.arange(count + 1)
    if step >= 1:
        return _area(length, edges, fill).astype(np.float32)
    weights = _cubic(length, (edges[1:] + edges[:-1]) / 2)
    if fill == "black":
        covered = np.clip(edges, 0, length)
        weights *= ((covered[1:] - covered[:-1]) / step)[:, None]
    return weights.astype(np.float32)


def _area(length: int, edges: np.ndarray, fill: Fill) -> np.ndarray:
    """Share that each pixel has of each interval between edges."""
    low, high = np.arange(length, dtype=float), np.arange(1, length + 1, dtype=float)
    if fill == "nearest":
        low[0], high[-1] = -np.inf, np.inf
    begin, end = edges[:-1, None], edges[1:, None]
    return np.asarray(np.clip(np.minimum(end, high) - np.maximum(begin, low), 0, None) / (end - begin))


def _cubic(length: int, centres: np.ndarray) -> np.ndarray:
    """Bicubic weights at points between pixels; edge pixels stand for those past the frame."""
    first = np.floor(centres - 0.5).astype(int) - 1
    weights = np.zeros((len(centres), length))
    for tap in range(4):
        away = np.abs(centres - 0.5 - (first + tap))
        near = ((_CUBIC + 2) * away - (_CUBIC + 3)) * away**2 + 1
        far = _CUBIC * (((away - 5) * away + 8) * away - 4)
        value = np.where(away <= 1, near, np.where(away < 2, far, 0))
        np.add.at(weights, (np.arange(len(centres)), np.clip(first + tap, 0, length - 1)), value)
    return weights
