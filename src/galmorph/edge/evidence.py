"""What a version keeps beside its model, so that it can be judged later: its answers and what it learned from."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from galmorph.errors import InputError, TrackingError
from galmorph.promotion.decision import Candidate
from galmorph.promotion.galaxies import scored_galaxies, taught_galaxies
from galmorph.serving.source import has_export
from galmorph.storage import read_json, read_table, write_json, write_table

#: The artifacts' folder, and what lies in it.
FOLDER = "promotion"
ABOUT, SCORED_FILE, TAUGHT_FILE = "evidence.json", "scored.parquet", "taught.parquet"
CARD = "model_card.md"
METRICS, FAITHFULNESS = "evaluation/metrics.json", "explanations/faithfulness.json"
ROBUSTNESS = "robustness/metrics.json"


@dataclass(frozen=True)
class Evidence:
    """A version's own tables.

    Attributes
    ----------
    scored
        See `galaxies.scored_galaxies`.
    taught
        See `galaxies.taught_galaxies`.
    """

    scored: pd.DataFrame
    taught: pd.DataFrame


def write_evidence(
    folder: Path, metrics: dict[str, Any], predictions: pd.DataFrame, splits: pd.DataFrame, manifest: pd.DataFrame
) -> None:
    """Write a version's evidence into a folder.

    Raises
    ------
    InputError
        When predictions, splits and manifest do not belong together.
    """
    held_out = set(splits.loc[splits["split"] != "train", "CATAID"])
    if held_out != set(predictions["CATAID"]):
        raise InputError(
            f"data/splits.parquet: holds other galaxies out than those that {metrics['experiment']} answered, so the "
            f"model was trained on other splits. Run `dvc repro`. Received: {len(held_out):,} galaxies held out, "
            f"{len(predictions):,} answered"
        )
    scored = scored_galaxies(predictions, metrics["scored_split"], manifest)
    taught = taught_galaxies(splits, manifest)
    write_table(folder / SCORED_FILE, scored)
    write_table(folder / TAUGHT_FILE, taught)
    about = {key: metrics[key] for key in ("experiment", "model_digest", "data_digest", "scored_split")}
    write_json(folder / ABOUT, {**about, "scored": len(scored), "taught": len(taught)})


def read_evidence(version: ModelVersion) -> tuple[Evidence | None, str]:
    """Return a version's evidence, or None and why there is none.

    Raises
    ------
    TrackingError
        When the artifacts cannot be reached.
    """
    with _artifacts(version) as artifacts:
        about = artifacts.json(f"{FOLDER}/{ABOUT}")
        if about is None:
            return None, (
                f"it does not say what it was trained on and what it answered ({FOLDER}/). Register it again with this "
                f"galmorph."
            )
        if about["model_digest"] != version.tags.get("model_digest"):
            return None, f"what its run keeps in {FOLDER}/ is of another model. Register it again."
        tables = [read_table(artifacts.file(f"{FOLDER}/{name}")) for name in (SCORED_FILE, TAUGHT_FILE)]
        return Evidence(*tables), ""


def read_candidate(version: ModelVersion) -> Candidate:
    """Collect what a version's tags and its run's artifacts tell of it.

    Raises
    ------
    TrackingError
        When the artifacts cannot be reached.
    """
    with _artifacts(version) as artifacts:
        metrics = artifacts.json(METRICS)
        digest = version.tags.get("model_digest")
        faithfulness = artifacts.json(FAITHFULNESS)
        reports = {METRICS: metrics, FAITHFULNESS: faithfulness, ROBUSTNESS: artifacts.json(ROBUSTNESS)}
        return Candidate(
            version=int(version.version),
            data_digest=version.tags.get("data_digest", ""),
            artifacts=artifacts.names,
            metrics=metrics,
            faithfulness=faithfulness,
            foreign=tuple(
                f"{name} is of another model"
                for name, report in reports.items()
                if report is not None and report.get("model_digest") != digest
            ),
            exported=has_export(version.tags),
        )


@dataclass(frozen=True)
class _Artifacts:
    """What a version's run holds, by name, and a folder to put it."""

    run_id: str
    names: frozenset[str]
    folder: Path

    def file(self, name: str) -> Path:
        return Path(
            mlflow.artifacts.download_artifacts(run_id=self.run_id, artifact_path=name, dst_path=str(self.folder))
        )

    def json(self, name: str) -> dict[str, Any] | None:
        return read_json(self.file(name)) if name in self.names else None


@contextlib.contextmanager
def _artifacts(version: ModelVersion) -> Iterator[_Artifacts]:
    try:
        with tempfile.TemporaryDirectory(prefix="galmorph-evidence-") as folder:
            yield _Artifacts(version.run_id, frozenset(_names(version.run_id)), Path(folder))
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"version {version.version} of {version.name}: what its run holds cannot be had. Check that its artifacts "
            f"can be reached from this folder. Received: {error}"
        ) from error


def _names(run_id: str, folder: str | None = None) -> Iterator[str]:
    for item in MlflowClient().list_artifacts(run_id, folder):
        if item.is_dir:
            yield from _names(run_id, item.path)
        else:
            yield item.path
