"""Images from outside: what they are is found from their content, and they become 8-bit RGB or an `ImageError`.

Pillow recognises the format and finds damage. It keeps only 8 bits a channel of a 16-bit colour image and clips a
16-bit grey one, so 16-bit pixels are read by OpenCV, held against Pillow's, and scaled.

Colour profiles and gamma are not applied, and an EXIF orientation is not followed: a cutout's pixels are taken as they
are stored, the way they lie on the sky.
"""

import io
import threading
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from galmorph.errors import ImageError, TooManyPixelsError

#: The formats that are read; Pillow knows more, some of which start other programs or hold no picture.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")

_SEVERAL_JPEGS = "MPO"

#: How each of Pillow's modes becomes RGB, in words. LAB does not, nor do 32-bit modes, whose white may be anywhere.
_CONVERSIONS = {
    "1": "grey to RGB",
    "L": "grey to RGB",
    "LA": "grey to RGB",
    "La": "grey to RGB",
    "P": "palette to RGB",
    "PA": "palette to RGB",
    "RGB": "",
    "RGBX": "",
    "RGBA": "",
    "RGBa": "",
    "CMYK": "CMYK to RGB",
    "YCbCr": "YCbCr to RGB",
}
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "LA", "RGB", "RGBA")
_DEPTHS = (1, 2, 4, 8, 16)
_MIN_IS_BLACK, _RGB = 1, 2  # TIFF's PhotometricInterpretation
_UNSIGNED = 1  # TIFF's SampleFormat

#: Held around `warnings.catch_warnings`, which changes the filters of the whole process: one thread at a time.
PARSING = threading.Lock()


@dataclass(frozen=True)
class DecodedImage:
    """An image from outside, and what it was.

    Attributes
    ----------
    pixels
        `(H, W, 3)` uint8 RGB.
    format
        One of `FORMATS`.
    mode
        Pillow's name of the pixel layout, `;16` added where the file holds 16 bits a channel: `RGB`, `L`, `RGBA;16`.
    conversion
        What was done to get `pixels`: some of "16-bit to 8-bit", "grey to RGB", "palette to RGB", "CMYK to RGB",
        "YCbCr to RGB", "alpha over black", "opaque alpha dropped", joined by ", "; or "none".
    """

    pixels: np.ndarray
    format: str
    mode: str
    conversion: str


def max_bytes(max_pixels: int) -> int:
    """Largest file worth reading, in bytes: `max_pixels` uncompressed in four 16-bit channels, and a header."""
    return 8 * max_pixels + 2**20


def is_blank(pixels: np.ndarray) -> bool:
    """Tell whether every pixel of an `(H, W, 3)` image is the same, so that it shows nothing at all."""
    first = pixels[:1, :1]
    # A row tells of nearly every image that it is not, in a hundredth of the time.
    return bool((pixels[:1] == first).all() and (pixels == first).all())


def decode_image(content: bytes, name: str, max_pixels: int) -> DecodedImage:
    """Decode an image file of any of `FORMATS` to 8-bit RGB.

    16-bit values are scaled, `round(value / 257)`: white stays white and nothing is clipped. Transparency is laid over
    black, the colour of a sky without light. The first picture of a JPEG that holds several (MPO) is its main one.

    Parameters
    ----------
    content
        The whole file.
    name
        Its name, for messages. The format is found from the content, whatever the suffix says.
    max_pixels
        Larger images are refused before a pixel of them is decoded.

    Returns
    -------
    DecodedImage
        The pixels and how they came to be.

    Raises
    ------
    TooManyPixelsError
        When the image is larger than `max_pixels`.
    ImageError
        When the file is empty, not an image, truncated or damaged, animated or of several pages (nothing says which of
        them is the galaxy), or of a kind that has no defined white (32-bit, floating point, signed, 12-bit).
    """
    if not content:
        raise ImageError(f"{name}: the file is empty (0 bytes). Copy it again from where it came from.")
    with _opened(content, name, max_pixels) as image:
        depth = _depth(image, content, name)
        try:
            image.load()
            colours, alpha, steps = _deep(image, content, name) if depth == 16 else _shallow(image, name)
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # a decoder that was fed damaged data may raise anything
            raise ImageError(f"{name}: truncated or damaged. Copy it again. Received: {_said(error)}") from error
    if alpha is not None:
        opaque = int(alpha.min()) == np.iinfo(alpha.dtype).max
        steps.append("opaque alpha dropped" if opaque else "alpha over black")
        colours = colours if opaque else _over_black(colours, alpha)
    if depth == 16:
        colours = ((colours.astype(np.uint32) + 128) // 257).astype(np.uint8)
    kind = "JPEG" if image.format == _SEVERAL_JPEGS else str(image.format)
    mode = image.mode if depth < 16 or ";16" in image.mode else f"{image.mode};16"
    return DecodedImage(np.ascontiguousarray(colours), kind, mode, ", ".join(steps) or "none")


def _opened(content: bytes, name: str, max_pixels: int) -> Image.Image:
    """Read the header alone, and refuse what it announces."""
    try:
        with PARSING, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about metadata; damaged pixels are an error when they load
            # Pillow's own limits are 89 Mpx (a warning) and twice that: whichever is met first counts.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            width, height = image.size
            if width * height > max_pixels:
                raise Image.DecompressionBombError(f"{width} x {height} pixels")
            animated = bool(getattr(image, "is_animated", False)) and image.format != _SEVERAL_JPEGS
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TooManyPixelsError(
            f"{name}: larger than the {max_pixels:,} pixels of max_pixels, so it was not decoded. Received: {error}"
        ) from error
    except Exception as error:  # a parser that was fed damaged data may raise anything
        raise ImageError(
            f"{name}: not an image, or its header is damaged. {', '.join(FORMATS)} are read. "
            f"Received: {len(content):,} bytes that begin with {content[:8]!r}"
        ) from error
    if animated:
        raise ImageError(f"{name}: an animation, or several pages. Save the galaxy's picture by itself.")
    return image


def _said(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()


def _depth(image: Image.Image, content: bytes, name: str) -> int:
    """Bits of a channel, as the file says."""
    if image.format == "PNG":
        return content[24]  # of IHDR, which Pillow has found in its place
    if image.format != "TIFF":
        return 8
    tags = image.tag_v2  # type: ignore[attr-defined]
    depths = set(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    kinds = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (_UNSIGNED,)))
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    if len(depths) > 1 or not depths <= set(_DEPTHS) or kinds != {_UNSIGNED}:
        raise ImageError(
            f"{name}: only unsigned channels of 8 or 16 bits have a defined white. Save it as 8-bit or 16-bit PNG. "
            f"Received: {sorted(depths)} bits, TIFF sample format {sorted(kinds)}"
        )
    depth = int(depths.pop())
    if depth == 16 and photometric not in (_MIN_IS_BLACK, _RGB):
        raise ImageError(
            f"{name}: of 16-bit TIFFs, only RGB and grey with black at 0 are read. Save it as PNG. "
            f"Received: photometric interpretation {photometric}"
        )
    return depth


def _shallow(image: Image.Image, name: str) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Colours `(H, W, 3)`, alpha `(H, W)` or None, and the steps taken, of an image of up to 8 bits a channel."""
    if image.mode not in _CONVERSIONS:
        raise ImageError(f"{name}: its kind of pixel has no defined way to RGB. Save it as PNG. Received: {image.mode}")
    steps = [step for step in [_CONVERSIONS[image.mode]] if step]
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA"))
        return pixels[..., :3], pixels[..., 3], steps
    return np.asarray(image.convert("RGB")), None, steps


def _deep(image: Image.Image, content: bytes, name: str) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Return the same as `_shallow`, in uint16, of an image of 16 bits a channel."""
    known = image.mode in _DEEP_MODES
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if known else None
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"{name}: a 16-bit image that cannot be read. Save it as PNG. Received: mode {image.mode}")
    grey = pixels.ndim == 2
    colours = np.repeat(pixels[..., None], 3, axis=2) if grey else pixels[..., 2::-1]
    alpha = pixels[..., 3] if not grey and pixels.shape[2] == 4 else None
    if not _agree(colours, np.asarray(image.convert("RGBA") if image.mode == "LA" else image)):
        # Seen with TIFFs that store each channel apart: OpenCV, or OpenCV and Pillow both, make noise of them.
        raise ImageError(f"{name}: its 16-bit channels cannot be read for certain. Save it as PNG.")
    greyscale = image.mode.startswith(("I;16", "LA"))
    return colours, alpha, ["16-bit to 8-bit"] + (["grey to RGB"] if greyscale else [])


def _agree(deep: np.ndarray, pillow: np.ndarray) -> bool:
    """Tell whether OpenCV's 16-bit colours are what Pillow read, to one of its 256 levels."""
    if pillow.shape[:2] != deep.shape[:2]:
        return False
    if pillow.ndim == 2:
        pillow = pillow[..., None]
    levels = (pillow >> 8 if pillow.dtype == np.uint16 else pillow).astype(np.int16)[..., :3]
    return bool((np.abs((deep >> 8).astype(np.int16) - levels) <= 1).all())


def _over_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """`round(colour * alpha / full)`, a channel at a time to keep the memory down."""
    full = int(np.iinfo(alpha.dtype).max)
    result = np.empty_like(colours)
    for channel in range(3):
        result[..., channel] = (colours[..., channel].astype(np.uint64) * alpha + full // 2) // full
    return result
