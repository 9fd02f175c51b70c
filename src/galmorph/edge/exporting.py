"""The exported model that a registered version carries."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from galmorph import __version__
from galmorph.errors import TrackingError
from galmorph.models.saved import load_model
from galmorph.serving.export import Origin, export
from galmorph.serving.exported import CARD, DIGESTS, EXAMPLES, REFERENCE, REPORT
from galmorph.serving.source import EXPORT_DIGEST_TAG, EXPORT_TAG
from galmorph.storage import digest_file, fingerprint, write_bytes, write_text

#: Folder of a run's artifacts that holds exports, each in a folder named by its digest, which never changes.
_ARTIFACTS = "export"
#: Tag of a version: what its export was made of.
_MADE_OF_TAG = "export_made_of"


def export_version(
    version: ModelVersion,
    file: Path,
    layer: str | None,
    evaluation: Path,
    explanation: Path,
    card: str | None,
    examples: Sequence[Path],
) -> dict[str, str]:
    """Export a registered model, once, into its run's artifacts.

    An export that is there is made again only where something of it has changed. The version's tags then lead to the
    new one; whoever is fetching the old one gets it whole.

    Parameters
    ----------
    version
        As the registry gives it.
    file
        The `.keras` file that was registered.
    layer
        `explain.grad_cam.layer`: which the heat maps are of.
    evaluation, explanation
        The experiment's folders: the report, the scores, the checks and the drift reference are laid beside the model,
        each where it exists.
    card
        The model card, Markdown; None: there is none.
    examples
        PNG files of a few raw cutouts that may be shown.

    Returns
    -------
    dict
        The version's tags that lead to the export, and say what it was made of.

    Raises
    ------
    ModelError
        As `galmorph.serving.export.export`.
    TrackingError
        When MLflow refuses.
    """
    with tempfile.TemporaryDirectory(prefix="galmorph-export-") as temporary:
        beside = _shown(Path(temporary) / "shown", evaluation, explanation, card, examples)
        made_of = fingerprint(
            __version__, digest_file(file), layer, {name: _digest(path) for name, path in sorted(beside.items())}
        )
        names = (EXPORT_TAG, EXPORT_DIGEST_TAG, _MADE_OF_TAG)
        if version.tags.get(_MADE_OF_TAG) == made_of:
            return {name: version.tags[name] for name in names}
        folder = Path(temporary) / "exported"
        model, facts = load_model(file)
        created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
        export(
            model, facts, folder, Origin(version.name, int(version.version), digest_file(file), created), layer, beside
        )
        return _logged(version, folder, made_of)


def _logged(version: ModelVersion, folder: Path, made_of: str) -> dict[str, str]:
    client, digest = MlflowClient(), digest_file(folder / DIGESTS)
    tags = {EXPORT_TAG: f"{_ARTIFACTS}/{digest[:16]}", EXPORT_DIGEST_TAG: digest, _MADE_OF_TAG: made_of}
    try:
        client.log_artifacts(version.run_id, str(folder), tags[EXPORT_TAG])
        # While the others change, this one names no export: an interrupted run is not taken for a finished one.
        client.set_model_version_tag(version.name, version.version, _MADE_OF_TAG, "unfinished")
        for name, value in tags.items():
            client.set_model_version_tag(version.name, version.version, name, value)
    except MlflowException as error:
        raise TrackingError(
            f"{version.name} version {version.version}: MLflow refused its export. Check MLFLOW_TRACKING_URI and your "
            f"rights there, and register again. Received: {error}"
        ) from error
    return tags


def _shown(
    folder: Path, evaluation: Path, explanation: Path, card: str | None, examples: Sequence[Path]
) -> Mapping[str, Path]:
    """Name what is laid beside the model, by its name there."""
    shown = {
        REPORT: explanation / "report.html",
        "faithfulness.json": explanation / "faithfulness.json",
        "metrics.json": evaluation / "metrics.json",
        REFERENCE: evaluation / REFERENCE,
    }
    if card is not None:
        shown[CARD] = folder / CARD
        write_text(shown[CARD], card)
    for example in examples:
        shown[EXAMPLES] = folder / EXAMPLES
        write_bytes(shown[EXAMPLES] / example.name, example.read_bytes())
    return shown


def _digest(path: Path) -> str | dict[str, str] | None:
    if path.is_dir():
        return {each.name: digest_file(each) for each in sorted(path.iterdir())}
    return digest_file(path) if path.exists() else None
