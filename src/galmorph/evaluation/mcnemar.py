"""Whether two experiments are told apart by their answers to the same galaxies.

Two accuracies with overlapping intervals may still differ: most galaxies are answered alike, and only those that one of
the two answered rightly say anything about which is better. Everything here is paired, galaxy by galaxy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from galmorph.errors import InputError
from galmorph.evaluation.bootstrap import Array, mean_intervals
from galmorph.evaluation.metrics import galaxy_losses
from galmorph.params import EvaluateParams

#: A difference of two experiments' scores, with its interval: `value`, `low`, `high`.
Difference = Mapping[str, float | None]

_DIGITS = 6


@dataclass(frozen=True)
class Comparison:
    """An experiment against the reference, on the galaxies that both were scored on.

    Attributes
    ----------
    reference, n
        The experiment it is compared with, and the number of galaxies.
    b, c
        McNemar's discordant counts: galaxies that the reference alone answered rightly, and that this one alone did.
    p, p_holm
        Of the exact McNemar test, and after Holm's correction over all comparisons.
    difference
        This one's accuracy less the reference's, with a paired bootstrap interval, which is not corrected.
    told_apart
        Whether `p_holm` is below 1 less the confidence.
    """

    reference: str
    n: int
    b: int
    c: int
    p: float
    p_holm: float
    difference: Difference
    told_apart: bool


def mcnemar(b: int, c: int) -> float:
    """Exact McNemar test, two-sided (McNemar 1947, doi:10.1007/BF02295996).

    Where two classifiers are equally good, each galaxy that only one of them answers rightly falls to either with even
    odds: `b` of `b + c` is binomial. The usual chi-squared form is an approximation that fails for small counts.

    Parameters
    ----------
    b, c
        Galaxies that the first alone, and that the second alone answered rightly.

    Returns
    -------
    float
        The probability of counts at least as uneven; 1 where there are none.
    """
    return float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for their number: the chance of any false claim stays below the level (Holm 1979).

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 65-70.

    Returns
    -------
    list of float
        In the order of `p`: the smallest is multiplied by their number, the next by one less, and so on; none is
        smaller than one before it, or above 1.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty_like(values)
    result[order] = np.minimum(corrected, 1.0)
    return [float(one) for one in result]


def compare_with(
    reference: str, predictions: Mapping[str, pd.DataFrame], params: EvaluateParams
) -> dict[str, Comparison]:
    """Compare every experiment's answers with the reference's.

    Parameters
    ----------
    reference
        One of `predictions`.
    predictions
        Experiment to the predictions of one split; the same galaxies in each, in whatever order.
    params
        Resamples, confidence and seed.

    Returns
    -------
    dict
        By experiment, the reference left out.

    Raises
    ------
    InputError
        When the reference is not among the experiments, or the galaxies are not the same.
    """
    aligned = _aligned(reference, predictions)
    right = {name: (table["predicted"] == table["label"]).to_numpy() for name, table in aligned.items()}
    base = right.pop(reference)
    counts = {name: (int((base & ~own).sum()), int((own & ~base).sum())) for name, own in right.items()}
    p = {name: mcnemar(b, c) for name, (b, c) in counts.items()}
    corrected = dict(zip(p, holm(list(p.values())), strict=True))
    differences = paired_differences({name: own.astype(np.float64) - base for name, own in right.items()}, params)
    return {
        name: Comparison(
            reference, len(base), b, c, _significant(p[name]), _significant(corrected[name]), differences[name],
            corrected[name] < 1 - params.confidence,
        )
        for name, (b, c) in counts.items()
    }  # fmt: skip


def score_differences(
    reference: str, predictions: Mapping[str, pd.DataFrame], by: str, params: EvaluateParams
) -> dict[str, Difference]:
    """Return every experiment's loss or accuracy less the reference's, paired by galaxy, with its interval.

    Parameters
    ----------
    reference, predictions, params
        As for `compare_with`.
    by
        `loss` or `accuracy`.

    Raises
    ------
    InputError
        As `compare_with`.
    """
    aligned = _aligned(reference, predictions)
    scores = {
        name: galaxy_losses(table) if by == "loss" else (table["predicted"] == table["label"]).to_numpy(np.float64)
        for name, table in aligned.items()
    }
    base = scores.pop(reference)
    return paired_differences({name: own - base for name, own in scores.items()}, params)


def paired_differences(differences: Mapping[str, Array], params: EvaluateParams) -> dict[str, Difference]:
    """Mean of each experiment's differences and its bootstrap interval over galaxies.

    Parameters
    ----------
    differences
        Experiment to `(N,)` differences from the reference, a galaxy each, in one order.

    Returns
    -------
    dict
        `value`, `low`, `high` by experiment; see `bootstrap.percentile_interval` for where there is no interval.
    """
    if not differences:
        return {}
    columns = np.column_stack(list(differences.values()))  # (N, E)
    means, intervals = mean_intervals(columns, params.bootstrap, params.confidence, params.seed)
    return {
        name: {"value": _rounded(float(mean)), "low": _rounded(low), "high": _rounded(high)}
        for name, mean, (low, high) in zip(differences, means, intervals, strict=True)
    }


def _aligned(reference: str, predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    if reference not in predictions:
        raise InputError(
            f"the reference must be one of the experiments that are compared: {', '.join(predictions)}. Change "
            f"compare.reference in params.yaml. Received: {reference}"
        )
    aligned = {name: table.sort_values("CATAID", ignore_index=True) for name, table in predictions.items()}
    for name, table in aligned.items():
        if not table[["CATAID", "label"]].equals(aligned[reference][["CATAID", "label"]]):
            raise InputError(
                f"{name} and {reference} were not scored on the same galaxies and labels, so they cannot be paired. "
                f"Run `dvc repro`. Received: {len(table):,} galaxies against {len(aligned[reference]):,}"
            )
    return aligned


def _rounded(value: float | None) -> float | None:
    # Adding 0 turns -0.0 into 0.0.
    return None if value is None else round(value, _DIGITS) + 0.0


def _significant(p: float) -> float:
    """Keep six digits of a p-value, however small it is."""
    return float(f"{p:.{_DIGITS}g}")
