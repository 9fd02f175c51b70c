"""A file with a cutout, as someone sends it who wants an answer: which formats there are, and what is no cutout."""

import numpy as np

from galmorph.data.images import decode_image, is_blank
from galmorph.errors import ImageError
from galmorph.params import CutoutsParams

#: What a FITS file begins with.
FITS = b"SIMPLE  ="


def decode_cutout(content: bytes, name: str, max_pixels: int, bands: CutoutsParams) -> np.ndarray:
    """Decode a FITS file, or an image of any of `images.FORMATS`.

    Parameters
    ----------
    content
        The whole file.
    name
        For messages.
    max_pixels
        Larger images are refused before they are decoded.
    bands
        How bands become a colour image, where it is a FITS file.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB; whether that can be a cutout, `check_side` and `check_not_blank` tell.

    Raises
    ------
    TooManyPixelsError
        When it is larger than `max_pixels`.
    ImageError
        When it is something else, or damaged.
    """
    if content.startswith(FITS):
        from galmorph.data.fits_image import decode_fits  # astropy takes its time, and few have FITS

        return decode_fits(content, name, max_pixels, bands)
    return decode_image(content, name, max_pixels).pixels


def check_side(cutout: np.ndarray, name: str, min_side: int) -> None:
    """Refuse what is too small to be a cutout.

    Raises
    ------
    ImageError
        When a side has fewer than `min_side` pixels.
    """
    height, width = cutout.shape[:2]
    if min(height, width) < min_side:
        raise ImageError(f"{name}: a cutout has at least {min_side} pixels a side. Received: {width} x {height}")


def check_not_blank(cutout: np.ndarray, name: str) -> None:
    """Refuse what shows no galaxy.

    Raises
    ------
    ImageError
        When all pixels are the same.
    """
    if is_blank(cutout):
        raise ImageError(
            f"{name}: blank, every pixel is the same, so it shows no galaxy. Received: {cutout[0, 0].tolist()}"
        )
