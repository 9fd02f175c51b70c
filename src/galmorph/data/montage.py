"""Contact sheets: many cutouts, or pairs of them, on one picture."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_CELL, _CAPTION, _TITLE, _GAP = 1.35, 0.2, 0.45, 0.06  # inches
_LINE = 0.13  # inches a further line of caption


@dataclass(frozen=True)
class Tile:
    """One cutout of a sheet.

    Attributes
    ----------
    image
        `(H, W, 3)` uint8 RGB.
    caption
        What stands below it; short, and of several lines where it holds line breaks.
    """

    image: np.ndarray
    caption: str = ""


def sheet(tiles: Sequence[Tile], title: str = "", columns: int = 6) -> Figure:
    """Draw cutouts in rows.

    Parameters
    ----------
    tiles
        The cutouts, of whatever sizes; each is fitted into its cell.
    title
        Stands above them; empty for none.
    columns
        Cutouts in a row. Fewer cutouts make a narrower sheet.

    Returns
    -------
    matplotlib.figure.Figure
        Ready to be saved. Without cutouts it says so.

    Raises
    ------
    ValueError
        When `columns` is below 1.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more. Received: {columns}")
    return _draw([[tile] for tile in tiles], title, columns)


def pair_sheet(pairs: Sequence[tuple[Tile, Tile]], title: str = "", columns: int = 2) -> Figure:
    """Draw pairs of cutouts, the two of a pair side by side and apart from the next pair.

    Parameters
    ----------
    pairs
        The pairs.
    title
        Stands above them; empty for none.
    columns
        Pairs in a row.

    Returns
    -------
    matplotlib.figure.Figure
        Ready to be saved. Without pairs it says so.

    Raises
    ------
    ValueError
        When `columns` is below 1.
    """
    if columns < 1:
        raise ValueError(f"columns must be 1 or more. Received: {columns}")
    return _draw([list(pair) for pair in pairs], title, columns)


def _draw(blocks: Sequence[Sequence[Tile]], title: str, columns: int) -> Figure:
    columns = max(1, min(columns, len(blocks)))
    rows = max(1, -(-len(blocks) // columns))
    lines = max((tile.caption.count("\n") for block in blocks for tile in block), default=0)
    captioned = any(tile.caption for block in blocks for tile in block)
    each = len(blocks[0]) if blocks else 1
    between = 4 * _GAP if each > 1 else _GAP
    block_width = each * _CELL + (each - 1) * _GAP
    row_height = _CELL + (_CAPTION + lines * _LINE if captioned else _GAP)
    top = _TITLE if title else _GAP
    width = max(2 * _GAP + columns * block_width + (columns - 1) * between, 3.0)
    height = top + rows * row_height + _GAP
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    if title:
        figure.text(_GAP / width, 1 - _TITLE / 2 / height, title, va="center", size=11, weight="bold")
    if not blocks:
        figure.text(0.5, 0.3, "none", ha="center", va="center", size=10)
    for place, block in enumerate(blocks):
        row, column = divmod(place, columns)
        for k, tile in enumerate(block):
            left = _GAP + column * (block_width + between) + k * (_CELL + _GAP)
            bottom = height - top - row * row_height - _CELL
            axes = figure.add_axes((left / width, bottom / height, _CELL / width, _CELL / height))
            _show(axes, tile)
    return figure


def _show(axes: Axes, tile: Tile) -> None:
    axes.imshow(tile.image, interpolation="antialiased")
    axes.set_axis_off()
    axes.text(0.5, -0.02, tile.caption, transform=axes.transAxes, ha="center", va="top", size=6.5, linespacing=1.15)


def as_array(figure: Figure) -> np.ndarray:
    """Draw a figure as an `(H, W, 3)` uint8 RGB array."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]


def as_png(figure: Figure, dots_per_inch: float | Literal["figure"] = "figure") -> bytes:
    """Draw a figure as PNG; equal figures make equal bytes."""
    drawn = io.BytesIO()
    # No software or date in the file: equal content makes equal bytes.
    figure.savefig(drawn, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return drawn.getvalue()


def data_url(png: bytes) -> str:
    """Make a PNG part of a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
