"""Pictures as bytes, small enough to be part of a page."""

import base64
import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from galmorph.data.montage import as_png

#: Of lossy WebP, of 100: heat maps are smooth, and at this their colours stay within a few of 255 levels.
_QUALITY = 85
#: Of lossless WebP, of 100: more takes several times as long and saves little.
_EFFORT = 50


def png(figure: Figure, dots_per_inch: int = 110) -> bytes:
    """Draw a figure as PNG."""
    return as_png(figure, dots_per_inch)


def photograph_url(pixels: np.ndarray) -> str:
    """Make a cutout or heat map, `(H, W, 3)` uint8, part of a page: lossy WebP, about a fifth of its PNG."""
    return _webp_url(Image.fromarray(pixels), quality=_QUALITY)


def drawing_url(image: bytes, max_width: int) -> str:
    """Make a figure that was drawn as PNG part of a page: lossless WebP, at most `max_width` pixels wide."""
    opened = Image.open(io.BytesIO(image)).convert("RGB")
    if opened.width > max_width:
        opened = opened.resize((max_width, round(opened.height * max_width / opened.width)), Image.Resampling.LANCZOS)
        # Made smaller, lines have soft edges, which lossless formats hold badly.
        return _webp_url(opened, quality=_QUALITY)
    return _webp_url(opened, lossless=True, quality=_EFFORT)


def _webp_url(image: Image.Image, **options: bool | int) -> str:
    written = io.BytesIO()
    image.save(written, format="WEBP", method=4, **options)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()
