"""One image as someone hands it to a registered model: a file's bytes, base64 text, or an array."""

import base64
import binascii
from typing import Any

import numpy as np

from galmorph.data.images import decode_image, is_blank, max_bytes
from galmorph.errors import ImageError, InputError


def as_cutout(given: Any, name: str, max_pixels: int) -> np.ndarray:
    """Make a cutout of what was given.

    Parameters
    ----------
    given
        The bytes of an image file of any of `images.FORMATS`; the same as base64 text, with or without line ends; or an
        `(H, W, 3)` RGB array (or nested lists) from 0 to 255, whole or rounded to whole numbers.
    name
        What it is called in messages.
    max_pixels
        Larger images are refused before they are decoded.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB.

    Raises
    ------
    ImageError
        When it is no image, too large, or shows nothing at all.
    InputError
        When it is of no kind that is known here.
    """
    if isinstance(given, str):
        given = _from_base64(given, name, max_pixels)
    if isinstance(given, (bytes, bytearray, memoryview)):
        content = bytes(given)
        _check_size(len(content), name, max_pixels)
        cutout = decode_image(content, name, max_pixels).pixels
    elif isinstance(given, (np.ndarray, list, tuple)):
        cutout = _from_numbers(given, name, max_pixels)
    else:
        raise InputError(
            f"{name}: give the bytes of an image file, base64 text or an (H, W, 3) array. "
            f"Received: {type(given).__name__}"
        )
    if is_blank(cutout):
        raise ImageError(f"{name}: blank, every pixel is the same; there is no galaxy. Received: {cutout[0, 0]}")
    return cutout


def _from_base64(text: str, name: str, max_pixels: int) -> bytes:
    _check_size(3 * len(text) // 4, name, max_pixels)
    try:
        # MLflow's own encoder breaks lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"{name}: text must be the base64 of an image file. (A path is read only by a model that was loaded with "
            f"model_config={{'allow_paths': True}}.) Received: {text[:40]!r}"
        ) from error


def _check_size(size: int, name: str, max_pixels: int) -> None:
    if size > max_bytes(max_pixels):
        raise ImageError(
            f"{name}: no image of at most {max_pixels:,} pixels is that large; it was not decoded. "
            f"Received: {size:,} bytes"
        )


def _from_numbers(given: Any, name: str, max_pixels: int) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{name}: the rows of an image are equally long. Received: {error}") from error
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype.kind not in "uif":
        raise InputError(
            f"{name}: an array must be (H, W, 3) RGB numbers from 0 to 255. "
            f"Received: shape {array.shape}, {array.dtype}"
        )
    if array.shape[0] * array.shape[1] > max_pixels:
        raise ImageError(
            f"{name}: larger than the {max_pixels:,} pixels of max_pixels. Received: {array.shape[1]} x "
            f"{array.shape[0]} pixels"
        )
    # Compared this way round, NaN is refused too.
    if not (array.min() >= 0 and array.max() <= 255):
        raise InputError(
            f"{name}: values must lie from 0 to 255; scaling is the model's own. "
            f"Received: from {array.min():g} to {array.max():g}"
        )
    if array.dtype.kind == "f" and array.max() <= 1:
        raise InputError(
            f"{name}: looks scaled to [0, 1]. Give values from 0 to 255; scaling is the model's own. "
            f"Received: a largest value of {array.max():g}"
        )
    cutout: np.ndarray = np.rint(array).astype(np.uint8)
    return cutout
