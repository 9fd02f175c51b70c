"""The files behind `galmorph compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from galmorph.data.montage import as_png
from galmorph.errors import InputError
from galmorph.evaluation.caveats import leaderboard_facts
from galmorph.evaluation.complexity import complexity_table
from galmorph.evaluation.leaderboard import leaderboard_entries, leaderboard_table
from galmorph.evaluation.markdown import leaderboard_markdown
from galmorph.evaluation.mcnemar import compare_with, score_differences
from galmorph.evaluation.mistakes import confident_mistakes, mistakes_figure
from galmorph.evaluation.page import leaderboard_html
from galmorph.evaluation.published import published
from galmorph.evaluation.selection import choose_best, rank_candidates
from galmorph.params import CompareStageParams
from galmorph.storage import (
    digest_file,
    image_path,
    read_image,
    read_json,
    write_bytes,
    write_json,
    write_table,
    write_text,
)

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
COMPLEXITY_FILE = "complexity.json"
#: Side of a thumbnail on the page, pixels: sharp at twice the size that it is shown at, and a dozen weigh little.
_THUMBNAIL = 240


@dataclass(frozen=True)
class Outputs:
    """Where the results go: the page (with .csv and .md beside it), complexity.csv, mistakes.png (.csv), best.json."""

    leaderboard: Path
    complexity: Path
    mistakes: Path
    best: Path


def compare_experiments(
    evaluations: Path, records: Path, images: Path, outputs: Outputs, params: CompareStageParams
) -> None:
    """Choose the best experiment, and write how all of them compare.

    Only the experiments in params.yaml are looked at; what others left in the folders is passed over.

    Parameters
    ----------
    evaluations, records
        The folder of the experiments' evaluations, and that of their records.
    images
        The folder of the raw images, in which mistakes are looked at.
    outputs
        What to write; best.json comes last.

    Raises
    ------
    InputError
        When an evaluation is missing, is not the one its record names, or is of other galaxies than the others'.
    """
    evaluated = {name: read_evaluation(evaluations / name, records / f"{name}.json") for name in params.experiments}
    check_same_galaxies({name: evaluations / name / PREDICTIONS_FILE for name in evaluated})
    answers = {name: pd.read_parquet(evaluations / name / PREDICTIONS_FILE) for name in evaluated}
    first, *others = rank_candidates(evaluated, params)
    differences = score_differences(
        first, _of(answers, "validation", [first, *others]), params.compare.select_by, params.evaluate
    )
    chosen = choose_best(evaluated, params, differences)
    split = evaluated[first]["scored_split"]
    scored = _of(answers, split, list(evaluated))
    reference = first if params.compare.reference == "chosen" else params.compare.reference
    comparisons = compare_with(reference, scored, params.evaluate)
    theirs = published()
    entries = leaderboard_entries(evaluated, theirs, params, comparisons)
    facts = leaderboard_facts(evaluated, theirs, comparisons)
    measured = {name: read_json(evaluations / name / COMPLEXITY_FILE) for name in evaluated}
    complexity = complexity_table(measured, evaluated, theirs)
    mistakes = confident_mistakes(scored, first, params.compare.mistakes)
    frames = [read_image(image_path(images, cataid)) for cataid in mistakes["CATAID"]]
    write_table(outputs.complexity, complexity)
    write_table(outputs.mistakes.with_suffix(".csv"), mistakes)
    title = f"Most confident mistakes of {first} on {split}"
    write_bytes(outputs.mistakes, as_png(mistakes_figure(mistakes, frames, title)))
    write_table(outputs.leaderboard.with_suffix(".csv"), leaderboard_table(entries))
    write_text(
        outputs.leaderboard.with_suffix(".md"),
        leaderboard_markdown(entries, facts, theirs.notes(), chosen, complexity, mistakes),
    )
    page = leaderboard_html(
        entries, facts, theirs.notes(), chosen, evaluated, complexity, mistakes, [thumbnail(image) for image in frames]
    )
    write_text(outputs.leaderboard, page)
    write_json(outputs.best, chosen)


def thumbnail(image: np.ndarray) -> bytes:
    """Encode an `(H, W, 3)` uint8 RGB image as a small JPEG; an image that is small already is not enlarged."""
    scale = min(1.0, _THUMBNAIL / max(image.shape[:2]))
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


def _of(answers: dict[str, pd.DataFrame], split: str, names: list[str]) -> dict[str, pd.DataFrame]:
    return {name: answers[name][answers[name]["split"] == split] for name in names}


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
    for path in (record, *(evaluation / file for file in (METRICS_FILE, PREDICTIONS_FILE, COMPLEXITY_FILE))):
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
