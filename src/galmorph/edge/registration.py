"""What `galmorph register` reads and logs."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from galmorph import tracking
from galmorph.data.dataset import POSITIVE
from galmorph.edge.exporting import export_version
from galmorph.edge.training import MODEL_FILE, log_model
from galmorph.models.saved import ModelFacts, load_facts
from galmorph.params import RegisterParams
from galmorph.registry import register_version
from galmorph.storage import digest_file


def register_best(
    best: dict[str, Any], model: Path, evaluation: Path, robustness: Path, explanation: Path, params: RegisterParams
) -> dict[str, Any]:
    """Register a model with its reports.

    Parameters
    ----------
    best
        `best.json`: which experiment was chosen, and why.
    model, evaluation, robustness, explanation
        The experiment's folders.

    Returns
    -------
    dict
        `model`, `version`, `alias`, `run_id` and the version's tags.
    """
    file = model / MODEL_FILE
    facts = load_facts(file)
    tags = {
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "positive_class": POSITIVE,
        "data_digest": facts.data_digest,
        "params_digest": facts.params_digest,
        "model_digest": digest_file(file),
        "git_commit": facts.git_commit or "unknown",
    }
    with tracking.run(facts.experiment, facts.run_id) as active:
        logged = mlflow.search_logged_models(
            filter_string=f"source_run_id = '{active.info.run_id}'",
            experiment_ids=[active.info.experiment_id],
            output_format="list",
        )
        source = logged[0].model_uri if logged else _log_again(file, facts)
        mlflow.log_artifacts(str(evaluation), "evaluation")
        mlflow.log_artifacts(str(robustness), "robustness")
        mlflow.log_artifacts(str(explanation), "explanations")
        mlflow.log_dict(best, "best.json")
        version = register_version(params.model, active.info.run_id, source, tags, params.alias)
        tags |= export_version(version, file, None, evaluation, explanation, None, ())
    return {
        "model": params.model,
        "version": int(version.version),
        "alias": params.alias,
        "run_id": active.info.run_id,
        "tags": tags,
    }


def _log_again(file: Path, facts: ModelFacts) -> str:
    """Log the model into the active run: the store does not know the run that trained it."""
    size = facts.preprocess.image_size
    # No cutout is at hand here; an empty sky is a valid input and shows the shape.
    return log_model(file, facts, np.zeros((1, size, size, 3), np.uint8))
