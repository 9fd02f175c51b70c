"""Where an exported model comes from: a folder, or a version in MLflow's registry, over HTTP by mlflow-skinny."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from galmorph.errors import ModelError, TrackingError
from galmorph.serving.exported import DIGESTS
from galmorph.storage import digest_file, fingerprint, named_storage_errors

if TYPE_CHECKING:  # whoever uses a folder need not load MLflow
    from mlflow.entities.model_registry import ModelVersion

#: Tags of a version: where in its run's artifacts the exported folder lies, and the SHA-256 of its `digests.json`.
EXPORT_TAG, EXPORT_DIGEST_TAG = "export", "export_digest"
#: What the export was made of, and what stands there while the other tags change.
EXPORT_MADE_OF_TAG, UNFINISHED = "export_made_of", "unfinished"

#: What MLflow's error says when the registry answers, and has no such model, alias or version.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_FORMS = "an exported folder, models:/NAME@ALIAS or models:/NAME/VERSION"


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and where its export lies.

    Attributes
    ----------
    name, version
        Of the registered model.
    run_id
        The run whose artifacts hold the export.
    export
        Its path among them; None: the version was registered without one.
    digest
        SHA-256 of the export's `digests.json`.
    """

    name: str
    version: int
    run_id: str
    export: str | None
    digest: str | None

    @property
    def source(self) -> str:
        """`models:/NAME/VERSION`: the version itself, for an alias may move."""
        return f"models:/{self.name}/{self.version}"


def has_export(tags: Mapping[str, str]) -> bool:
    """Whether a version's tags lead to an export that was finished."""
    return {EXPORT_TAG, EXPORT_DIGEST_TAG} <= tags.keys() and tags.get(EXPORT_MADE_OF_TAG) != UNFINISHED


def is_registered(source: str) -> bool:
    """Whether a source is meant to be a registered model, and not a folder."""
    return source.startswith("models:")


def resolve(source: str) -> Registered:
    """Ask the registry which version a source is now; cheap enough to ask every few seconds.

    Parameters
    ----------
    source
        `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Returns
    -------
    Registered
        The version, whether it has an export or not.

    Raises
    ------
    ModelError
        When `source` is not of that form.
    TrackingError
        When the registry has no such version, does not answer, or is a database that mlflow-skinny cannot read.
    """
    _check_store()
    found = version_of(source, _FORMS)
    tags = found.tags
    return Registered(found.name, int(found.version), found.run_id, tags.get(EXPORT_TAG), tags.get(EXPORT_DIGEST_TAG))


def version_of(source: str, forms: str) -> "ModelVersion":
    """Ask the registry for a version.

    Parameters
    ----------
    source
        `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    forms
        What may be given here, for the message.

    Raises
    ------
    ModelError
        When `source` is not of that form.
    TrackingError
        When the registry has no such version, or does not answer.
    """
    parts = _REGISTERED.fullmatch(source)
    if parts is None:
        raise ModelError(f"--model: give {forms}. Received: {source!r}")
    import mlflow
    from mlflow.exceptions import MlflowException

    client, name = mlflow.MlflowClient(), parts["name"]
    try:
        return (
            client.get_model_version_by_alias(name, parts["alias"])
            if parts["alias"]
            else client.get_model_version(name, parts["version"])
        )
    except (MlflowException, OSError) as error:
        remedy = (
            "It has no such model, alias or version. Check the name and MLFLOW_TRACKING_URI, or give a version the "
            "alias (`galmorph promote`)"
            if _is_not_there(error)
            else "Check MLFLOW_TRACKING_URI, and that the server answers"
        )
        raise TrackingError(
            f"{source}: cannot be had from {mlflow.get_registry_uri()}. {remedy}. Received: {error}"
        ) from error


def has_answered(error: Exception) -> bool:
    """Whether an error of `resolve` says that the registry answers, and has no such version."""
    return _is_not_there(error.__cause__)


def _is_not_there(error: BaseException | None) -> bool:
    return getattr(error, "error_code", None) in _NOT_THERE


def fetched(source: str, cache: Path) -> Path:
    """Return the exported folder of a source, fetched where it is not there yet.

    Parameters
    ----------
    source
        An exported folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    cache
        A folder for what is fetched; it is made when it is missing. What lies there is used again, and several
        processes may use it at once.

    Returns
    -------
    Path
        The folder, not yet checked; `galmorph.serving.exported.checked_facts` does that.

    Raises
    ------
    ModelError
        When `source` is none of these, the version has no export, or what came is not what was registered.
    TrackingError
        As `resolve`, or when the export cannot be fetched.
    """
    if not is_registered(source):
        return Path(source)
    version = resolve(source)
    if version.export is None or version.digest is None:
        raise ModelError(
            f"{version.source}: was registered without an exported model. Register it again (`galmorph register`). "
            f"Received: a version without the tags {EXPORT_TAG} and {EXPORT_DIGEST_TAG}"
        )
    # By digest, too: the same name and number may be another model's on another server.
    folder = cache / f"{quote(version.name, safe='')}-{version.version}-{fingerprint(version.digest)[:12]}"
    if not folder.is_dir():
        _fetch(version, version.export, folder)
    else:
        _check_digest(version, folder, f"Remove {folder}, and it is fetched again")
    return folder


def _check_digest(version: Registered, folder: Path, remedy: str) -> None:
    digest = digest_file(folder / DIGESTS) if (folder / DIGESTS).is_file() else None
    if digest != version.digest:
        raise ModelError(
            f"{version.source}: what is in {folder.name} is not what was registered ({version.digest}). {remedy}. "
            f"Received: {digest}"
        )


def _fetch(version: Registered, export: str, folder: Path) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = f"runs:/{version.run_id}/{export}"
    with named_storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
            try:
                came = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary))
            except (MlflowException, OSError) as error:
                raise TrackingError(
                    f"{version.source}: its export cannot be fetched ({uri}). Check that the server serves artifacts, "
                    f"or that their store can be reached from here. Received: {error}"
                ) from error
            _check_digest(version, came, "Try again, and register the model again if that does not help")
            _moved(came, folder)


def _moved(came: Path, folder: Path) -> None:
    """Rename, unless another process was first."""
    try:
        came.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(came)


def _check_store() -> None:
    """Refuse a store that mlflow-skinny has no driver for, before it fails in words that help nobody."""
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    remote = uri is not None and uri.startswith(("http://", "https://", "databricks", "uc:"))
    if not remote and find_spec("sqlalchemy") is None:
        raise TrackingError(
            "MLFLOW_TRACKING_URI: this installation reads the registry of an MLflow server only. Give the server's "
            "address (http://HOST:PORT), or an exported folder instead; a database needs the whole of MLflow "
            f"(pip install galmorph[pipeline]). Received: {uri or 'nothing, which means a database in this folder'}"
        )
