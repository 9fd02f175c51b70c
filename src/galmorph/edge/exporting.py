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
from galmorph.serving.exported import CARD, DIGESTS, EXAMPLES, PROBES, REFERENCE, REPORT
from galmorph.serving.source import EXPORT_DIGEST_TAG, EXPORT_MADE_OF_TAG, EXPORT_TAG, UNFINISHED
from galmorph.storage import digest_file, fingerprint, write_bytes, write_text

#: Folder of a run's artifacts that holds exports, each in a folder named by its digest, which never changes.
_ARTIFACTS = "export"


def export_version(
    version: ModelVersion,
    file: Path,
    layer: str | None,
    evaluation: Path,
    explanation: Path,
    card: str | None,
    examples: Sequence[Path],
    probes: Sequence[Path],
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
    probes
        PNG files of a few whose answers are the least sure: a runtime tries on them what a lower precision does.

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
        cutouts = {EXAMPLES: examples, PROBES: probes}
        beside = _beside(Path(temporary) / "beside", evaluation, explanation, card, cutouts)
        made_of = fingerprint(
            __version__, digest_file(file), layer, {name: _digest(path) for name, path in sorted(beside.items())}
        )
        names = (EXPORT_TAG, EXPORT_DIGEST_TAG, EXPORT_MADE_OF_TAG)
        if version.tags.get(EXPORT_MADE_OF_TAG) == made_of:
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
    tags = {EXPORT_TAG: f"{_ARTIFACTS}/{digest[:16]}", EXPORT_DIGEST_TAG: digest, EXPORT_MADE_OF_TAG: made_of}
    try:
        client.log_artifacts(version.run_id, str(folder), tags[EXPORT_TAG])
        # While the others change, this one names no export: an interrupted run is not taken for a finished one.
        client.set_model_version_tag(version.name, version.version, EXPORT_MADE_OF_TAG, UNFINISHED)
        for name, value in tags.items():
            client.set_model_version_tag(version.name, version.version, name, value)
    except MlflowException as error:
        raise TrackingError(
            f"{version.name} version {version.version}: MLflow refused its export. Check MLFLOW_TRACKING_URI and your "
            f"rights there, and register again. Received: {error}"
        ) from error
    return tags


def _beside(
    folder: Path, evaluation: Path, explanation: Path, card: str | None, cutouts: Mapping[str, Sequence[Path]]
) -> Mapping[str, Path]:
    """Name what is laid beside the model, by its name there."""
    beside = {
        REPORT: explanation / "report.html",
        "faithfulness.json": explanation / "faithfulness.json",
        "metrics.json": evaluation / "metrics.json",
        REFERENCE: evaluation / REFERENCE,
    }
    if card is not None:
        beside[CARD] = folder / CARD
        write_text(beside[CARD], card)
    for name, paths in cutouts.items():
        beside[name] = folder / name
        for path in paths:
            write_bytes(beside[name] / path.name, path.read_bytes())
    return beside


def _digest(path: Path) -> str | dict[str, str] | None:
    if path.is_dir():
        return {each.name: digest_file(each) for each in sorted(path.iterdir())}
    return digest_file(path) if path.exists() else None
