"""A FITS image from outside, made into the colour image that the models know.

An 8-bit image is taken to be a picture: its planes are red, green and blue, or it is grey. Anything else holds light:
three planes are the bands g, i and H, in order of wavelength, and become a colour image as in `galmorph.data.bands`,
each band scaled by its own sky noise, for its unit is not known; one plane becomes a grey image in the same way.
"""

import math
import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from astropy.io import fits

from galmorph.data.bands import colour_image
from galmorph.data.cutout_file import FITS
from galmorph.data.images import PARSING
from galmorph.errors import ImageError, TooManyPixelsError
from galmorph.params import Band, CutoutsParams

_BANDS: tuple[Band, ...] = ("g", "i", "H")
_BLOCK = 2880
#: Header blocks before the image; a file that announces more is no cutout.
_MAX_HEADER = 64 * _BLOCK


def decode_fits(content: bytes, name: str, max_pixels: int, params: CutoutsParams) -> np.ndarray:
    """Decode the primary image of a FITS file.

    Pixels without a value (NaN, infinite, BLANK) become as bright as the sky; a plane that has none stays blank.

    Parameters
    ----------
    content
        The whole file.
    name
        Its name, for messages.
    max_pixels
        Larger images are refused before their pixels are looked at.
    params
        `lupton`, `scale` and `sky` are used.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB, north up: FITS counts rows from the south.

    Raises
    ------
    TooManyPixelsError
        When it is larger than `max_pixels`.
    ImageError
        When the file is no FITS file, is cut off, or its primary array is not one plane or three.
    """
    header, start = _header(content, name)
    planes = _planes(header, name, max_pixels)
    if header.get("BITPIX") == 8 and not {"BSCALE", "BZERO", "BLANK"} & set(header):
        values = _values(content, start, planes, np.dtype(np.uint8), name)
        return np.ascontiguousarray(np.broadcast_to(values, (3, *planes[1:])).transpose(1, 2, 0)[::-1])
    values = _light(_values(content, start, planes, _dtype(header, name), name), header, name)
    if not np.isfinite(values).any():
        raise ImageError(f"{name}: no pixel has a value. Received: {' x '.join(map(str, planes))} values, none finite")
    known = [plane if _holds_light(plane) else None for plane in values]
    if all(plane is None for plane in known):
        raise ImageError(f"{name}: every plane has one value throughout, so it shows nothing.")
    noise_only = params.model_copy(update={"unit": dict.fromkeys(_BANDS)})
    if len(known) == 3:
        return colour_image(dict(zip(_BANDS, known, strict=True)), noise_only)
    alike = noise_only.model_copy(
        update={
            "scale": dict.fromkeys(_BANDS, params.scale["i"]),
            "sky": params.sky.model_copy(update={"noise": dict.fromkeys(_BANDS, params.sky.noise["i"])}),
        }
    )
    return colour_image(dict.fromkeys(_BANDS, known[0]), alike)


def _header(content: bytes, name: str) -> tuple[dict[str, Any], int]:
    """Parse the primary header; return it and where the data begin."""
    stream = BytesIO(content[:_MAX_HEADER])
    try:
        if not content.startswith(FITS):
            raise ValueError(f"{len(content):,} bytes that begin with {content[:8]!r}")
        with PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cards that are not as the standard has them
            header = {card.keyword: card.value for card in fits.Header.fromfile(stream).cards}
    except Exception as error:  # a parser that was fed damaged data may raise anything
        raise ImageError(f"{name}: not a FITS file, or its header is damaged. Received: {error}") from error
    return header, stream.tell()


def _planes(header: Mapping[str, Any], name: str, max_pixels: int) -> tuple[int, int, int]:
    """Return planes, rows and columns; axes of length 1 do not count."""
    count = header.get("NAXIS")
    axes = [header.get(f"NAXIS{axis}") for axis in range(1, min(count, 9) + 1)] if isinstance(count, int) else []
    lengths = [axis for axis in axes if type(axis) is int and axis > 0]  # a logical T is an int to Python
    if len(lengths) < len(axes):
        raise ImageError(f"{name}: the FITS header gives no sizes. Received: {axes}")
    if math.prod(lengths[:2]) > max_pixels:
        raise TooManyPixelsError(
            f"{name}: larger than the {max_pixels:,} pixels of max_pixels, so it was not decoded. "
            f"Received: {' x '.join(map(str, lengths[:2]))} pixels"
        )
    while len(lengths) > 2 and lengths[-1] == 1:
        lengths.pop()
    if len(lengths) not in (2, 3) or lengths[2:] not in ([], [3]):
        raise ImageError(
            f"{name}: the primary array must be one plane, or three (g, i, H). Save the galaxy's image there. "
            f"Received: {' x '.join(map(str, lengths)) or 'no array'}"
        )
    return 3 if len(lengths) == 3 else 1, lengths[1], lengths[0]


def _dtype(header: Mapping[str, Any], name: str) -> np.dtype:
    kinds = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
    if header.get("BITPIX") not in kinds:
        raise ImageError(f"{name}: no such kind of FITS pixel. Received: BITPIX {header.get('BITPIX')!r}")
    return np.dtype(kinds[header["BITPIX"]])


def _values(content: bytes, start: int, planes: tuple[int, int, int], dtype: np.dtype, name: str) -> np.ndarray:
    needed = math.prod(planes) * dtype.itemsize
    if len(content) - start < needed:
        raise ImageError(
            f"{name}: the FITS file is cut off: {needed:,} bytes of data announced. "
            f"Received: {max(len(content) - start, 0):,}"
        )
    return np.frombuffer(content, dtype, math.prod(planes), start).reshape(planes)


def _light(stored: np.ndarray, header: Mapping[str, Any], name: str) -> np.ndarray:
    """Apply BSCALE, BZERO and BLANK; what is not finite, or too large for a float32 to square, has no value."""
    try:
        scale, zero = float(header.get("BSCALE", 1.0)), float(header.get("BZERO", 0.0))
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"{name}: BSCALE and BZERO must be numbers. Received: {error}") from error
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float64) * scale + zero
    if stored.dtype.kind in "iu" and "BLANK" in header:
        values[stored == header["BLANK"]] = np.nan
    values[~(np.abs(values) < 1e15)] = np.nan
    return values.astype(np.float32)


def _holds_light(plane: np.ndarray) -> bool:
    known = plane[np.isfinite(plane)]
    return bool(known.size) and bool(known.min() < known.max())
