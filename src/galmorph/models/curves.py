"""The curves of a training: loss and accuracy of each epoch, its phases, and the epoch that was kept."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

#: Okabe and Ito's blue and vermilion, which colour-blind eyes tell apart; the dashes tell them apart in grey.
_TRAIN, _VALIDATION = "#0072B2", "#D55E00"
_GUIDE = "#767676"


def curves_figure(history: Sequence[dict[str, Any]], best_epoch: int, title: str) -> Figure:
    """Draw loss and accuracy per epoch, phases shaded, the kept epoch marked.

    Parameters
    ----------
    history
        Rows of `models.state.HISTORY`, one an epoch.
    best_epoch
        The epoch whose model was kept.
    title
        The experiment.
    """
    figure = Figure((9.0, 4.0), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("loss", "accuracy"),
        ("loss (nats a galaxy)", "accuracy (share of galaxies)"),
        strict=True,
    ):
        _panel(axes, history, name, best_epoch)
        axes.set_ylabel(label)
    return figure


def _panel(axes: Axes, history: Sequence[dict[str, Any]], name: str, best_epoch: int) -> None:
    epochs = [row["epoch"] for row in history]
    for number, (phase, rows) in enumerate(groupby(history, lambda row: row["phase"])):
        numbers = [row["epoch"] for row in rows]
        if number % 2:
            axes.axvspan(numbers[0] - 0.5, numbers[-1] + 0.5, color="#000000", alpha=0.07, linewidth=0)
        axes.annotate(
            phase,
            ((numbers[0] + numbers[-1]) / 2, 1.0),
            xytext=(0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=_GUIDE,
        )
    axes.axvline(best_epoch, color=_GUIDE, linestyle=":", linewidth=1.2, label=f"kept: epoch {best_epoch}")
    axes.plot(epochs, [row[name] for row in history], "o-", color=_TRAIN, markersize=3.5, label="training")
    axes.plot(
        epochs, [row[f"val_{name}"] for row in history], "s--", color=_VALIDATION, markersize=3.5, label="validation"
    )
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
