"""The files behind `galmorph score`: any model on any label file and folder of images."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galmorph import __version__
from galmorph.data.archive import Labels, parse_labels
from galmorph.data.identity import data_digest
from galmorph.data.left_out import left_out
from galmorph.data.matching import Matches, match_images
from galmorph.edge.members import Source, close_archives, open_source
from galmorph.edge.model_source import LoadedModel, load_source
from galmorph.edge.outside import read_for_model
from galmorph.edge.replaceable import WRITTEN_BY, check_replaceable
from galmorph.edge.reports import write_report
from galmorph.edge.scoring import predictions_table
from galmorph.errors import ArchiveError, CatalogueError, InputError
from galmorph.evaluation.metrics import score
from galmorph.models.memory import named_memory_errors, smaller_batches
from galmorph.models.predict import predict_batches
from galmorph.parallel import map_ordered
from galmorph.params import ArchiveParams, EvaluateParams, PreprocessParams, checked
from galmorph.storage import digest_file, output_folder, write_json, write_table

METRICS_FILE, REJECTED_FILE = "metrics.json", "rejected.csv"
#: Says in metrics.json what wrote it, so that no other folder is taken for one that may be replaced.
_WRITER = "galmorph score"


@dataclass(frozen=True)
class Labelled:
    """What is scored.

    Attributes
    ----------
    labels, images
        The label file, and a folder (or zip) of images.
    archive
        Names of the columns and of the images, and what each label's text stands for.
    max_pixels
        Larger images are not decoded.
    denoised
        Whether the images went through the denoiser of the model's variant already.
    """

    labels: Path
    images: Path
    archive: ArchiveParams
    max_pixels: int
    denoised: bool


def score_labelled(
    out: Path, model: str, given: Labelled, crop: float | None, params: EvaluateParams
) -> dict[str, Any]:
    """Answer every labelled image, and leave predictions, scores, figures and what was left out in `out`.

    Images are read, answered and dropped a batch at a time: memory does not grow with their number.

    Parameters
    ----------
    out
        The result's folder. One that an earlier run of this made is replaced; any other must be empty.
    model
        A file, a folder or a registered version; see `model_source.load_source`.
    given
        The galaxies.
    crop
        Share of the frame that the model shall see; None for its own.
    params
        How to score.

    Returns
    -------
    dict
        The content of metrics.json: what was scored by what, `rejected` (how many rows and files were left out) and
        `scores`, in the layout of `metrics.score`.

    Raises
    ------
    InputError
        When `out` holds something else, the label file or the folder cannot be used, or no image of any galaxy can.
    ModelError, TrackingError
        When the model cannot be had.
    ParamsError
        When the crop is not a share of the frame.
    OutOfMemoryError
        When memory runs out.
    """
    check_replaceable(out, METRICS_FILE, _WRITER)
    labels = _read_labels(given)
    source, members = _members(given)
    matches = match_images(labels.rows["CATAID"], members, given.archive.patterns)
    usable = labels.rows[(labels.rows["rejected"] == "") & labels.rows["CATAID"].isin(list(matches.images))]
    if usable.empty:
        raise _nothing(given, left_out(labels, matches, members, given.archive.patterns, {}), len(members))
    loaded = load_source(model)
    preprocess = _preprocess(loaded, crop)
    remedy = smaller_batches("evaluate", params.batch_size)
    with output_folder(out) as folder, named_memory_errors(remedy):
        answers, unreadable, digests = _answer(loaded, preprocess, given, source, matches, usable, params)
        rejected = left_out(labels, matches, members, given.archive.patterns, unreadable)
        if not answers:
            raise _nothing(given, rejected, len(members))
        write_table(folder / REJECTED_FILE, rejected)
        galaxies = usable[usable["CATAID"].isin(list(answers))].assign(split="test")
        logits, p_elliptical = np.array([answers[cataid] for cataid in galaxies["CATAID"]]).T
        predictions = predictions_table(galaxies, logits, p_elliptical)
        write_table(folder / "predictions.parquet", predictions)
        metrics = {
            WRITTEN_BY: _WRITER,
            "galmorph": __version__,
            **_facts(loaded, preprocess),
            "labels": given.labels.name,
            "labels_digest": digest_file(given.labels),
            "images": given.images.name,
            "data_digest": data_digest(galaxies["CATAID"], galaxies["label"], [digests[c] for c in galaxies["CATAID"]]),
            "rejected": len(rejected),
            "scores": score(predictions, params),
        }
        write_json(folder / METRICS_FILE, metrics)
        title = f"{loaded.facts.experiment} on {given.labels.name}, n = {len(galaxies)}"
        write_report(folder, predictions, metrics["scores"], params.calibration_bins, title)
    return metrics


def _read_labels(given: Labelled) -> Labels:
    if not given.labels.is_file():
        raise CatalogueError(f"{given.labels}: no such label file. Check --labels. Received: {str(given.labels)!r}")
    return parse_labels(given.labels.read_bytes(), given.labels.name, given.archive)


def _members(given: Labelled) -> tuple[Source, set[str]]:
    """Open the images and list them; the label file, should it lie among them, is none."""
    if not given.images.exists():
        raise ArchiveError(f"{given.images}: no such folder. Check --images. Received: {str(given.images)!r}")
    source = open_source(given.images)
    if source.kind == "tar":
        raise ArchiveError(f"{given.images}: a tar. Unpack it, and give the folder. Received: {given.images.name}")
    own = given.labels.resolve()
    is_folder = source.kind == "folder"
    return source, {name for name in source.members if not (is_folder and (given.images / name).resolve() == own)}


def _nothing(given: Labelled, rejected: pd.DataFrame, files: int) -> InputError:
    reasons = rejected["reason"].head(3).tolist()
    return InputError(
        f"{given.labels}: no galaxy has a known label and a readable image. Check --columns, --coding and --pattern. "
        f"Received: {files:,} files in {given.images}, and {len(rejected):,} rows and files that cannot be used: "
        f"{'; '.join(reasons)}"
    )


def _preprocess(loaded: LoadedModel, crop: float | None) -> PreprocessParams:
    own = loaded.facts.preprocess
    return own if crop is None else checked(PreprocessParams, {**own.model_dump(), "crop": crop}, "--crop")


def _facts(loaded: LoadedModel, preprocess: PreprocessParams) -> dict[str, Any]:
    facts = loaded.facts
    return {
        "model": loaded.source,
        "model_digest": loaded.digest,
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "image_size": preprocess.image_size,
        "crop": preprocess.crop,
        "crop_of_model": facts.preprocess.crop,
        "trained_on": facts.data_digest,
    }


def _answer(
    loaded: LoadedModel,
    preprocess: PreprocessParams,
    given: Labelled,
    source: Source,
    matches: Matches,
    usable: pd.DataFrame,
    params: EvaluateParams,
) -> tuple[dict[str, tuple[float, float]], dict[str, str], dict[str, str]]:
    """Return, by CATAID, logit and probability; why an image cannot be used; and the SHA-256 of each that can."""
    assert source.kind != "tar"  # refused by `_members`
    names = [(cataid, matches.images[cataid]) for cataid in usable["CATAID"]]
    jobs = [(cataid, name, source.members[name]) for cataid, name in names]
    read = partial(
        read_for_model,
        path=source.path,
        kind=source.kind,
        max_pixels=given.max_pixels,
        preprocess=preprocess,
        denoiser=None if given.denoised else loaded.facts.denoiser,
    )
    answers: dict[str, tuple[float, float]] = {}
    unreadable: dict[str, str] = {}
    digests: dict[str, str] = {}
    asked: list[str] = []

    def batches() -> Iterator[np.ndarray]:
        batch: list[np.ndarray] = []
        for image in map_ordered(read, jobs, "scoring"):
            if image.pixels is None:
                unreadable[image.cataid] = image.reason
                continue
            asked.append(image.cataid)
            digests[image.cataid] = image.sha256
            batch.append(image.pixels)
            if len(batch) == params.batch_size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)

    try:
        for logits, p_elliptical in predict_batches(loaded.model, batches()):
            start = len(answers)
            for offset, cataid in enumerate(asked[start : start + len(logits)]):
                answers[cataid] = float(logits[offset]), float(p_elliptical[offset])
    finally:
        close_archives()
    return answers, unreadable, digests
