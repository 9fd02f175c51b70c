"""From an uploaded file to a cutout. Its content is sniffed, and its size is known before a pixel is decoded.

Names and media types that a client gives are shown back to it and believed in nothing.
"""

import numpy as np

from galmorph.data.images import decode_image, is_blank
from galmorph.errors import ImageError, TooManyPixelsError
from galmorph.params import ServiceParams
from galmorph.serving.refusals import RefusedError

_PNG, _JPEG, _FITS = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"SIMPLE  ="
_MAX_NAME = 120


def shown_name(name: str | None, number: int) -> str:
    """Return what an image is called in answers: its file's name, shortened and without control characters."""
    text = "".join(letter for letter in name or "" if letter.isprintable())
    return text[-_MAX_NAME:] or f"image {number}"


def media_type(content: bytes) -> str:
    """Return the media type of an image file's content."""
    known = {_PNG: "image/png", _JPEG: "image/jpeg", _FITS: "image/fits"}
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
    pixels = params.serve.limits.pixels
    try:
        if content.startswith((_PNG, _JPEG)):
            image = decode_image(content, name, pixels).pixels
        elif content.startswith(_FITS):
            from galmorph.data.fits_image import decode_fits  # astropy takes its time, and few send FITS

            image = decode_fits(content, name, pixels, params.bands)
        elif not content:
            raise RefusedError("unreadable_image", f"{name}: the file is empty. Send a PNG, JPEG or FITS image.")
        else:
            raise RefusedError(
                "unsupported_format",
                f"{name}: neither PNG, JPEG nor FITS, whatever its name says. Save the cutout as one of these. "
                f"Received: {len(content):,} bytes that begin with {content[:8]!r}",
            )
    except TooManyPixelsError as error:
        raise RefusedError("too_many_pixels", str(error)) from error
    except ImageError as error:
        raise RefusedError("unreadable_image", str(error)) from error
    height, width = image.shape[:2]
    if min(height, width) < params.min_side:
        raise RefusedError(
            "small_image",
            f"{name}: a cutout has at least {params.min_side} pixels a side. Received: {width} x {height}",
        )
    if is_blank(image):
        raise RefusedError("blank_image", f"{name}: every pixel is the same, so it shows no galaxy.")
    return image
