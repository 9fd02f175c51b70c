"""Figures of an evaluation, as matplotlib figures that are not tied to any window or file.

Colours are Okabe and Ito's, which stay apart for colour-blind eyes, and line styles or hatches tell the same apart in
grey (Okabe & Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/).
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from galmorph.evaluation.bootstrap import wilson_interval
from galmorph.evaluation.curves import calibration_curve, confusion_matrix, roc_curve
from galmorph.evaluation.metrics import CLASSES
from galmorph.evaluation.text import NONE, percent, score_text

#: Elliptical is red and old, Other blue and young: as on the sky.
COLOURS = {"Elliptical": "#D55E00", "Other": "#0072B2"}
_HATCHES = {"Elliptical": "///", "Other": "\\\\\\"}
_LINE = "#0072B2"
_GUIDE = "#767676"
_COUNTS = LinearSegmentedColormap.from_list("white to blue", ["#FFFFFF", "#0072B2"])


def evaluation_figures(predictions: pd.DataFrame, scores: dict[str, Any], bins: int, title: str) -> dict[str, Figure]:
    """Draw every figure of one split.

    Parameters
    ----------
    predictions
        Rows of the split.
    scores
        What `metrics.score` gave for them.
    bins
        Calibration bins.
    title
        The experiment and the split.

    Returns
    -------
    dict
        `confusion`, `roc`, `calibration` and `probability`.
    """
    return {
        "confusion": confusion_figure(predictions, scores, title),
        "roc": roc_figure(predictions, scores, title),
        "calibration": calibration_figure(predictions, scores, bins, title),
        "probability": probability_figure(predictions, title),
    }


def confusion_figure(predictions: pd.DataFrame, scores: dict[str, Any], title: str) -> Figure:
    """Confusion matrix: counts, and the share of each label's galaxies; rows are labels, columns answers."""
    counts = confusion_matrix(predictions)
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure, axes = _figure((4.8, 4.6), title)
    axes.imshow(shares, cmap=_COUNTS, vmin=0, vmax=1)
    for row, column in np.ndindex(2, 2):
        share = f"{shares[row, column]:.1%}" if totals[row, 0] else NONE
        colour = "white" if shares[row, column] > 0.85 else "black"
        axes.text(column, row - 0.03, f"{counts[row, column]:,}", ha="center", va="bottom", fontsize=17, color=colour)
        axes.text(column, row + 0.05, share, ha="center", va="top", fontsize=11, color=colour)
    names = [f"{name}\n({total:,})" for name, total in zip(CLASSES, totals[:, 0], strict=True)]
    axes.set_xticks(range(2), CLASSES)
    axes.set_yticks(range(2), names, rotation=90, va="center")
    axes.set_xlabel("predicted")
    axes.set_ylabel("label (galaxies); shares are of a row")
    axes.tick_params(length=0)
    axes.set_xticks([0.5], minor=True)
    axes.set_yticks([0.5], minor=True)
    axes.grid(which="minor", color="white", linewidth=3)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_color(_GUIDE)
    axes.set_title(f"accuracy {score_text(scores['accuracy'])}", fontsize=10)
    return figure


def roc_figure(predictions: pd.DataFrame, scores: dict[str, Any], title: str) -> Figure:
    """ROC curve for Elliptical, with its area and the point that is answered at p = 0.5."""
    curve = roc_curve(predictions)
    figure, axes = _figure((4.8, 4.9), title)
    axes.plot([0, 1], [0, 1], color=_GUIDE, linestyle="--", linewidth=1, label="chance")
    if len(curve):
        area = score_text(scores["roc_auc"])
        axes.plot(
            curve["false_positive_rate"],
            curve["true_positive_rate"],
            color=_LINE,
            linewidth=2,
            label=f"area {area}",
        )
        counts = confusion_matrix(predictions)
        rates = counts[:, 0] / counts.sum(1)
        axes.plot(rates[1], rates[0], "o", color=COLOURS["Elliptical"], markersize=8, label="answers at p = 0.5")
    else:
        axes.text(0.5, 0.5, "not defined: one class only", ha="center", bbox={"color": "white"})
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("share of Other answered Elliptical (false positive rate)")
    axes.set_ylabel("share of Elliptical found (true positive rate)")
    axes.legend(loc="lower right", title=f"{percent(scores['confidence'])} interval", title_fontsize=9, fontsize=9)
    axes.grid(alpha=0.25)
    return figure


def calibration_figure(predictions: pd.DataFrame, scores: dict[str, Any], bins: int, title: str) -> Figure:
    """Reliability plot, with a Wilson bar for each bin, above the number of galaxies in each bin."""
    curve = calibration_curve(predictions, bins)
    figure = Figure(figsize=(4.8, 6.0), layout="constrained")
    figure.suptitle(title, fontsize=11)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    above.plot([0, 1], [0, 1], color=_GUIDE, linestyle="--", linewidth=1, label="perfectly calibrated")
    observed = curve["observed"].to_numpy()
    low, high = wilson_interval(observed, curve["n"].to_numpy(), scores["confidence"])
    above.errorbar(
        curve["mean_predicted"],
        observed,
        # Rounding may put an end a hair's breadth past the middle, and matplotlib refuses negative bars.
        yerr=np.maximum([observed - low, high - observed], 0),
        color=_LINE,
        marker="o",
        capsize=3,
        linewidth=1.5,
        label=f"galaxies, {percent(scores['confidence'])} interval",
    )
    above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share that is Elliptical")
    above.set_title(f"expected calibration error {score_text(scores['ece'])}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    above.grid(alpha=0.25)
    below.bar(curve["from"], curve["n"], width=1 / bins, align="edge", color=_LINE, edgecolor="white")
    for start, count in zip(curve["from"], curve["n"], strict=True):
        below.text(start + 0.5 / bins, count, f"{count:,}", ha="center", va="bottom", fontsize=8)
    below.set_ylim(0, 1.3 * curve["n"].max())
    below.set(xlabel="predicted probability of Elliptical", ylabel="galaxies")
    _plain(below)
    return figure


def probability_figure(predictions: pd.DataFrame, title: str) -> Figure:
    """Histogram of `p_elliptical` for each label."""
    figure, axes = _figure((6.4, 3.8), title)
    edges = [step / 20 for step in range(21)]
    for name in CLASSES:
        values = predictions.loc[predictions["label"] == name, "p_elliptical"]
        axes.hist(
            values,
            bins=edges,
            histtype="stepfilled",
            facecolor=(COLOURS[name], 0.25),
            edgecolor=COLOURS[name],
            hatch=_HATCHES[name],
            linewidth=1.8,
            label=f"label {name} ({len(values):,})",
        )
    axes.axvline(0.5, color=_GUIDE, linestyle="--", linewidth=1)
    axes.set(xlim=(0, 1), xlabel="predicted probability of Elliptical", ylabel="galaxies")
    axes.legend(loc="upper center", fontsize=9)
    _plain(axes)
    return figure


def _figure(size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=11)
    return figure, figure.add_subplot()


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
