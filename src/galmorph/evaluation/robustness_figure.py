"""The figure of robustness: accuracy against how far cutouts are degraded."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from galmorph.evaluation.degrade import KINDS
from galmorph.evaluation.text import percent

# Okabe and Ito's, as in `figures`.
_BLUE, _VERMILLION, _GREEN = "#0072B2", "#D55E00", "#009E73"


def robustness_figure(
    curves: pd.DataFrame, record: dict[str, Any], flat_zoom: tuple[float, float], title: str
) -> Figure:
    """Accuracy against the level of each kind of change, with intervals; the undegraded cutouts marked.

    Parameters
    ----------
    curves
        What `robustness.robustness_curves` gave.
    record
        What `robustness.robustness_record` gave.
    flat_zoom
        The zooms that the summary is about: a band in that panel.
    """
    kinds = [kind for kind in KINDS if (curves["kind"] == kind).any()]
    across = min(4, len(kinds))
    down = -(-len(kinds) // across)
    figure = Figure(figsize=(3.1 * across + 0.4, 2.9 * down + 1.3), layout="constrained")
    figure.suptitle(f"{title}, n = {record['n']}\n{_wrapped(record['summary'], 34 * across)}", fontsize=10)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    bottom = min(float(curves["low"].min()), record["blind"]) - 0.03
    for axes, kind in zip(grid.ravel(), kinds, strict=False):
        _draw_curve(axes, curves[curves["kind"] == kind].sort_values("level"), kind, record)
        axes.set_ylim(bottom, 1.01)
        if kind == "zoom":
            axes.axvspan(*flat_zoom, color=_GREEN, alpha=0.12, linewidth=0, label="zoom of the summary")
    for axes in grid.ravel()[len(kinds) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("accuracy")
    handles = {
        label: handle for axes in grid.ravel() for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _draw_curve(axes: Axes, rows: pd.DataFrame, kind: str, record: dict[str, Any]) -> None:
    unit, neutral = KINDS[kind]
    undegraded = record["undegraded"]["accuracy"]
    level, accuracy = rows["level"].to_numpy(), rows["accuracy"].to_numpy()
    low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
    if neutral is not None and neutral not in level:
        level = np.append(level, neutral)
        order = level.argsort()
        level = level[order]
        accuracy = np.append(accuracy, undegraded["value"])[order]
        low, high = np.append(low, undegraded["low"])[order], np.append(high, undegraded["high"])[order]
    interval = f"{percent(record['confidence'])} interval"
    axes.fill_between(level, low, high, color=_BLUE, alpha=0.2, linewidth=0, label=interval)
    axes.plot(level, accuracy, "o-", color=_BLUE, markersize=4, linewidth=1.5, label="accuracy, degraded")
    axes.axhline(undegraded["value"], color="black", linestyle="--", linewidth=1, label="undegraded")
    if neutral is not None:
        axes.plot([neutral], [undegraded["value"]], "D", color="black", markersize=5)
    axes.axhline(record["blind"], color=_VERMILLION, linestyle=":", linewidth=1.2, label="always the commoner class")
    if kind == "jpeg":
        axes.invert_xaxis()  # harm grows to the right, as in the other panels
    axes.set_title(kind, fontsize=10)
    axes.set_xlabel(unit, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
