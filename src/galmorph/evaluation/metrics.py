"""Scores of a table of predictions, each with its bootstrap interval.

A table of predictions has one row a galaxy: `CATAID` (text), `split` (train, validation or test), `label` (the word),
`p_elliptical` (calibrated, in [0, 1]), `logit` (as it left the network) and `predicted` (the word).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report as sklearn_report

from galmorph.errors import InputError
from galmorph.evaluation.bootstrap import (
    Array,
    Interval,
    calibration_error_interval,
    calibration_errors_by_chance,
    percentile_interval,
    resample_counts,
)
from galmorph.params import Label, ScoreParams

#: The two labels, in the order of every table; the first is the one that `p_elliptical` is the probability of.
CLASSES: tuple[str, str] = get_args(Label)
#: Scores with one number for all galaxies, and those with one for each class.
OVERALL = ("loss", "accuracy", "balanced_accuracy", "roc_auc", "pr_auc", "brier", "ece")
PER_CLASS = ("precision", "recall", "f1")
COLUMNS = ("CATAID", "split", "label", "p_elliptical", "logit", "predicted")
#: Digits after the point that are written: more would differ between machines and say nothing.
_DIGITS = 6
#: What float32, the precision of a model's answer, can tell from 0 and 1: a saturated wrong answer costs 15.9, not
#: infinity, and the same on either side.
_RESOLUTION = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Facts:
    """What an experiment's scores belong to.

    Attributes
    ----------
    image_size, crop
        What the model saw: pixels of its square input, and the centred share of the frame.
    recipe
        How it was trained: `weights`, `phases`, `epochs` of each, `augmentation`, `class_weights`.
    data_source
        Where the galaxies come from (`acquire.source`), or None when that is not recorded.
    data_digest, model_digest, predictions_digest
        Of the variant's images and labels, of the model file, and of the file with the predictions.
    """

    experiment: str
    architecture: str
    variant: str
    image_size: int
    crop: float
    recipe: Mapping[str, Any]
    data_source: str | None
    data_digest: str
    model_digest: str
    predictions_digest: str


def evaluation_record(facts: Facts, predictions: pd.DataFrame, params: ScoreParams) -> dict[str, Any]:
    """Build the content of an experiment's metrics.json.

    Parameters
    ----------
    facts
        What the scores belong to.
    predictions
        Of the validation and the test galaxies; training galaxies may be there and are not scored.

    Returns
    -------
    dict
        The facts, `split_method`, `scored_split`, and `score` of `validation` and of `test`. Where no galaxy is in the
        test split, the split was `published`: `test` is None, and `scored_split` says `validation`.

    Raises
    ------
    InputError
        When the table is not one of predictions, or has no validation galaxies.
    """
    check_predictions(predictions)
    test = predictions[predictions["split"] == "test"]
    return {
        **vars(facts),
        # Only the published split has no test galaxies: the stable one insists on some of each class in every split.
        "split_method": "stable" if len(test) else "published",
        "scored_split": "test" if len(test) else "validation",
        "validation": score(predictions[predictions["split"] == "validation"], params),
        "test": score(test, params) if len(test) else None,
    }


def score(predictions: pd.DataFrame, params: ScoreParams) -> dict[str, Any]:
    """Score the predictions of one split.

    Parameters
    ----------
    predictions
        Rows of one split.
    params
        Resamples, confidence and seed of the bootstrap, and the number of calibration bins.

    Returns
    -------
    dict
        `n`, `confidence`, `support` (galaxies of each class), and as `{"value", "low", "high"}`: `loss`, `accuracy`,
        `balanced_accuracy`, `roc_auc`, `pr_auc`, `brier`, `ece`, and by class `precision`, `recall` and `f1`. A score
        that is not defined (say, the precision for a class that was never answered) is None, and so is an interval
        that would say nothing; see `bootstrap.percentile_interval`. Numbers are plain Python ones, rounded to 6 digits.

    Raises
    ------
    InputError
        When there is nothing to score, or more than one split.

    Notes
    -----
    `loss` is the mean cross-entropy of `p_elliptical`, `pr_auc` the average precision for Elliptical (no
    interpolation), `brier` the mean squared error of `p_elliptical` (Brier 1950,
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2). `ece` is the expected calibration error over equally wide
    bins of `p_elliptical` (Naeini, Cooper & Hauskrecht 2015, doi:10.1609/aaai.v29i1.9602): the mean over galaxies of
    how far, in their bin, the mean of `p_elliptical` lies from the share of Elliptical.

    Galaxies are resampled whatever their class (no strata). A split is drawn by a hash of the id, so its share of
    Elliptical is an accident like any other; holding it fixed would make the intervals of accuracy and precision too
    narrow.
    """
    check_predictions(predictions)
    splits = sorted(predictions["split"].unique())
    if len(splits) != 1:
        raise InputError(
            f"predictions: scores are of one split, with galaxies in it. Received: {', '.join(splits) or 'no galaxies'}"
        )
    galaxies = _Galaxies.of(predictions, params.calibration_bins)
    values = galaxies.scores(np.ones((1, galaxies.n)))
    parts = [galaxies.scores(counts) for counts in resample_counts(galaxies.n, params.bootstrap, params.seed)]
    by_chance = calibration_errors_by_chance(galaxies.p, galaxies.bins, params.bootstrap, params.seed)
    scores = {}
    for name, (value,) in values.items():
        resampled = np.concatenate([part[name] for part in parts])
        scores[name] = with_interval(
            value,
            calibration_error_interval(value, resampled, by_chance, params.confidence)
            if name == "ece"
            else percentile_interval(value, resampled, params.confidence),
        )
    return {
        "n": galaxies.n,
        "confidence": params.confidence,
        "support": {label: int((predictions["label"] == label).sum()) for label in CLASSES},
        **{name: scores[name] for name in OVERALL},
        **{name: {label: scores[f"{name} {label}"] for label in CLASSES} for name in PER_CLASS},
    }


def check_predictions(predictions: pd.DataFrame) -> None:
    """Raise an InputError, naming the galaxy, when a table is not one of predictions."""
    missing = [column for column in COLUMNS if column not in predictions]
    if missing:
        raise InputError(
            f"predictions: the column {missing[0]} is missing; needed are {', '.join(COLUMNS)}. "
            f"Received: {', '.join(map(str, predictions))}"
        )
    for column, known in (("label", CLASSES), ("predicted", CLASSES), ("split", ("train", "validation", "test"))):
        wrong = predictions[~predictions[column].isin(known)]
        if len(wrong):
            raise InputError(
                f"predictions: galaxy {wrong['CATAID'].iloc[0]}: {column} must be one of {', '.join(known)}. "
                f"Received: {wrong[column].iloc[0]!r}"
            )
    wrong = predictions[~predictions["p_elliptical"].between(0, 1)]
    if len(wrong):
        raise InputError(
            f"predictions: galaxy {wrong['CATAID'].iloc[0]}: p_elliptical must lie in [0, 1]. "
            f"Received: {wrong['p_elliptical'].iloc[0]!r}"
        )
    twice = predictions[predictions["CATAID"].duplicated()]
    if len(twice):
        raise InputError(f"predictions: a galaxy is answered once. Received {twice['CATAID'].iloc[0]!r} again")


def classification_report(predictions: pd.DataFrame) -> str:
    """Precision, recall, F1 and support as text, in scikit-learn's layout; `nan` where a score is not defined."""
    report: str = sklearn_report(
        predictions["label"], predictions["predicted"], labels=list(CLASSES), digits=4, zero_division=np.nan
    )
    return report


def galaxy_losses(predictions: pd.DataFrame) -> Array:
    """Return each galaxy's cross-entropy, `(N,)` float64, in the order of the rows; `loss` is their mean."""
    truth = (predictions["label"] == CLASSES[0]).to_numpy()
    certain = np.clip(predictions["p_elliptical"].to_numpy(np.float64), _RESOLUTION, 1 - _RESOLUTION)
    losses: Array = -np.log(np.where(truth, certain, 1 - certain))
    return losses


def calibration_bins(p_elliptical: Array, bins: int) -> np.ndarray:
    """Return each galaxy's bin, `(N,)` int in [0, bins): equally wide, and 1 belongs to the last."""
    return np.minimum((np.asarray(p_elliptical) * bins).astype(np.intp), bins - 1)


@dataclass(frozen=True)
class _Galaxies:
    """Predictions as arrays, by falling `p_elliptical`, ready to be counted in any resample.

    Attributes
    ----------
    elliptical, p, bins
        `(N,)` 1.0 for Elliptical, `p_elliptical`, and its calibration bin.
    terms
        `(N, K)` what each galaxy adds to the sums that `names` lists: the four cells of the confusion matrix, the
        squared error, the cross-entropy, and for each calibration bin `p_elliptical` less the target.
    last
        `(M,)` index of the last galaxy at each distinct `p_elliptical`: a threshold takes equal ones together.
    """

    elliptical: Array
    p: Array
    bins: np.ndarray
    terms: Array
    last: np.ndarray

    @property
    def n(self) -> int:
        return len(self.elliptical)

    @classmethod
    def of(cls, predictions: pd.DataFrame, bins: int) -> "_Galaxies":
        # Sorted by id where probabilities are equal, so that the order of the table's rows changes nothing.
        rows = predictions.sort_values(["p_elliptical", "CATAID"], ascending=[False, True])
        p = rows["p_elliptical"].to_numpy(np.float64)
        truth = (rows["label"] == CLASSES[0]).to_numpy()
        answer = (rows["predicted"] == CLASSES[0]).to_numpy()
        cells = [truth & answer, ~truth & answer, truth & ~answer, ~truth & ~answer]
        bin_of = calibration_bins(p, bins)
        gap = np.zeros((len(p), bins))
        gap[np.arange(len(p)), bin_of] = p - truth
        terms = np.column_stack([*cells, (p - truth) ** 2, galaxy_losses(rows), gap]).astype(np.float64)
        last = np.flatnonzero(np.append(np.diff(p) != 0, True))
        return cls(truth.astype(np.float64), p, bin_of, terms, last)

    def scores(self, counts: Array) -> Mapping[str, Array]:
        """Score resamples.

        Parameters
        ----------
        counts
            `(R, N)`: how often each galaxy is in each resample.

        Returns
        -------
        Mapping
            Name of the score to `(R,)` values; NaN where it is not defined.
        """
        sums = counts @ self.terms  # (R, K)
        n = counts.sum(1)
        # tp: Elliptical answered Elliptical; fp: Other answered Elliptical; fn, tn: likewise answered Other
        tp, fp, fn, tn = sums[:, :4].T
        recalls = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
        roc_auc, pr_auc = self._areas(counts)
        return {
            "loss": sums[:, 5] / n,
            "accuracy": (tp + tn) / n,
            "balanced_accuracy": (recalls[0] + recalls[1]) / 2,
            "roc_auc": roc_auc,
            "pr_auc": pr_auc,
            "brier": sums[:, 4] / n,
            "ece": np.abs(sums[:, 6:]).sum(1) / n,
            f"precision {CLASSES[0]}": _ratio(tp, tp + fp),
            f"precision {CLASSES[1]}": _ratio(tn, tn + fn),
            f"recall {CLASSES[0]}": recalls[0],
            f"recall {CLASSES[1]}": recalls[1],
            f"f1 {CLASSES[0]}": _ratio(2 * tp, 2 * tp + fp + fn),
            f"f1 {CLASSES[1]}": _ratio(2 * tn, 2 * tn + fp + fn),
        }

    def _areas(self, counts: Array) -> tuple[Array, Array]:
        """Areas under the ROC curve (trapezoids) and the precision-recall curve (steps), `(R,)` each."""
        hits = np.cumsum(counts * self.elliptical, axis=1)[:, self.last]  # (R, M) Elliptical from each threshold up
        chosen = np.cumsum(counts, axis=1)[:, self.last]  # (R, M) all galaxies from each threshold up
        before = np.zeros((len(counts), 1))
        new_hits = np.diff(hits, prepend=before)
        new_misses = np.diff(chosen, prepend=before) - new_hits
        positives, negatives = hits[:, -1], chosen[:, -1] - hits[:, -1]
        roc = ((hits - new_hits / 2) * new_misses).sum(1)
        # Where nothing is chosen yet there are no new hits either, and the term is 0.
        precision_recall = (new_hits * hits / np.maximum(chosen, 1)).sum(1)
        return _ratio(roc, positives * negatives), _ratio(precision_recall, positives)


def _ratio(part: Array, whole: Array) -> Array:
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def with_interval(value: float, interval: Interval) -> dict[str, float | None]:
    """Lay a score and its interval out as metrics.json holds them."""
    return {"value": rounded(value), "low": rounded(interval[0]), "high": rounded(interval[1])}


def rounded(value: float | None) -> float | None:
    """Round to what is written; None where there is no number, since JSON has no NaN."""
    return None if value is None or np.isnan(value) else round(float(value), _DIGITS)
