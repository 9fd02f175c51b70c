"""Choosing the best experiment, on validation alone."""

from collections.abc import Mapping
from typing import Any

from galmorph.errors import InputError
from galmorph.evaluation.mcnemar import Difference
from galmorph.evaluation.text import listed, percent, score_text
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


def rank_candidates(records: Mapping[str, Mapping[str, Any]], params: CompareStageParams) -> list[str]:
    """Order the experiments that may be chosen by their score on validation, best first.

    Parameters
    ----------
    records
        Experiment to what `metrics.evaluation_record` gave for it. Only `validation` is looked at, never `test`.
    params
        `compare.select_by` (the lowest loss or the highest accuracy wins) and `register.architecture` (one, or `any`).

    Raises
    ------
    InputError
        When no experiment has the architecture that may be registered.

    Notes
    -----
    Of experiments with the same score the one with the better other score comes first, then the first in params.yaml.
    """
    by, architecture = params.compare.select_by, params.register_.architecture
    allowed = [name for name in records if architecture in ("any", records[name]["architecture"])]
    if not allowed:
        raise InputError(
            f"register.architecture is {architecture}, and no experiment in params.yaml has it. Add one, or set "
            f"register.architecture to `any`. Received: {', '.join(records) or 'no experiments'}"
        )
    order = list(params.experiments)
    return sorted(allowed, key=lambda name: (*ranking_key(records[name], by), order.index(name)))


def choose_best(
    records: Mapping[str, Mapping[str, Any]], params: CompareStageParams, differences: Mapping[str, Difference]
) -> dict[str, Any]:
    """Choose the experiment to explain and register: the first candidate.

    Parameters
    ----------
    records, params
        As for `rank_candidates`.
    differences
        Of the other candidates' scores on validation from the first's, paired by galaxy; see
        `mcnemar.score_differences`.

    Returns
    -------
    dict
        The content of best.json: the experiment with its `architecture`, `variant`, `image_size`, `crop` and digests;
        `selected_on`, `selected_by` and the `score`; the `candidates`, best first; `differences` as given; `tied`
        (those that score exactly the same) and `indistinguishable` (those whose difference has an interval that holds
        0, ties included); and the `reason` in words.

    Raises
    ------
    InputError
        As `rank_candidates`.
    """
    by = params.compare.select_by
    ranked = rank_candidates(records, params)
    best = ranked[0]
    score = records[best]["validation"][by]
    values = {name: records[name]["validation"][by]["value"] for name in ranked}
    tied = [name for name in ranked[1:] if values[name] == score["value"]]
    near = [name for name in ranked[1:] if name in tied or _holds_nothing(differences[name])]
    return {
        **{key: records[best][key] for key in _HANDED_ON},
        "selected_on": "validation",
        "selected_by": by,
        "score": score,
        "candidates": ranked,
        "differences": {name: dict(differences[name]) for name in ranked[1:]},
        "tied": tied,
        "indistinguishable": near,
        "reason": _reason(records, ranked, tied, near, params),
    }


def ranking_key(record: Mapping[str, Any], by: str) -> tuple[float, float]:
    """Return what experiments are sorted by, best first: the score on validation, then the other one."""
    loss, accuracy = (record["validation"][name]["value"] for name in ("loss", "accuracy"))
    return (loss, -accuracy) if by == "loss" else (-accuracy, loss)


def _holds_nothing(difference: Difference) -> bool:
    """Tell whether an interval holds 0; where there is none, no galaxy tells the two apart."""
    low, high = difference["low"], difference["high"]
    return low is None or high is None or low <= 0 <= high


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
            f"{listed(tied)} scored exactly the same; the better {other} decided, then the order in params.yaml."
        )
    beside = [name for name in near if name not in tied]
    if beside:
        scored = [f"{name} ({records[name]['validation'][by]['value']:.3f})" for name in beside]
        sentences.append(
            f"Tied with it as far as these galaxies tell (the {percent(best['confidence'])} interval of the paired "
            f"difference of {by} holds 0): {listed(scored)}."
        )
    return " ".join([*sentences, "The test split played no part in the choice."])
