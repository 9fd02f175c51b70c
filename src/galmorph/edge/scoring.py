"""The files behind `galmorph evaluate`."""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from galmorph import tracking
from galmorph.data.dataset import classes_of
from galmorph.edge.checks import write_shortcuts, write_slices
from galmorph.edge.images import prepared_images
from galmorph.edge.reports import write_report
from galmorph.errors import ModelError
from galmorph.evaluation.metrics import Facts, evaluation_record
from galmorph.evaluation.reference import look, reference
from galmorph.models.complexity import complexity, images_per_second
from galmorph.models.predict import predict_logits
from galmorph.models.saved import MODEL_FILE, ModelFacts, load_model
from galmorph.params import EvaluateParams
from galmorph.storage import digest_file, write_json, write_table

#: The scores that MLflow lists for a run, beside its training curves.
_LOGGED = ("accuracy", "balanced_accuracy", "roc_auc", "pr_auc", "brier", "ece", "loss")

#: How long a model's speed is measured: enough for a median, little beside the scoring.
_SPEED_SECONDS = 1.0


def score_experiment(
    folder: Path,
    experiment: str,
    model_folder: Path,
    splits: pd.DataFrame,
    manifest: pd.DataFrame,
    images: Path,
    card: dict[str, Any],
    params: EvaluateParams,
) -> dict[str, Any]:
    """Answer the validation and test galaxies, and leave predictions, scores, checks and figures in `folder`.

    Parameters
    ----------
    folder
        Where to write.
    experiment, model_folder
        The experiment and the folder of its model.
    splits
        `CATAID`, `label`, `split`.
    manifest
        What validation measured of every galaxy; slices are made of it.
    images
        The folder of the variant's images.
    card
        The variant's card: its data digest, and where the galaxies come from.

    Returns
    -------
    dict
        The record that `compare` collects: `experiment` and the digests of predictions, model and scores.

    Raises
    ------
    ModelError
        When the model was trained on other data.
    """
    file = model_folder / MODEL_FILE
    model, facts = load_model(file)
    digest = card["digest"]
    if facts.data_digest != digest:
        raise ModelError(
            f"{file}: was trained on data {facts.data_digest[:12]} and the images are now {digest[:12]}. "
            f"Train it again: galmorph train {experiment} (or `dvc repro`)."
        )
    held_out = splits[splits["split"] != "train"].reset_index(drop=True)
    prepared = prepared_images(images, held_out["CATAID"], facts.preprocess, "reading held-out images")
    logits, p_elliptical = predict_logits(model, prepared, params.batch_size)
    predictions = predictions_table(held_out, logits, p_elliptical)
    write_table(folder / "predictions.parquet", predictions)
    speed = images_per_second(model, params.batch_size, _SPEED_SECONDS)
    write_json(folder / "complexity.json", {**complexity(model), **speed})
    record: dict[str, str] = {
        "experiment": experiment,
        "model_digest": digest_file(file),
        "predictions_digest": digest_file(folder / "predictions.parquet"),
    }
    metrics = evaluation_record(_facts(facts, record, card["source"]), predictions, params)
    scored = predictions[predictions["split"] == metrics["scored_split"]]
    metrics |= {
        "temperature": facts.temperature,
        "slices": write_slices(folder, scored, manifest, metrics, params),
        "shortcuts": write_shortcuts(folder, model, facts.preprocess, images, scored, metrics, params),
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "reference.json", _reference(prepared, predictions, metrics["scored_split"], params))
    record["metrics_digest"] = digest_file(folder / "metrics.json")
    _write_report(folder, scored, metrics, params)
    with tracking.run(experiment, facts.run_id):
        for split in ("validation", "test"):
            if metrics[split] is not None:
                values = {f"{split}_{name}": metrics[split][name]["value"] for name in _LOGGED}
                mlflow.log_metrics({name: value for name, value in values.items() if value is not None})
        if metrics["shortcuts"] is not None:
            without = metrics["shortcuts"]["without_galaxy"]["accuracy"]["value"]
            mlflow.log_metric(f"{metrics['scored_split']}_accuracy_without_galaxy", without)
        mlflow.log_artifacts(str(folder), "evaluation")
    return record


def predictions_table(galaxies: pd.DataFrame, logits: np.ndarray, p_elliptical: np.ndarray) -> pd.DataFrame:
    """Join answers to galaxies.

    Parameters
    ----------
    galaxies
        `CATAID`, `split`, `label`.
    logits, p_elliptical
        `(N,)` each, in the order of `galaxies`.

    Returns
    -------
    pandas.DataFrame
        `CATAID`, `split`, `label`, `p_elliptical`, `logit`, `predicted`; even odds count as Elliptical.
    """
    return galaxies[["CATAID", "split", "label"]].assign(
        p_elliptical=p_elliptical,
        logit=logits,
        predicted=classes_of(p_elliptical),
    )


def _reference(prepared: np.ndarray, predictions: pd.DataFrame, split: str, params: EvaluateParams) -> dict[str, Any]:
    """Say what the scored galaxies look like to the model, for a service to hold its own images against."""
    scored = np.flatnonzero(predictions["split"] == split)
    answers = predictions["p_elliptical"].to_numpy(float)
    looks = [look(np.asarray(prepared[at]), float(answers[at])) for at in scored]
    return {"split": split, **reference(looks, params.reference_bins)}


def _facts(model: ModelFacts, record: dict[str, str], source: str) -> Facts:
    return Facts(
        **record,
        architecture=model.architecture,
        variant=model.variant,
        image_size=model.preprocess.image_size,
        crop=model.preprocess.crop,
        recipe=model.recipe.model_dump(mode="json"),
        data_source=source,
        data_digest=model.data_digest,
    )


def _write_report(folder: Path, scored: pd.DataFrame, metrics: dict[str, Any], params: EvaluateParams) -> None:
    split = metrics["scored_split"]
    title = f"{metrics['experiment']}, {split}, n = {len(scored)}"
    write_report(folder, scored, metrics[split], params.calibration_bins, title)
