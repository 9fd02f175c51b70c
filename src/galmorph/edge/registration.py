"""What `galmorph register` reads and logs."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from galmorph import tracking
from galmorph.data.dataset import POSITIVE
from galmorph.edge.dvc_lock import dvc_revision
from galmorph.edge.evidence import CARD, FOLDER, write_evidence
from galmorph.edge.exporting import export_version
from galmorph.edge.logged_model import log_model
from galmorph.errors import InputError
from galmorph.evaluation.card import CardFacts, model_card, shortened
from galmorph.models.saved import MODEL_FILE, ModelFacts, load_facts
from galmorph.params import RegisterStageParams
from galmorph.registry import MAX_DESCRIPTION, point_alias, register_version, run_of
from galmorph.storage import digest_file, image_path, read_json, read_table, write_text

#: Cutouts of each class that are laid beside an exported model.
_EXAMPLES_A_CLASS = 2
#: Cutouts that lie beside it for the runtime alone, which answers them once more at its start.
_PROBES = 8
#: What explain leaves of its checks.
FAITHFULNESS_FILE = "faithfulness.json"


@dataclass(frozen=True)
class Reports:
    """Folders and files that a version is registered with.

    Attributes
    ----------
    model, evaluation, robustness, explanation
        The experiment's folders.
    splits, manifest
        Which galaxies it learned from, and their images' digests.
    raw
        The folder of the raw images.
    card
        Of its variant.
    """

    model: Path
    evaluation: Path
    robustness: Path
    explanation: Path
    splits: Path
    manifest: Path
    raw: Path
    card: Path


def register_best(best: dict[str, Any], reports: Reports, params: RegisterStageParams) -> dict[str, Any]:
    """Register a model with its reports, its card, and what it must show to be promoted.

    Parameters
    ----------
    best
        `best.json`: which experiment was chosen, and why.
    reports
        What there is of it.
    params
        The registered model's name, how it answers, and how it draws.

    Returns
    -------
    dict
        `model`, `version`, `alias`, `run_id` and the version's tags.

    Raises
    ------
    InputError
        When model, predictions, splits and manifest do not belong together.
    TrackingError
        When MLflow refuses.
    """
    file = reports.model / MODEL_FILE
    facts = load_facts(file)
    metrics = read_json(reports.evaluation / "metrics.json")
    faithfulness = _optional(reports.explanation / FAITHFULNESS_FILE)
    robustness = _optional(reports.robustness / "metrics.json")
    digest = digest_file(file)
    _check_of_model(file, digest, {"evaluate": metrics, "robustness": robustness, "explain": faithfulness})
    predictions = read_table(reports.evaluation / "predictions.parquet")
    splits = read_table(reports.splits)
    identity, further = _identity(digest, facts), _further(reports.card)
    card = model_card(
        CardFacts(
            registered=params.register_.model,
            facts=facts.model_dump(mode="json"),
            metrics=metrics,
            complexity=read_json(reports.evaluation / "complexity.json"),
            robustness=robustness,
            faithfulness=faithfulness,
            taught={name: int((splits["split"] == name).sum()) for name in ("train", "validation")},
            tags={"git_commit": identity["git_commit"], **further},
        )
    )
    example = image_path(reports.raw, predictions["CATAID"].iloc[0])
    # A model that was trained with another store has no run here: what it was registered with is then gone on with.
    trained_here = facts.run_id is not None and tracking.run_exists(facts.run_id)
    run_id = facts.run_id if trained_here else run_of(params.register_.model, identity)
    with tracking.run(facts.experiment, run_id) as active:
        with tempfile.TemporaryDirectory(prefix="galmorph-register-") as temporary:
            written = Path(temporary)
            write_evidence(written / FOLDER, metrics, predictions, splits, read_table(reports.manifest))
            write_text(written / CARD, card)
            mlflow.log_artifacts(str(written))
        mlflow.log_artifacts(str(reports.evaluation), "evaluation")
        mlflow.log_artifacts(str(reports.robustness), "robustness")
        mlflow.log_artifacts(str(reports.explanation), "explanations")
        mlflow.log_dict(best, "best.json")
        version = register_version(
            params.register_.model,
            active.info.run_id,
            lambda: log_model(file, facts, example.read_bytes(), params),
            identity,
            further,
            shortened(card, MAX_DESCRIPTION),
        )
        exported = export_version(
            version,
            file,
            params.explain.grad_cam.layer,
            reports.evaluation,
            reports.explanation,
            card,
            *([image_path(reports.raw, cataid) for cataid in some] for some in _laid_beside(predictions)),
        )
        # Only now: whoever promotes what the alias names must find what the service takes.
        point_alias(version, params.register_.alias)
    return {
        "model": params.register_.model,
        "version": int(version.version),
        "alias": params.register_.alias,
        "run_id": active.info.run_id,
        "tags": {**identity, **further, **exported},
    }


def _laid_beside(predictions: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Choose a few held-out galaxies as examples and as probes.

    A service may show the examples: of each class, the ones answered most surely. Where the sigmoid is flat, they hide
    what rounding does to the logit; the probes are those nearest to even odds, where it is steepest.
    """
    held_out = predictions[predictions["split"] != "train"]
    by_sureness = held_out.assign(sure=(held_out["p_elliptical"] - 0.5).abs()).sort_values(["sure", "CATAID"])
    examples = by_sureness.groupby("label").tail(_EXAMPLES_A_CLASS)
    return examples["CATAID"].tolist(), by_sureness["CATAID"].head(_PROBES).tolist()


def _identity(digest: str, facts: ModelFacts) -> dict[str, str]:
    """Tags that say which model it is: with the same ones no second version is made."""
    return {
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "positive_class": POSITIVE,
        "data_digest": facts.data_digest,
        "params_digest": facts.params_digest,
        "model_digest": digest,
        "git_commit": facts.git_commit or "unknown",
    }


def _check_of_model(file: Path, digest: str, reports: Mapping[str, dict[str, Any] | None]) -> None:
    """Refuse what was found of another model: a card would show it as this one's. A stage's report may be missing."""
    for stage, report in reports.items():
        found = digest if report is None else str(report.get("model_digest", "none named"))
        if found != digest:
            raise InputError(
                f"{file}: is not the model that `{stage}` looked at ({found[:12]}). Run that stage again, or `dvc "
                f"repro`. Received: {digest[:12]}"
            )


def _further(card: Path) -> dict[str, str]:
    """Tags that may be known later than the model."""
    # Data that were pulled from a revision carry its name; in a project of DVC its lock knows it.
    pulled = read_json(card)
    named: dict[str, str] = {key: str(pulled[key]) for key in ("data_commit", "dvc_revision") if key in pulled}
    revision = dvc_revision(card)
    return named if revision is None else {**named, "dvc_revision": revision}


def _optional(file: Path) -> dict[str, Any] | None:
    return read_json(file) if file.is_file() else None
