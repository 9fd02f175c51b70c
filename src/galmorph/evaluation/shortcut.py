"""The shortcut check: what a model answers without the galaxy, and without what is around it."""

from typing import Any

import numpy as np
import pandas as pd

from galmorph.data.dataset import classes_of
from galmorph.evaluation.bootstrap import accuracy_changes, wilson_interval
from galmorph.evaluation.metrics import CLASSES, score, with_interval
from galmorph.evaluation.significance import better_than
from galmorph.params import EvaluateParams

#: The cutout as it is, with the galaxy masked, and with sky and neighbours replaced.
KINDS = ("original", "without_galaxy", "without_surroundings")


def shortcut_record(answers: pd.DataFrame, not_found: int, params: EvaluateParams) -> dict[str, Any] | None:
    """Score the answers to cutouts without their galaxy, and to galaxies without their surroundings.

    Parameters
    ----------
    answers
        A row a galaxy: `CATAID`, `label`, and `p_elliptical` of the cutout as it is (`original`), with the galaxy
        masked (`without_galaxy`) and with sky and neighbours replaced (`without_surroundings`).
    not_found
        Galaxies that were asked for and are not among them, because none was found at the centre of their cutout.
    params
        Confidence, resamples and seed.

    Returns
    -------
    dict or None
        `n`, `not_found`, `support`; `blind`: the commoner class and the accuracy of answering nothing else; and for
        each of the three kinds of cutout `accuracy` (Wilson interval), `roc_auc` (bootstrap) and `difference` (of the
        accuracy to that of the cutouts as they are, paired bootstrap; not for these themselves). `without_galaxy` has
        also `p_value`, of answering no better than blindly, and `warning`: it is below 1 − `confidence`. None without
        galaxies.

    Notes
    -----
    A blind answer is right on the commoner class's share, so that is what an answer without the galaxy must beat; the
    two are compared galaxy by galaxy. ROC AUC tells more: a model that answers `Other` to every empty frame has an
    accuracy that says nothing, and an area of 0.5 only if its probabilities say nothing either.
    """
    if answers.empty:
        return None
    label = answers["label"].to_numpy(str)
    support = {name: int((label == name).sum()) for name in CLASSES}
    commoner = max(CLASSES, key=lambda name: support[name])
    blind = label == commoner
    tables = {kind: _answered(answers, kind) for kind in KINDS}
    right = {kind: (table["predicted"] == table["label"]).to_numpy(bool) for kind, table in tables.items()}
    p_value = better_than(right["without_galaxy"], blind)
    record: dict[str, Any] = {
        "n": len(answers),
        "not_found": not_found,
        "confidence": params.confidence,
        "support": support,
        "blind": {"answer": commoner, "accuracy": round(float(blind.mean()), 6)},
    }
    for kind, answered in right.items():
        record[kind] = {
            "accuracy": _accuracy(answered, params),
            "roc_auc": score(tables[kind], params)["roc_auc"],
        }
        if kind != "original":
            record[kind]["difference"] = _difference(answered, right["original"], params)
    record["without_galaxy"] |= {"p_value": round(p_value, 6), "warning": bool(p_value < 1 - params.confidence)}
    return record


def shortcut_warning(record: dict[str, Any] | None) -> str | None:
    """Return a sentence where the model answers without the galaxy better than blindly."""
    if record is None or not record["without_galaxy"]["warning"]:
        return None
    found, blind = record["without_galaxy"], record["blind"]
    accuracy = found["accuracy"]
    return (
        f"with the galaxy masked out, accuracy is still {accuracy['value']:.3f} [{accuracy['low']:.3f}, "
        f"{accuracy['high']:.3f}] on {record['n']} galaxies, where always answering {blind['answer']} reaches "
        f"{blind['accuracy']:.3f} (p = {found['p_value']:.2g}): the model has a shortcut outside the galaxy."
    )


def _answered(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the answers to one kind of cutout as a table of predictions; of which split plays no part here."""
    p = table[kind].to_numpy(np.float64)
    return table[["CATAID", "label"]].assign(split="test", p_elliptical=p, logit=np.nan, predicted=classes_of(p))


def _accuracy(right: np.ndarray, params: EvaluateParams) -> dict[str, float | None]:
    low, high = wilson_interval(np.array([right.mean()]), np.array([len(right)]), params.confidence)
    return with_interval(float(right.mean()), (float(low[0]), float(high[0])))


def _difference(right: np.ndarray, before: np.ndarray, params: EvaluateParams) -> dict[str, float | None]:
    (value,), (interval,) = accuracy_changes(right[:, None], before, params.bootstrap, params.confidence, params.seed)
    return with_interval(value, interval)
