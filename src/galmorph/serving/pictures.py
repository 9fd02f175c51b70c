"""Heat maps as pictures: a layer to lay over the cutout, and both in one picture with a line of text below.

matplotlib is not part of the serving install; viridis comes from OpenCV, the text from Pillow.
"""

from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: Of the picture: cutouts are enlarged to at least so many pixels, so that the text has room.
_MIN_WIDTH = 480
_MARGIN, _TEXT = 10, 15
_INK, _PAPER = (245, 245, 245), (24, 24, 27)


def png(image: np.ndarray) -> bytes:
    """Encode `(H, W, 3)` RGB or `(H, W, 4)` RGBA uint8 as PNG."""
    swapped = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", swapped)[1])


def heat_layer(heat_map: np.ndarray, seen: tuple[int, int, int]) -> np.ndarray:
    """Colour a heat map, scaled to its own maximum, and leave what the model did not see transparent.

    Parameters
    ----------
    heat_map
        `(H, W)` float, at least 0, in the cutout's frame.
    seen
        Top, left and side of the square that the model saw, in pixels.

    Returns
    -------
    numpy.ndarray
        `(H, W, 4)` uint8 RGBA, in viridis.
    """
    peak = float(heat_map.max())
    levels = np.rint(heat_map * (255 / peak) if peak > 0 else heat_map).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    opaque = np.zeros(heat_map.shape, np.uint8)
    top, left, side = seen
    opaque[top : top + side, left : left + side] = 255
    return np.dstack([colours, opaque])


def laid_over(cutout: np.ndarray, layer: np.ndarray, opacity: float) -> np.ndarray:
    """Lay a heat layer over the cutout; `(H, W, 3)` uint8."""
    weight = layer[..., 3:].astype(np.float32) * (opacity / 255)
    return np.asarray(np.rint(cutout * (1 - weight) + layer[..., :3] * weight), np.uint8)


def captioned(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Enlarge a small picture, and write lines of text below it, wrapped to its width; `(h, w, 3)` uint8."""
    times = max(1, -(-_MIN_WIDTH // image.shape[1]))
    image = cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
    height, width = image.shape[:2]
    rows = [row for line in lines for row in _wrapped(line, width - 2 * _MARGIN)]
    step = round(_TEXT * 1.4)
    sheet = Image.new("RGB", (width, height + 2 * _MARGIN + step * len(rows)), _PAPER)
    sheet.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        draw.text((_MARGIN, height + _MARGIN + step * number), row, _INK, font=_font())
    return np.asarray(sheet)


def _wrapped(line: str, width: int) -> list[str]:
    rows = [""]
    for word in line.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and _font().getlength(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
