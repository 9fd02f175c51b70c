"""Curves behind the scores, as small tables: what the figures draw and `dvc plots` shows."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve as sklearn_roc_curve

from galmorph.evaluation.metrics import CLASSES, calibration_bins

ROC_COLUMNS = ("false_positive_rate", "true_positive_rate", "threshold")
CALIBRATION_COLUMNS = ("from", "to", "n", "mean_predicted", "observed")


def roc_curve(predictions: pd.DataFrame) -> pd.DataFrame:
    """ROC curve for Elliptical.

    Returns
    -------
    pandas.DataFrame
        `false_positive_rate`, `true_positive_rate`, and the `threshold` from which up `p_elliptical` is answered
        Elliptical (NaN at the curve's start, where none is); no rows where only one class is there.
    """
    truth = predictions["label"] == CLASSES[0]
    if truth.nunique() < 2:
        return pd.DataFrame(columns=list(ROC_COLUMNS), dtype=np.float64)
    false_positive, true_positive, threshold = sklearn_roc_curve(truth, predictions["p_elliptical"])
    threshold = np.where(np.isinf(threshold), np.nan, threshold)
    return pd.DataFrame(dict(zip(ROC_COLUMNS, (false_positive, true_positive, threshold), strict=True)))


def calibration_curve(predictions: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Reliability curve: how often galaxies of each predicted probability are Elliptical.

    Parameters
    ----------
    bins
        Equally wide bins of `p_elliptical`, as in `metrics.score`'s `ece`.

    Returns
    -------
    pandas.DataFrame
        A row for each bin with galaxies in it: its ends (`from`, `to`), `n`, `mean_predicted` (of `p_elliptical`) and
        `observed` (share of Elliptical).
    """
    table = pd.DataFrame(
        {
            "bin": calibration_bins(predictions["p_elliptical"].to_numpy(np.float64), bins),
            "p": predictions["p_elliptical"].to_numpy(np.float64),
            "elliptical": (predictions["label"] == CLASSES[0]).to_numpy(np.float64),
        }
    )
    filled = table.groupby("bin").agg(n=("p", "size"), mean_predicted=("p", "mean"), observed=("elliptical", "mean"))
    filled = filled.reset_index()
    return filled.assign(**{"from": filled["bin"] / bins, "to": (filled["bin"] + 1) / bins})[list(CALIBRATION_COLUMNS)]


def confusion_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a galaxy, `actual` and `predicted`: what DVC's confusion template counts."""
    return predictions[["label", "predicted"]].rename(columns={"label": "actual"}).reset_index(drop=True)


def confusion_matrix(predictions: pd.DataFrame) -> np.ndarray:
    """Count galaxies by label (rows) and answer (columns), `(2, 2)` int: Elliptical, then Other."""
    counts = pd.crosstab(predictions["label"], predictions["predicted"])
    return counts.reindex(index=list(CLASSES), columns=list(CLASSES), fill_value=0).to_numpy()
