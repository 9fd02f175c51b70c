"""What the pages of a pipeline's run show of a stage's results: scores, curves, reports."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from galmorph.cluster.artifacts import Artifact, deliver
from galmorph.evaluation.curves import ROC_COLUMNS
from galmorph.evaluation.metrics import CLASSES
from galmorph.storage import read_json, read_table, write_text

#: Points of a ROC curve that are kept: metadata is not the place for thousands.
_ROC_POINTS = 200


def scores(places: Mapping[str, Path], artifact: Any) -> None:
    """Log the scores of the scored split as numbers."""
    metrics = read_json(places["evaluation"] / "metrics.json")
    split = metrics["scored_split"]
    for name, score in metrics[split].items():
        if isinstance(score, dict) and isinstance(score.get("value"), int | float):
            artifact.log_metric(f"{split}_{name}", score["value"])


def curves(places: Mapping[str, Path], artifact: Any) -> None:
    """Log the confusion matrix and the ROC curve of the scored split."""
    answers = read_table(places["evaluation"] / "confusion.csv")
    matrix = [
        [int(((answers["actual"] == actual) & (answers["predicted"] == predicted)).sum()) for predicted in CLASSES]
        for actual in CLASSES
    ]
    artifact.log_confusion_matrix(list(CLASSES), matrix)
    roc = read_table(places["evaluation"] / "roc.csv")
    kept = roc.iloc[:: max(1, math.ceil(len(roc) / _ROC_POINTS))]
    for false_positive, true_positive, threshold in kept[list(ROC_COLUMNS)].to_numpy(float).tolist():
        # The curve begins above every answer; JSON has neither infinity nor NaN.
        artifact.log_roc_data_point(false_positive, true_positive, threshold if math.isfinite(threshold) else 1.0)


def validation_page(places: Mapping[str, Path], artifact: Artifact) -> None:
    """Show what was found in the data."""
    deliver(places["report"] / "index.html", artifact)


def leaderboard_table(places: Mapping[str, Path], artifact: Artifact) -> None:
    """Show the leaderboard as text."""
    deliver(places["leaderboard"].with_suffix(".md"), artifact)


def explanation_report(places: Mapping[str, Path], artifact: Artifact) -> None:
    """Show what the best model looks at."""
    deliver(places["explanations"] / read_json(places["best"])["experiment"] / "report.html", artifact)


def registered(places: Mapping[str, Path], artifact: Artifact) -> None:
    """Say which version was registered."""
    made = read_json(places["registration"])
    tags = "".join(f"| {name} | {value} |\n" for name, value in sorted(made["tags"].items()))
    text = (
        f"# Version {made['version']} of {made['model']}\n\nIt is the {made['alias']}; its MLflow run is "
        f"`{made['run_id']}`.\n\n| tag | value |\n|---|---|\n{tags}"
    )
    write_text(Path(artifact.path), text)


#: By the name of a component's output.
VIEWS: Mapping[str, Callable[[Mapping[str, Path], Any], None]] = {
    "scores": scores,
    "curves": curves,
    "page": validation_page,
    "table": leaderboard_table,
    "report_page": explanation_report,
    "summary": registered,
}


def show(view: str, places: Mapping[str, Path], artifact: Artifact) -> None:
    """Fill an artifact that shows something of a stage's results.

    Parameters
    ----------
    view
        One of `VIEWS`.
    places
        Of the stage's inputs and outputs.
    artifact
        To be filled.
    """
    VIEWS[view](places, artifact)
