"""The before/after sheet of a denoiser: a few galaxies of each class, side by side with what was taken away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galmorph.data.denoise import Quality

#: What the residual is multiplied by, about mid-grey; the same for every denoiser, so that their sheets compare.
RESIDUAL_GAIN = 8
_EACH_CLASS = 3
#: The side of what is shown, in half-light radii of the galaxy, and its smallest and largest value in pixels.
_SIDE_RADII, _SMALLEST_SIDE, _LARGEST_SIDE = 8.0, 64, 160
_PANEL, _HEADER, _ROW_TITLE, _MARGIN, _GAP = 2.4, 0.75, 0.6, 0.15, 0.08  # inches


@dataclass(frozen=True)
class Panel:
    """One galaxy of the sheet.

    Attributes
    ----------
    cataid, label
        Which galaxy, and its class.
    radius
        Its half-light radius in pixels; NaN where it is not known.
    original, denoised
        `(H, W, 3)` uint8 RGB.
    truth
        The noise-free image, where it is kept.
    before, after
        Quality of `original` and of `denoised`, where there is a truth.
    """

    cataid: str
    label: str
    radius: float
    original: np.ndarray
    denoised: np.ndarray
    truth: np.ndarray | None
    before: Quality | None
    after: Quality | None


def choose(galaxies: pd.DataFrame) -> pd.DataFrame:
    """Choose the galaxies of the sheet: of each class three that are small, middling and large for it.

    The choice does not depend on the denoiser, so that the sheets of all of them show the same galaxies.

    Parameters
    ----------
    galaxies
        The accepted rows of the manifest, with `CATAID`, `label` and `radius_pixels`.

    Returns
    -------
    pandas.DataFrame
        The rows chosen: Elliptical first, small to large; those without a radius come last.
    """
    chosen = []
    for _, members in galaxies.sort_values(["radius_pixels", "CATAID"]).groupby("label", sort=True):
        known = members[members["radius_pixels"].notna()]
        pool = known if len(known) >= _EACH_CLASS else members
        places = (np.arange(_EACH_CLASS) + 0.5) / _EACH_CLASS * len(pool)
        chosen.append(pool.iloc[np.unique(places.astype(int))])
    return pd.concat(chosen)


def residual(original: np.ndarray, denoised: np.ndarray) -> np.ndarray:
    """Make what was taken away visible: mid-grey + `RESIDUAL_GAIN` × (original − denoised), band by band.

    Parameters
    ----------
    original, denoised
        `(H, W, 3)` uint8 RGB.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB; a grey of 128 where nothing changed.
    """
    difference = original.astype(np.int16) - denoised
    return np.asarray(np.clip(128 + RESIDUAL_GAIN * difference, 0, 255), np.uint8)


def brightened(image: np.ndarray) -> np.ndarray:
    """Bring out the sky and the faint parts of a galaxy, where the noise is: 255 × √(value / 255).

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB, to be looked at only.
    """
    return np.asarray(np.rint(np.sqrt(image * np.float32(255))), np.uint8)


def zoomed(image: np.ndarray, radius: float) -> np.ndarray:
    """Cut the central square that shows the galaxy: eight of its radii a side, between 64 and 160 pixels.

    Parameters
    ----------
    image
        `(H, W, 3)`.
    radius
        Half-light radius in pixels; NaN shows 160 pixels.

    Returns
    -------
    numpy.ndarray
        `(S, S, 3)`, or less where the image is smaller.
    """
    wanted = _LARGEST_SIDE if np.isnan(radius) else int(np.clip(_SIDE_RADII * radius, _SMALLEST_SIDE, _LARGEST_SIDE))
    height, width = (min(wanted, side) for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def draw(panels: Sequence[Panel], variant: str) -> Figure:
    """Draw the sheet: a row a galaxy; original, denoised, residual and, where it is kept, noise-free.

    Parameters
    ----------
    panels
        The galaxies, at least one.
    variant
        The denoiser's name, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        Ready to be saved.
    """
    titles = ["original", "denoised", f"residual (× {RESIDUAL_GAIN})"]  # noqa: RUF001
    titles += ["noise-free"] if any(panel.truth is not None for panel in panels) else []
    columns, rows = len(titles), len(panels)
    # Sizes in inches, so that a sheet of two galaxies and one of six look alike.
    width = 2 * _MARGIN + columns * _PANEL + (columns - 1) * _GAP
    height = _HEADER + rows * (_ROW_TITLE + _PANEL) + _MARGIN
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, text, va="center", **style)

    write(_MARGIN, 0.3, f"Denoiser: {variant}", size=14, weight="bold")
    stretches = f"residual: mid-grey + {RESIDUAL_GAIN} × (original − denoised); the others brightened, √(value / 255)"  # noqa: RUF001
    write(_MARGIN, 0.58, stretches, size=9)
    for row, panel in enumerate(panels):
        top = _HEADER + row * (_ROW_TITLE + _PANEL)
        side = zoomed(panel.original, panel.radius).shape[1]
        write(
            _MARGIN, top + 0.27, f"{panel.label}, CATAID {panel.cataid}, central {side} pixels", size=9, weight="bold"
        )
        truth = None if panel.truth is None else brightened(panel.truth)
        changed = residual(panel.original, panel.denoised)
        images = (brightened(panel.original), brightened(panel.denoised), changed, truth)
        notes = (_note(panel.before), _note(panel.after), "", "")
        for column, title in enumerate(titles):
            left = _MARGIN + column * (_PANEL + _GAP)
            write(left, top + 0.49, f"{title}   {notes[column]}", size=8)
            bottom = height - top - _ROW_TITLE - _PANEL
            axes = figure.add_axes((left / width, bottom / height, _PANEL / width, _PANEL / height))
            _show(axes, images[column], panel.radius)
    return figure


def _note(quality: Quality | None) -> str:
    return f"{quality.psnr:.1f} dB, SSIM {quality.ssim:.3f}" if quality else ""


def _show(axes: Axes, image: np.ndarray | None, radius: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if image is None:
        axes.text(0.5, 0.5, "not kept", ha="center", va="center", transform=axes.transAxes)
    else:
        axes.imshow(zoomed(image, radius), interpolation="nearest")
