"""The folder of an exported model: what lies in it, the facts that go with it, and whether it is whole."""

import json
from pathlib import Path

from pydantic import ValidationError

from galmorph.errors import ModelError
from galmorph.params import DenoiserParams, PreprocessParams, Section
from galmorph.storage import digest_file

#: The graph, its weights, the facts, and the SHA-256 of every other file of the folder.
GRAPH, WEIGHTS, FACTS, DIGESTS = "model.xml", "model.bin", "facts.json", "digests.json"
#: What the service shows of the model, each where it exists: the explanation report, the reference that drift is
#: measured against, the model card, and a folder of cutouts to try.
REPORT, REFERENCE, CARD, EXAMPLES = "report.html", "reference.json", "model_card.md", "examples"
#: A folder of cutouts that are not shown: a runtime tries on them, too, what a lower precision does.
PROBES = "probes"

_REMEDY = "Export it again (`galmorph register` does), or fetch it again"


class ExportFacts(Section):
    """What an exported model must be used with, and where it comes from.

    Attributes
    ----------
    galmorph
        The version that exported it.
    model, version
        The registered model, and its version; None: not registered.
    experiment, architecture, variant, preprocess, denoiser, temperature, data_digest, params_digest, git_commit, run_id
        As `galmorph.models.saved.ModelFacts` has them.
    threshold
        From this `p_elliptical` up the answer is Elliptical.
    heat_maps
        Whether the graph gives heat maps.
    layer
        The layer they are of; None where there are none.
    model_digest
        SHA-256 of the `.keras` file that was exported.
    created
        When the version was registered, or where it is none, exported: ISO 8601, UTC.
    """

    galmorph: str
    model: str
    version: int | None
    experiment: str
    architecture: str
    variant: str
    preprocess: PreprocessParams
    denoiser: DenoiserParams | None
    temperature: float
    threshold: float
    heat_maps: bool
    layer: str | None
    data_digest: str
    params_digest: str
    model_digest: str
    git_commit: str | None
    run_id: str | None
    created: str

    @property
    def name(self) -> str:
        """What messages, logs and metrics call the model: `galmorph/7`, or `galmorph` where it has no version."""
        return self.model if self.version is None else f"{self.model}/{self.version}"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but `digests.json`, by its path there with `/`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: digest_file(path) for name, path in named.items() if name != DIGESTS}


def checked_facts(folder: Path) -> ExportFacts:
    """Read an exported folder's facts after every file was held against its digest.

    Parameters
    ----------
    folder
        As `galmorph.serving.export.export` writes it.

    Returns
    -------
    ExportFacts
        Of a folder that is whole.

    Raises
    ------
    ModelError
        When the folder or a file is missing, a file was changed, or the facts are another version's.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such folder. Give a folder that holds an exported model, or models:/NAME@ALIAS. "
            f"Received: {str(folder)!r}"
        )
    expected = _expected(folder)
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"{folder}: {name} is missing. {_REMEDY}. Received: {_listed(folder)}")
        found = digest_file(file)
        if found != digest:
            raise ModelError(f"{file}: changed or damaged since it was exported. {_REMEDY}. Received: SHA-256 {found}")
    try:
        return ExportFacts.model_validate_json((folder / FACTS).read_bytes())
    except ValidationError as error:
        raise ModelError(
            f"{folder / FACTS}: not the facts that this galmorph writes. {_REMEDY}, by this version. Received: {error}"
        ) from error


def _expected(folder: Path) -> dict[str, str]:
    """Read `digests.json`; it must name the files without which there is no model."""
    path = folder / DIGESTS
    if not path.is_file():
        raise ModelError(
            f"{folder}: not an exported model, {DIGESTS} is missing. {_REMEDY}. Received: {_listed(folder)}"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{path}: not JSON. {_REMEDY}. Received: {error}") from error
    named = isinstance(content, dict) and all(isinstance(value, str) for value in content.values())
    if not named or not {GRAPH, WEIGHTS, FACTS} <= set(content):
        raise ModelError(
            f"{path}: must name the SHA-256 of {GRAPH}, {WEIGHTS} and {FACTS}. {_REMEDY}. "
            f"Received: {str(content)[:200]}"
        )
    return {str(name): str(digest) for name, digest in content.items()}


def _listed(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder"
