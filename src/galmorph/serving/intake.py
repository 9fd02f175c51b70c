"""From an uploaded file to a cutout. Its content is sniffed, and its size is known before a pixel is decoded.

Names and media types that a client gives are shown back to it and believed in nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from galmorph.data.cutout_file import FITS, check_not_blank, check_side, decode_cutout
from galmorph.errors import ImageError, TooManyPixelsError
from galmorph.params import ServiceParams
from galmorph.serving.refusals import Reason, RefusedError

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MAX_NAME = 120


def shown_name(name: str | None, number: int) -> str:
    """Return what an image is called in answers: its file's name, shortened and without control characters."""
    text = "".join(letter for letter in name or "" if letter.isprintable())
    return text[-_MAX_NAME:] or f"image {number}"


def media_type(content: bytes) -> str:
    """Return the media type of an image file's content."""
    known = {_PNG: "image/png", _JPEG: "image/jpeg", FITS: "image/fits"}
    return next((kind for magic, kind in known.items() if content.startswith(magic)), "application/octet-stream")


def decode_upload(content: bytes, name: str, params: ServiceParams) -> np.ndarray:
    """Decode an uploaded PNG, JPEG or FITS file.

    Parameters
    ----------
    content
        The whole file.
    name
        For messages.
    params
        `serve.limits.pixels`, `min_side` and `bands` are used.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB.

    Raises
    ------
    RefusedError
        When it is something else, damaged, too large, too small to be a cutout, or shows nothing.
    """
    if not content:
        raise RefusedError("unreadable_image", f"{name}: the file is empty. Send a PNG, JPEG or FITS image.")
    if not content.startswith((_PNG, _JPEG, FITS)):
        raise RefusedError(
            "unsupported_format",
            f"{name}: neither PNG, JPEG nor FITS, whatever its name says. Save the cutout as one of these. "
            f"Received: {len(content):,} bytes that begin with {content[:8]!r}",
        )
    with _refused("unreadable_image"):
        cutout = decode_cutout(content, name, params.serve.limits.pixels, params.bands)
    with _refused("small_image"):
        check_side(cutout, name, params.min_side)
    with _refused("blank_image"):
        check_not_blank(cutout, name)
    return cutout


@contextmanager
def _refused(reason: Reason) -> Iterator[None]:
    """Give an image's error its reason."""
    try:
        yield
    except TooManyPixelsError as error:
        raise RefusedError("too_many_pixels", str(error)) from error
    except ImageError as error:
        raise RefusedError(reason, str(error)) from error
