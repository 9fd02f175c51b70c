"""The files behind the stage `galmorph explain`: the chosen model's answers on held-out galaxies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from galmorph import tracking
from galmorph.edge.explanations import write_explanations
from galmorph.edge.subject import Subject
from galmorph.evaluation.subset import stratified
from galmorph.explain.sample import choose_sample
from galmorph.models.saved import MODEL_FILE, ModelFacts, load_model
from galmorph.params import ExplainParams
from galmorph.storage import digest_file, image_path, read_image

#: Which of the metrics the report names.
_SCORES = ("accuracy", "roc_auc", "ece")


def explain_experiment(
    folder: Path,
    model_folder: Path,
    images: Mapping[str, Path],
    manifest: pd.DataFrame,
    predictions: pd.DataFrame,
    scored: dict[str, Any],
    params: ExplainParams,
) -> dict[str, Any]:
    """Explain a sample of a split's galaxies with pictures, check the explanations on more of them, and log both.

    Parameters
    ----------
    folder
        Where to write; see `explanations.write_explanations`.
    model_folder
        The experiment's model.
    images
        The folders of the images: `raw`, and the experiment's variant.
    manifest
        Names each galaxy's blank channels.
    predictions
        Of every split; `params.split` is taken, or validation where there is no test split.
    scored
        `metrics.json` of the experiment.

    Returns
    -------
    dict
        Every score as a number, for DVC and MLflow: see `flat`.
    """
    file = model_folder / MODEL_FILE
    model, facts = load_model(file)
    split = params.split if (predictions["split"] == params.split).any() else "validation"
    scores = scored.get(split, {})
    subject = Subject(
        model=model,
        facts=facts,
        digest=digest_file(file),
        about=about(facts),
        split=split,
        scores={name: scores[name] for name in _SCORES if name in scores and scores[name]["value"] is not None},
        galaxies=_galaxies(predictions[predictions["split"] == split], manifest, params),
        shown=lambda cataid: read_image(image_path(images["raw"], cataid)),
        seen=lambda cataid: read_image(image_path(images[facts.variant], cataid)),
    )
    record = write_explanations(folder, subject, params)
    metrics = {"experiment": facts.experiment, **flat(record)}
    with tracking.run(facts.experiment, facts.run_id):
        mlflow.log_metrics({f"explain_{name}": value for name, value in flat(record).items() if value is not None})
        mlflow.log_artifacts(str(folder), "explanations")
    return metrics


def flat(record: Mapping[str, Any]) -> dict[str, float | None]:
    """Return `<method>_<score>` for every score, and how many checks each method passed and failed."""
    numbers: dict[str, float | None] = {}
    for name, method in record["methods"].items():
        numbers |= {f"{name}_{score}": found["value"] for score, found in method["scores"].items()}
        verdicts = [found["verdict"] for found in method["verdicts"].values()]
        numbers |= {f"{name}_checks_{verdict}": float(verdicts.count(verdict)) for verdict in ("passed", "failed")}
    return numbers


def about(facts: ModelFacts) -> list[tuple[str, str]]:
    """Say what a model is, each fact as a heading and a text."""
    size, crop = facts.preprocess.image_size, facts.preprocess.crop
    denoiser = facts.denoiser.model_dump() if facts.denoiser else {}
    values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in denoiser.items())
    return [
        ("architecture", f"{facts.architecture}, {size} px of the central {100 * crop:.0f} % of the frame"),
        ("variant", facts.variant + (f" ({values})" if values else "")),
        ("trained on data", facts.data_digest),
        ("git commit", facts.git_commit or "unknown"),
        ("MLflow run", facts.run_id or "unknown"),
    ]


def _galaxies(predictions: pd.DataFrame, manifest: pd.DataFrame, params: ExplainParams) -> pd.DataFrame:
    """Lay out the shown galaxies and, after them, those that the checks are made on."""
    shown = choose_sample(predictions, params.sample, params.seed)
    most = params.faithfulness.galaxies
    checked = predictions if most is None else stratified(predictions, most, params.seed)
    others = checked[~checked["CATAID"].isin(shown["CATAID"])].assign(chosen_as="")
    together = pd.concat([shown, others], ignore_index=True)
    blank = manifest.set_index("CATAID")["blank_channel"].fillna("")
    return together.assign(
        checked=np.isin(together["CATAID"], checked["CATAID"]),
        blank_channel=blank.reindex(together["CATAID"]).fillna("").to_numpy(),
    )
