"""The files behind `galmorph compare`."""

from pathlib import Path
from typing import Any

import pandas as pd

from galmorph.errors import InputError
from galmorph.evaluation.leaderboard import (
    leaderboard_entries,
    leaderboard_facts,
    leaderboard_markdown,
    leaderboard_table,
)
from galmorph.evaluation.page import leaderboard_html
from galmorph.evaluation.published import published
from galmorph.evaluation.selection import choose_best
from galmorph.params import CompareStageParams
from galmorph.storage import digest_file, read_json, write_json, write_table, write_text

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"


def compare_experiments(
    evaluations: Path, records: Path, leaderboard: Path, best: Path, params: CompareStageParams
) -> None:
    """Write the leaderboard (`leaderboard`, an .html file, and .csv and .md beside it) and best.json.

    Only the experiments in params.yaml are looked at; what others left in the folders is passed over.

    Raises
    ------
    InputError
        When an evaluation is missing, is not the one its record names, or is of other galaxies than the others'.
    """
    evaluated = {name: read_evaluation(evaluations / name, records / f"{name}.json") for name in params.experiments}
    check_same_galaxies({name: evaluations / name / PREDICTIONS_FILE for name in evaluated})
    theirs = published()
    chosen = choose_best(evaluated, params)
    entries = leaderboard_entries(evaluated, theirs, params)
    facts = leaderboard_facts(evaluated, theirs)
    write_table(leaderboard.with_suffix(".csv"), leaderboard_table(entries))
    write_text(leaderboard.with_suffix(".md"), leaderboard_markdown(entries, facts, theirs.notes(), chosen))
    write_text(leaderboard, leaderboard_html(entries, facts, theirs.notes(), chosen, evaluated))
    write_json(best, chosen)


def read_evaluation(evaluation: Path, record: Path) -> dict[str, Any]:
    """Read an experiment's metrics.json, after checking that record, metrics and predictions belong together.

    Parameters
    ----------
    evaluation
        The experiment's folder.
    record
        The small file that names the predictions and the model: what DVC sees of an evaluation.
    """
    name = record.stem
    again = f"Run `galmorph evaluate {name}`, or `dvc repro`, which runs all that is missing or stale."
    for path in (record, evaluation / METRICS_FILE, evaluation / PREDICTIONS_FILE):
        if not path.is_file():
            raise InputError(f"{path}: experiment {name} of params.yaml has not been evaluated. {again}")
    named = read_json(record)
    metrics = read_json(evaluation / METRICS_FILE)
    checks = [
        ("predictions_digest", PREDICTIONS_FILE, digest_file(evaluation / PREDICTIONS_FILE)),
        ("predictions_digest", METRICS_FILE, metrics.get("predictions_digest")),
        ("model_digest", METRICS_FILE, metrics.get("model_digest")),
        ("experiment", METRICS_FILE, metrics.get("experiment")),
    ]
    if "metrics_digest" in named:
        checks.append(("metrics_digest", METRICS_FILE, digest_file(evaluation / METRICS_FILE)))
    for key, file, received in checks:
        if received != named.get(key):
            raise InputError(
                f"{evaluation / file}: not what {record} names ({key} {named.get(key)}); one of them is older than the "
                f"other. {again} Received: {received}"
            )
    return metrics


def check_same_galaxies(predictions: dict[str, Path]) -> None:
    """Raise an InputError when experiments were scored on different galaxies: their scores cannot be ranked."""
    first: tuple[str, pd.DataFrame] | None = None
    for name, path in predictions.items():
        # Training galaxies may or may not be in the table: they are not scored.
        table = pd.read_parquet(path, columns=["CATAID", "split", "label"])
        galaxies = table[table["split"] != "train"].sort_values("CATAID", ignore_index=True)
        if first is None:
            first = name, galaxies
        elif not galaxies.equals(first[1]):
            raise InputError(
                f"{path}: scored on other galaxies, or on other labels, than experiment {first[0]}. Run `dvc repro`, "
                f"or `galmorph evaluate` for both. Received: {len(galaxies):,} galaxies against {len(first[1]):,}"
            )
