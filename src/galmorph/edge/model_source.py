"""A model, wherever it lies: a file, an experiment's folder, or a version in MLflow's registry."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from galmorph.errors import ModelError, TrackingError
from galmorph.models.saved import MODEL_FILE, ModelFacts, load_model
from galmorph.serving.source import is_registered, version_of
from galmorph.storage import digest_file

_FORMS = f"a .keras file, a folder with {MODEL_FILE} in it, models:/NAME@ALIAS or models:/NAME/VERSION"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its facts.

    Attributes
    ----------
    source
        Where it came from; of a registered one the version, for an alias may move.
    digest
        Of the model file.
    """

    source: str
    digest: str
    model: keras.Model
    facts: ModelFacts


def load_source(source: str) -> LoadedModel:
    """Load a model in Keras's safe mode.

    Parameters
    ----------
    source
        A `.keras` file, a folder with `model.keras` in it, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises
    ------
    ModelError
        When there is no such file, it is not galmorph's, or it is not the one that was registered.
    TrackingError
        When the registry has no such version, or does not answer.
    """
    with _model_file(source) as (named, file, registered_digest):
        digest = digest_file(file)
        if registered_digest and registered_digest != digest:
            raise ModelError(
                f"{named}: its model file is not the one that was registered (model_digest {registered_digest}). "
                f"Register the model again. Received: {digest}"
            )
        model, facts = load_model(file)
    return LoadedModel(named, digest, model, facts)


@contextlib.contextmanager
def _model_file(source: str) -> Iterator[tuple[str, Path, str | None]]:
    """Yield what the model is called, its file, and the digest that it was registered with."""
    if not is_registered(source):
        file = Path(source) / MODEL_FILE if Path(source).is_dir() else Path(source)
        if not file.is_file():
            raise ModelError(f"{file}: no such model. Give {_FORMS}. Received: {source!r}")
        yield source, file, None
        return
    with tempfile.TemporaryDirectory(prefix="galmorph-model-") as folder:
        yield _downloaded(source, Path(folder))


def _downloaded(source: str, folder: Path) -> tuple[str, Path, str | None]:
    import mlflow
    from mlflow.exceptions import MlflowException

    version = version_of(source, _FORMS)
    named = f"models:/{version.name}/{version.version}"
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=named, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{source}: its files cannot be had from {mlflow.get_registry_uri()}. Check MLFLOW_TRACKING_URI, and that "
            f"its artifacts can be reached from this folder. Received: {error}"
        ) from error
    files = sorted(folder.rglob("*.keras"))
    if len(files) != 1:
        raise ModelError(
            f"{named}: a registered galmorph model has one .keras file. Give a version that `galmorph register` made. "
            f"Received: {', '.join(file.name for file in files) or 'none'}"
        )
    return named, files[0], version.tags.get("model_digest")
