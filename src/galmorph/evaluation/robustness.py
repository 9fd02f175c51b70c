"""How accuracy changes as cutouts are degraded, galaxy by galaxy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from galmorph.evaluation.bootstrap import accuracy_changes, wilson_interval
from galmorph.evaluation.degrade import KINDS, Setting
from galmorph.evaluation.metrics import rounded, with_interval
from galmorph.params import RobustnessParams

COLUMNS = (
    "setting",
    "kind",
    "level",
    "unit",
    "n",
    "accuracy",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
)


def robustness_curves(
    settings: Sequence[Setting], right: np.ndarray, undegraded: np.ndarray, params: RobustnessParams
) -> pd.DataFrame:
    """Accuracy in each setting, and its difference to that of the same galaxies undegraded.

    Parameters
    ----------
    settings
        S of them.
    right
        `(N, S)` bool: whether each galaxy is answered rightly in each setting.
    undegraded
        `(N,)` bool: the same of the cutouts as they are.
    params
        Confidence, resamples and seed.

    Returns
    -------
    pandas.DataFrame
        A row a setting, in their order: `setting` (its name), `kind`, `level`, `unit`, `n`, `accuracy` with its Wilson
        interval (`low`, `high`), and `difference` (below 0: worse than undegraded) with its paired bootstrap interval
        (`difference_low`, `difference_high`; NaN where no galaxy's answer changed, which leaves nothing to resample).
    """
    n = len(undegraded)
    accuracy = right.mean(0)
    low, high = wilson_interval(accuracy, np.full(len(settings), n), params.confidence)
    difference, intervals = accuracy_changes(right, undegraded, params.bootstrap, params.confidence, params.seed)
    ends = np.array(intervals, dtype=np.float64)  # None becomes NaN
    return pd.DataFrame(
        {
            "setting": [setting.name for setting in settings],
            "kind": [setting.kind for setting in settings],
            "level": [setting.level for setting in settings],
            "unit": [KINDS[setting.kind][0] for setting in settings],
            "n": n,
            "accuracy": accuracy,
            "low": low,
            "high": high,
            "difference": difference,
            "difference_low": ends[:, 0],
            "difference_high": ends[:, 1],
        },
        columns=list(COLUMNS),
    ).round(6)


def robustness_record(
    curves: pd.DataFrame, undegraded: np.ndarray, label: np.ndarray, params: RobustnessParams
) -> dict[str, Any]:
    """Build the scores of robustness/metrics.json.

    Parameters
    ----------
    curves
        What `robustness_curves` gave.
    undegraded
        `(N,)` bool: whether each galaxy is answered rightly as it is.
    label
        `(N,)` the words.

    Returns
    -------
    dict
        `n`, `seed`, `confidence`, `support`; `blind`: what answering the commoner class alone would reach;
        `undegraded` accuracy; by kind and level `accuracy` and `difference`; `largest_zoom_loss` within `flat_zoom`
        (points of accuracy as a share, at least 0, and its level) and the `summary` in words.
    """
    names, counts = np.unique(label, return_counts=True)
    low, high = wilson_interval(np.array([undegraded.mean()]), np.array([len(undegraded)]), params.confidence)
    record: dict[str, Any] = {
        "n": len(undegraded),
        "seed": params.seed,
        "confidence": params.confidence,
        "support": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "blind": rounded(counts.max() / len(label)),
        "undegraded": {"accuracy": with_interval(float(undegraded.mean()), (float(low[0]), float(high[0])))},
    }
    for row in curves.to_dict("records"):
        record.setdefault(str(row["kind"]), {})[f"{row['level']:g}"] = {
            "accuracy": _scored(row["accuracy"], row["low"], row["high"]),
            "difference": _scored(row["difference"], row["difference_low"], row["difference_high"]),
        }
    worst = worst_zoom(curves, params)
    record["largest_zoom_loss"] = {"value": rounded(max(0.0, -worst["difference"])), "zoom": worst["level"]}
    record["summary"] = summary(curves, float(undegraded.mean()), params)
    return record


def worst_zoom(curves: pd.DataFrame, params: RobustnessParams) -> dict[str, Any]:
    """Return the row of the zoom within `flat_zoom` at which accuracy is lowest."""
    zooms = curves[(curves["kind"] == "zoom") & curves["level"].between(*params.flat_zoom)]
    return _worst(zooms)


def summary(curves: pd.DataFrame, undegraded: float, params: RobustnessParams) -> str:
    """Say in a sentence what apparent size does, and in another what does most harm."""
    worst = worst_zoom(curves, params)
    within = f"Within zoom {params.flat_zoom[0]:g} to {params.flat_zoom[1]:g}"
    n = f"n = {int(worst['n'])}"
    if worst["difference"] >= 0:
        first = f"{within} no accuracy is lost ({undegraded:.3f} undegraded, {n})."
    else:
        first = (
            f"{within} at most {_points(worst)} of accuracy are lost, at zoom {worst['level']:g}: "
            f"{worst['accuracy']:.3f} against {undegraded:.3f} undegraded ({n})."
        )
    harm = _worst(curves)
    if harm["difference"] >= 0:
        return f"{first} No setting costs any."
    return f"{first} Of all settings {harm['setting']} costs most: {_points(harm)}, to {harm['accuracy']:.3f}."


def _worst(curves: pd.DataFrame) -> dict[str, Any]:
    return {str(key): value for key, value in curves.iloc[int(curves["difference"].argmin())].items()}


def _points(row: dict[str, Any]) -> str:
    text = f"{-100 * row['difference']:.1f} points"
    if np.isnan(row["difference_low"]):
        return text
    return f"{text} [{-100 * row['difference_high']:.1f}, {-100 * row['difference_low']:.1f}]"


def _scored(value: float, low: float, high: float) -> dict[str, float | None]:
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}
