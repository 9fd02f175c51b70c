"""Choosing the best experiment, on validation alone."""

from collections.abc import Mapping
from typing import Any

from galmorph.errors import InputError
from galmorph.evaluation.text import percent, score_text
from galmorph.params import CompareStageParams

#: What the chosen experiment's record hands on, so that a later stage runs again when any of it changes.
_HANDED_ON = (
    "experiment",
    "architecture",
    "variant",
    "image_size",
    "crop",
    "model_digest",
    "data_digest",
    "predictions_digest",
)


def choose_best(records: Mapping[str, Mapping[str, Any]], params: CompareStageParams) -> dict[str, Any]:
    """Choose the experiment to explain and register.

    Parameters
    ----------
    records
        Experiment to what `metrics.evaluation_record` gave for it. Only `validation` is looked at, never `test`.
    params
        `compare.select_by` (the lowest loss or the highest accuracy wins) and `register.architecture` (one, or `any`).

    Returns
    -------
    dict
        The content of best.json: the experiment with its `architecture`, `variant`, `image_size`, `crop` and digests;
        `selected_on`, `selected_by` and the `score`; the `candidates`, best first; `tied` (those that score exactly
        the same) and `indistinguishable` (those whose score lies within the interval of the best, ties included); and
        the `reason` in words.

    Raises
    ------
    InputError
        When no experiment has the architecture that may be registered.

    Notes
    -----
    Of experiments with the same score the one with the better other score is taken, then the first in params.yaml.
    """
    by, architecture = params.compare.select_by, params.register_.architecture
    allowed = [name for name in records if architecture in ("any", records[name]["architecture"])]
    if not allowed:
        raise InputError(
            f"register.architecture is {architecture}, and no experiment in params.yaml has it. Add one, or set "
            f"register.architecture to `any`. Received: {', '.join(records) or 'no experiments'}"
        )
    order = list(params.experiments)
    ranked = sorted(allowed, key=lambda name: (*ranking_key(records[name], by), order.index(name)))
    best = ranked[0]
    score = records[best]["validation"][by]
    values = {name: records[name]["validation"][by]["value"] for name in ranked}
    tied = [name for name in ranked[1:] if values[name] == score["value"]]
    near = [name for name in ranked[1:] if name in tied or _within(values[name], score)]
    return {
        **{key: records[best][key] for key in _HANDED_ON},
        "selected_on": "validation",
        "selected_by": by,
        "score": score,
        "candidates": ranked,
        "tied": tied,
        "indistinguishable": near,
        "reason": _reason(records, ranked, tied, near, params),
    }


def ranking_key(record: Mapping[str, Any], by: str) -> tuple[float, float]:
    """Return what experiments are sorted by, best first: the score on validation, then the other one."""
    loss, accuracy = (record["validation"][name]["value"] for name in ("loss", "accuracy"))
    return (loss, -accuracy) if by == "loss" else (-accuracy, loss)


def _within(value: float, best: Mapping[str, float | None]) -> bool:
    low, high = best["low"], best["high"]
    return low is not None and high is not None and low <= value <= high


def _reason(
    records: Mapping[str, Mapping[str, Any]],
    ranked: list[str],
    tied: list[str],
    near: list[str],
    params: CompareStageParams,
) -> str:
    by, architecture = params.compare.select_by, params.register_.architecture
    best = records[ranked[0]]["validation"]
    most = "lowest" if by == "loss" else "highest"
    which = "of any architecture" if architecture == "any" else f"of architecture {architecture}"
    place = (
        f"It is the only candidate {which}: its {by} on validation is {score_text(best[by])} (n = {best['n']:,})."
        if len(ranked) == 1
        else f"Of {len(ranked)} candidates {which} it has the {most} {by} on validation: "
        f"{score_text(best[by])} (n = {best['n']:,})."
    )
    sentences = [place]
    if tied:
        other = "accuracy" if by == "loss" else "loss"
        sentences.append(
            f"{_listed(tied)} scored exactly the same; the better {other} decided, then the order in params.yaml."
        )
    beside = [name for name in near if name not in tied]
    if beside:
        scored = [f"{name} ({records[name]['validation'][by]['value']:.3f})" for name in beside]
        sentences.append(
            f"Within its {percent(best['confidence'])} interval, so not told apart from it by these galaxies: "
            f"{_listed(scored)}."
        )
    return " ".join([*sentences, "The test split played no part in the choice."])


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
