"""Figures of what a set of explanations says together, narrow enough to be read on a phone.

Colours are Okabe and Ito's, as in `galmorph.evaluation.figures`; markers and line styles tell the same apart in grey.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galmorph.evaluation.text import NONE

#: Okabe & Ito without yellow, which is too pale for lines on white; and a marker and a line for each colour.
_STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
    ("#767676", "*", ":"),
)
_BLUE, _VERMILLION, _GUIDE = "#0072B2", "#D55E00", "#767676"
#: Inches: about as many points as a phone is wide, so that 9 points are read as such.
_WIDTH = 4.9


def on_galaxy_figure(
    shares: pd.DataFrame, scores: Mapping[str, Mapping[str, Any]], uniform: Mapping[str, Any], titles: Mapping[str, str]
) -> Figure:
    """Draw each galaxy's share of the attribution that lies on it, method by method, beside what chance would give.

    Parameters
    ----------
    shares
        A row a galaxy and method: `method`, and `galaxy`, the share in [0, 1]; NaN where it is not defined.
    scores
        Method to `galaxy_share`: `value`, `low` and `high` of the mean.
    uniform
        `value`, `low` and `high` of the mean share that a map of one value everywhere has on the galaxy.
    titles
        Method to its name on the page; methods are drawn in this order.
    """
    methods = [name for name in titles if name in scores]
    figure = Figure(figsize=(_WIDTH, 1.35 + 0.42 * len(methods)), layout="constrained")
    axes = figure.add_subplot()
    if uniform["value"] is not None:
        if uniform["low"] is not None:
            axes.axvspan(uniform["low"], uniform["high"], color=_GUIDE, alpha=0.2, linewidth=0)
        axes.axvline(uniform["value"], color=_GUIDE, linestyle="--", label=f"even map, {uniform['value']:.2f}")
    for row, name in enumerate(methods):
        values = np.sort(shares.loc[shares["method"] == name, "galaxy"].dropna().to_numpy(float))
        # Spread by rank within neighbouring values, so that equal ones do not hide each other; no random numbers.
        spread = 0.28 * (((np.arange(len(values)) * 0.618034) % 1) - 0.5) * 2
        axes.plot(
            values, row + spread, "o", color=_BLUE, alpha=0.3, markersize=3, markeredgewidth=0,
            label="a galaxy" if row == 0 else None,
        )  # fmt: skip
        _mean(axes, scores[name].get("galaxy_share"), row)
    axes.set_yticks(range(len(methods)), [_wrapped(titles[name]) for name in methods], fontsize=9)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(methods) - 0.4, -0.6), xlabel="share of the map on the galaxy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    return figure


def _mean(axes: Axes, score: Mapping[str, Any] | None, row: int) -> None:
    if score is None or score["value"] is None:
        axes.text(0.5, row, "not defined", ha="center", va="center", fontsize=9)
        return
    bar = None if score["low"] is None else [[score["value"] - score["low"]], [score["high"] - score["value"]]]
    axes.errorbar(
        [score["value"]], [row], xerr=None if bar is None else np.maximum(bar, 0), fmt="D", color=_VERMILLION,
        markersize=6, capsize=4, linewidth=2, label="mean, with interval" if row == 0 else None,
    )  # fmt: skip


def agreement_figure(agreement: Mapping[str, Any], titles: Mapping[str, str]) -> Figure:
    """Draw how alike the methods' maps are: mean rank correlations, a row and a column a method.

    Parameters
    ----------
    agreement
        `methods`, and `matrix` of as many rows and columns; None where it is not defined.
    titles
        Method to its name on the page.
    """
    names: Sequence[str] = agreement["methods"]
    matrix = np.array([[np.nan if value is None else value for value in row] for row in agreement["matrix"]], float)
    size = len(names)
    figure = Figure(figsize=(_WIDTH, 1.0 + 0.4 * size), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for row, column in np.ndindex(matrix.shape):
        value = float(matrix[row, column])
        # Rounded first, so that -0.001 does not become -0.00.
        text = NONE if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "\u2212")
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=9 if size < 8 else 8, color=colour)
    labels = [f"{_wrapped(titles.get(name, name))}  {row}" for row, name in enumerate(names, 1)]
    axes.set_yticks(range(size), labels, fontsize=9, linespacing=0.95)
    axes.set_xticks(range(size), [str(row) for row in range(1, size + 1)], fontsize=9)
    axes.tick_params(length=0)
    axes.set_xlabel("method, by number")
    bar = figure.colorbar(shown, ax=axes, location="bottom", fraction=0.05, aspect=40)
    bar.set_label("mean rank correlation of two maps")
    return figure


def randomisation_figure(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], limit: float, titles: Mapping[str, str]
) -> Figure:
    """Draw how maps change as the model's layers are replaced by random ones, from the answer down.

    Parameters
    ----------
    curves
        Method to points with `layers` of `of` randomised and `correlation` with the true model's maps.
    limit
        The correlation at which a method fails with everything randomised.
    titles
        Method to its name on the page; methods are drawn in this order.
    """
    figure = Figure(figsize=(_WIDTH, 4.3), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(limit, color=_GUIDE, linestyle="--", linewidth=1)
    axes.text(
        1.06, limit + 0.015, "ends above: failed", fontsize=9, color="#444c56", ha="right", va="bottom",
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    drawn = [name for name in titles if name in curves]
    for place, name in enumerate(drawn):
        points = [point for point in curves[name] if point["correlation"]["value"] is not None]
        colour, marker, line = _STYLES[place % len(_STYLES)]
        x = np.array([point["layers"] / point["of"] for point in points])
        value, low, high = (
            np.array([np.nan if (end := point["correlation"][key]) is None else end for point in points], float)
            for key in ("value", "low", "high")
        )
        bars = np.maximum([value - low, high - value], 0) if len(points) else None
        # A little apart, so that the intervals of two methods do not lie on each other.
        shift = 0.006 * (place - (len(drawn) - 1) / 2)
        axes.errorbar(
            x + shift, value, yerr=bars, color=colour, marker=marker, linestyle=line, markersize=5, capsize=2,
            linewidth=1.6, elinewidth=1, label=_wrapped(titles[name]),
        )  # fmt: skip
    lowest = axes.get_ylim()[0]
    axes.set(xlim=(-0.04, 1.06), ylim=(min(lowest, -0.1), 1.05))
    axes.set_xlabel("share of layers made random, from the answer down")
    axes.set_ylabel("rank correlation with the true maps")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _wrapped(title: str) -> str:
    return textwrap.fill(title, 21)
