"""What a study found, as figures: its history, which values matter, and how they go together."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from galmorph.params import Choices, Range, Search

_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#767676"
#: More labels than these would run into one another.
_MANY_LABELS = 12


def study_figures(
    trials: pd.DataFrame, space: Mapping[str, Search], metric: str, importances: Mapping[str, float], title: str
) -> dict[str, Figure]:
    """Draw every figure of a study that its trials allow.

    Parameters
    ----------
    trials
        `number`, `state` and `value` (the metric; empty where a trial failed, the last epoch's where it was pruned),
        and a column for each searched key.
    space
        What was searched.
    metric
        `loss` or `accuracy`, of validation.
    importances
        Share of each key in what makes trials differ; empty where there are too few trials.
    title
        The study.

    Returns
    -------
    dict
        `history`, and where trials were completed `parallel_coordinates`, and `importances` where there are any.
    """
    figures = {"history": history_figure(trials, metric, title)}
    if (trials["state"] == "COMPLETE").any():
        figures["parallel_coordinates"] = parallel_figure(trials, space, metric, title)
    if importances:
        figures["importances"] = importances_figure(importances, metric, title)
    return figures


def history_figure(trials: pd.DataFrame, metric: str, title: str) -> Figure:
    """Draw each trial's metric, and the best so far."""
    figure, axes = _figure((7.0, 4.2), title)
    complete, pruned = (trials[trials["state"] == state] for state in ("COMPLETE", "PRUNED"))
    failed = trials[trials["state"] == "FAIL"]
    best = complete["value"].cummin() if metric == "loss" else complete["value"].cummax()
    axes.plot(complete["number"], complete["value"], "o", color=_BLUE, label=f"completed ({len(complete)})")
    if len(pruned):
        axes.plot(pruned["number"], pruned["value"], "v", color=_GREY, fillstyle="none",
                  label=f"pruned ({len(pruned)}), at its last epoch")  # fmt: skip
    axes.step(complete["number"], best, where="post", color=_RED, label="best so far")
    if len(failed):
        axes.plot(failed["number"], np.full(len(failed), 0.02), "x", color="black", clip_on=False,
                  transform=axes.get_xaxis_transform(), label=f"failed ({len(failed)})")  # fmt: skip
    values = complete["value"]
    if len(values) and len(pruned):
        # A trial is pruned because it is bad: some are so bad that the others would fall onto one line.
        spread = max(float(values.max() - values.min()), 0.01)
        low, high = float(values.min()) - spread, float(values.max()) + spread
        if not pruned["value"].between(low, high).all():
            axes.set_ylim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel(f"validation {metric}")
    axes.legend(frameon=False)
    return figure


def importances_figure(importances: Mapping[str, float], metric: str, title: str) -> Figure:
    """Draw the share of each key in what makes trials differ."""
    figure, axes = _figure((7.0, 1.4 + 0.34 * len(importances)), title)
    names = sorted(importances, key=lambda name: importances[name])
    bars = axes.barh(names, [importances[name] for name in names], color=_BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel(f"importance for validation {metric} (share; PED-ANOVA)")
    return figure


def parallel_figure(trials: pd.DataFrame, space: Mapping[str, Search], metric: str, title: str) -> Figure:
    """Draw each completed trial as a line through its values, the best on top."""
    complete = trials[trials["state"] == "COMPLETE"].sort_values("value", ascending=metric == "accuracy")
    figure, axes = _figure((2.2 + 1.15 * (len(space) + 1), 4.6), title)
    values = complete["value"].to_numpy(np.float64)
    low, high = values.min(), values.max()
    norm = Normalize(low, high if high > low else low + 1e-9)
    # Dark stands out on white: dark is good, whichever way the metric runs.
    colours = ScalarMappable(norm, "viridis" if metric == "loss" else "viridis_r")
    columns = [norm(values), *(_positions(complete[key], search) for key, search in space.items())]
    heights = np.stack([np.asarray(column, np.float64) for column in columns], 1)  # (trials, axes)
    for line, value in zip(heights, values, strict=True):
        axes.plot(range(len(columns)), line, color=colours.to_rgba(value), linewidth=1.5, alpha=0.85)
    labels = [f"validation\n{metric}", *(_broken(key) for key in space)]
    axes.set_xticks(range(len(columns)), labels, rotation=30, ha="right", fontsize=8)
    for place in range(len(columns)):
        axes.axvline(place, color=_GREY, linewidth=0.8, zorder=0)
    _scale(axes, 0, [(float(norm(value)), f"{value:.4g}") for value in dict.fromkeys((low, high))])
    for place, search in enumerate(space.values(), 1):
        _scale(axes, place, _marks(search))
    axes.set_xlim(-0.3, len(columns) - 0.4)
    axes.set_ylim(-0.04, 1.06)
    axes.yaxis.set_visible(False)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    figure.colorbar(colours, ax=axes, label=f"validation {metric}", pad=0.02)
    return figure


def _positions(column: pd.Series, search: Search) -> np.ndarray:
    """Heights between 0 and 1 of a key's values."""
    if isinstance(search, Choices):
        places = {str(choice): number for number, choice in enumerate(search.choices)}
        return np.array([places[str(value)] for value in column]) / (len(places) - 1)
    low, high, values = float(search.low), float(search.high), column.to_numpy(np.float64)
    if isinstance(search, Range) and search.log:
        low, high, values = np.log(low), np.log(high), np.log(values)
    return np.asarray((values - low) / (high - low))


def _marks(search: Search) -> list[tuple[float, str]]:
    if isinstance(search, Choices):
        chosen = search.choices if len(search.choices) <= _MANY_LABELS else (search.choices[0], search.choices[-1])
        last = len(search.choices) - 1
        return [(search.choices.index(choice) / last, str(choice)) for choice in chosen]
    return [(0.0, f"{search.low:g}"), (1.0, f"{search.high:g}")]


def _scale(axes: Axes, place: int, marks: list[tuple[float, str]]) -> None:
    box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for height, text in marks:
        axes.annotate(text, (place, height), (3, 3), textcoords="offset points", fontsize=7.5, bbox=box)


def _broken(key: str) -> str:
    section, _, rest = key.rpartition(".")
    return f"{section}.\n{rest}"


def _figure(size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    figure = Figure(size, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    return figure, axes
