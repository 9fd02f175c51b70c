"""How complex the models are, measured, beside the published study's ranking of complexity against interpretability."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pandas as pd

from galmorph.evaluation.published import Published
from galmorph.evaluation.text import large, listed

#: What is held against the study's ranking: column, and how a sentence calls it.
_MEASURES = (("parameters", "the number of parameters"), ("flops", "the number of operations"))


def complexity_table(
    measured: Mapping[str, Mapping[str, Any]], records: Mapping[str, Mapping[str, Any]], published: Published
) -> pd.DataFrame:
    """Lay the models out, in the study's order, then by their operations.

    Parameters
    ----------
    measured
        Experiment to the content of its complexity.json: `layers` (kind to how many), `parameters` (`total` and
        `trainable`), `flops` of one image, and `images_per_second` with its `batch_size`, `device` and `threads`.
    records
        Experiment to what `metrics.evaluation_record` gave for it.
    published
        The study.

    Returns
    -------
    pandas.DataFrame
        `experiment`, `architecture`, `phases`; `study_place` (1 the simplest; empty where the study ranks nothing like
        it) and `study_said`; `layers` and `layers_by_kind` in words, `parameters`, `trainable_parameters`, `flops`,
        `images_per_second`, `batch_size`, `device`, `threads`.
    """
    rows = []
    for name, record in records.items():
        phases = record["recipe"]["phases"]
        rank = published.rank(record["architecture"], phases)
        facts = measured[name]
        rows.append(
            {
                "experiment": name,
                "architecture": record["architecture"],
                "phases": " + ".join(phases),
                "study_place": rank.place if rank else None,
                "study_said": rank.said if rank else "not ranked",
                "layers": sum(facts["layers"].values()),
                "layers_by_kind": ", ".join(f"{count} {kind}" for kind, count in sorted(facts["layers"].items())),
                "parameters": facts["parameters"]["total"],
                "trainable_parameters": facts["parameters"]["trainable"],
                **{key: facts[key] for key in ("flops", "images_per_second", "batch_size", "device", "threads")},
            }
        )
    table = pd.DataFrame(rows).astype({"study_place": "Int64"})
    return table.sort_values(["study_place", "flops", "experiment"], na_position="last", ignore_index=True)


def ranking_text(table: pd.DataFrame) -> str:
    """Say how far the measured figures follow the study's order.

    Parameters
    ----------
    table
        What `complexity_table` gave.
    """
    ranked = table.dropna(subset="study_place")
    pairs = [
        (simpler, other)
        for simpler, other in combinations(ranked.to_dict("records"), 2)
        if simpler["study_place"] < other["study_place"]
    ]
    if not pairs:
        return (
            "No two experiments here have different places in the study's ranking, so nothing can be held against it."
        )
    sentences = []
    for column, words in _MEASURES:
        against = [(simpler, other) for simpler, other in pairs if simpler[column] > other[column]]
        sentence = f"By {words}, {len(pairs) - len(against)} of {len(pairs)} pairs lie in the study's order"
        if against:
            simpler, other = max(against, key=lambda pair: pair[0][column] / max(pair[1][column], 1))
            sentence += (
                f"; furthest from it, {simpler['experiment']} has {large(simpler[column])} and {other['experiment']} "
                f"{large(other[column])}"
            )
        sentences.append(sentence + ".")
    return " ".join(sentences)


def speed_text(table: pd.DataFrame) -> str:
    """Say where images per second were measured; a figure of one machine is none of another.

    Parameters
    ----------
    table
        What `complexity_table` gave.
    """
    where = sorted(
        {
            f"{row['device']} with {row['threads']} {'thread' if row['threads'] == 1 else 'threads'}, batches of "
            f"{row['batch_size']}"
            for row in table.to_dict("records")
        }
    )
    return f"Images a second: one measurement, on {listed(where)}."
