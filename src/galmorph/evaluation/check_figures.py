"""Figures of what a score hides: slices and shortcuts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galmorph.data.dataset import crop_box
from galmorph.evaluation.masking import Masked
from galmorph.evaluation.text import percent, slice_name
from galmorph.params import PreprocessParams

# Okabe and Ito's, as in `figures`.
_BLUE, _VERMILLION, _GUIDE = "#0072B2", "#D55E00", "#767676"


def slice_figure(table: pd.DataFrame, accuracy: float, confidence: float, title: str) -> Figure:
    """Forest plot: the accuracy of each slice with its interval, beside what the model promises there.

    Parameters
    ----------
    table
        What `slices.slice_table` gave.
    accuracy
        Of all galaxies.
    """
    figure = Figure(figsize=(8.6, 1.9 + 0.3 * len(table)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.add_subplot()
    axes.axvline(accuracy, color=_GUIDE, linestyle="--", linewidth=1, label=f"all galaxies, {accuracy:.3f}")
    groups = table["group"].tolist()
    for worse, colour, marker in ((False, _BLUE, "o"), (True, _VERMILLION, "s")):
        part = table[table["warning"].to_numpy(bool) == worse]
        if part.empty:
            continue
        value = part["accuracy"].to_numpy()
        ends = np.maximum([value - part["low"].to_numpy(), part["high"].to_numpy() - value], 0)
        name = "significantly worse" if worse else "slice"
        axes.errorbar(
            value, part.index, xerr=ends, fmt=marker, color=colour, capsize=3, linewidth=1.6,
            label=f"{name}, {percent(confidence)} interval",
        )  # fmt: skip
    axes.plot(table["promised"], table.index, "d", color="black", fillstyle="none", label="promised by p_elliptical")
    for row, (group, before) in enumerate(zip(groups[1:], groups[:-1], strict=True), start=1):
        if group != before:
            axes.axhline(row - 0.5, color=_GUIDE, linewidth=0.5, alpha=0.5)
    names = [_slice_label(row) for row in table.to_dict("records")]
    axes.set_yticks(range(len(table)), names, fontsize=9)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlim(min(0.45, float(table["low"].min()) - 0.02, float(table["promised"].min()) - 0.02), 1.01)
    axes.set_xlabel("accuracy (share of the slice's galaxies answered rightly)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _slice_label(row: Any) -> str:
    tested = "" if np.isfinite(row["p_value"]) else ", not tested"
    return f"{slice_name(row['group'], row['slice'], row['range'])}  n = {row['n']:,}{tested}"


def shortcut_figure(
    galaxies: Sequence[tuple[str, np.ndarray, Masked]], preprocess: PreprocessParams, title: str
) -> Figure:
    """Show what was done to a few galaxies: the cutout, the galaxy masked, the surroundings replaced.

    Parameters
    ----------
    galaxies
        Name, `(H, W, 3)` uint8 cutout and its masked versions.
    preprocess
        The square that the model sees is drawn.
    """
    figure = Figure(figsize=(7.4, 2.5 * len(galaxies) + 0.6), layout="constrained")
    figure.suptitle(f"{title}; the square is what the model sees", fontsize=11)
    grid = figure.subplots(len(galaxies), 3, squeeze=False)
    for row, (name, image, changed) in zip(grid, galaxies, strict=True):
        pictures = (image, changed.without_galaxy, changed.without_surroundings)
        heads = (name, "galaxy masked", "sky and neighbours replaced")
        for axes, picture, head in zip(row, pictures, heads, strict=True):
            axes.imshow(picture)
            top, left, side = crop_box(picture.shape[0], picture.shape[1], preprocess)
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor="white", linewidth=0.8))
            axes.set_title(head, fontsize=9)
            axes.set_axis_off()
    return figure
