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
    down = _taps(height, top, side / size, size, fill)
    pixel, weights = _taps(width, left, side / size, size, fill)
    part = image[:, pixel.min() : pixel.max() + 1]
    halfway = _along_rows(part, *down).swapaxes(0, 1)  # (w, size, 3)
    made = _along_rows(halfway, pixel - pixel.min(), weights).swapaxes(0, 1)  # (size, size, 3)
    return np.asarray(np.clip(np.rint(made), 0, 255), np.uint8, order="C")


def _along_rows(image: np.ndarray, pixel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum weighted rows: `(H, W, 3)` to `(count, W, 3)` float32."""
    rows = image.reshape(len(image), -1)  # long rows: NumPy is slow at short ones
    made = np.zeros((len(pixel), rows.shape[1]), np.float32)
    for chosen, weight in zip(pixel.T, weights.T, strict=True):
        made += weight[:, None] * rows[chosen]
    return made.reshape(-1, *image.shape[1:])


def _taps(length: int, start: float, step: float, count: int, fill: Fill) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that each of `count` results looks at, `(count, T)` int, and their weights, `(count, T)` float32."""
    edges = start + step * np.arange(count + 1)
    pixel, weights = _area(edges) if step >= 1 else _cubic(edges)
    if fill == "black" and step >= 1:
        weights[(pixel < 0) | (pixel >= length)] = 0
    elif fill == "black":
        covered = np.clip(edges, 0, length)
        weights *= ((covered[1:] - covered[:-1]) / step)[:, None]
    return np.clip(pixel, 0, length - 1), weights.astype(np.float32)


def _area(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share that each pixel has of the intervals between edges."""
    begin, end = edges[:-1, None], edges[1:, None]
    most = int(np.ceil((end - begin).max())) + 1
    pixel = np.floor(begin).astype(int) + np.arange(most)
    overlap = np.minimum(end, pixel + 1) - np.maximum(begin, pixel)
    return pixel, np.clip(overlap, 0, None) / (end - begin)


def _cubic(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bicubic weights about the middles between edges."""
    middle = (edges[1:] + edges[:-1])[:, None] / 2 - 0.5  # the centre of pixel 0 is at 0
    pixel = np.floor(middle).astype(int) + np.arange(-1, 3)
    away = np.abs(middle - pixel)
    near = ((_CUBIC + 2) * away - (_CUBIC + 3)) * away**2 + 1
    far = _CUBIC * (((away - 5) * away + 8) * away - 4)
    return pixel, np.where(away <= 1, near, far)
