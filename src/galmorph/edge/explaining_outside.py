"""The files behind `galmorph explain --model … --images …`: any model's answers to any images."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from galmorph.data.dataset import classes_of, prepare
from galmorph.data.denoise import denoise
from galmorph.data.facts import blank_channels
from galmorph.data.images import decode_image, is_blank, max_bytes
from galmorph.edge.explaining import about
from galmorph.edge.explanations import FAITHFULNESS_FILE, REPORT_FILE, write_explanations
from galmorph.edge.members import Source, close_archives, open_source, read_member
from galmorph.edge.model_source import LoadedModel, load_source
from galmorph.edge.replaceable import WRITTEN_BY, check_replaceable
from galmorph.edge.subject import Subject
from galmorph.errors import ArchiveError, ImageError, InputError
from galmorph.evaluation.subset import stratified
from galmorph.explain.sample import choose_sample
from galmorph.models.predict import predict_batches
from galmorph.parallel import progress
from galmorph.params import ExplainParams, PreprocessParams, checked
from galmorph.storage import output_folder, write_json, write_table

EXPLAINED_FILE, REJECTED_FILE = "explained.json", "rejected.csv"
#: Says in explained.json what wrote it, so that no other folder is taken for one that may be replaced.
_WRITER = "galmorph explain"
#: Suffixes of files that may be images; what is in them decides.
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif"})
#: Frames that stay decoded: a galaxy is looked at several times, soon after each other.
_KEPT_FRAMES = 64


@dataclass(frozen=True)
class Outside:
    """What is explained.

    Attributes
    ----------
    paths
        Image files, and folders or zips of them.
    max_pixels
        Larger images are not decoded.
    blank_contrast
        A channel whose standard deviation is below this (of 255) is blank.
    crop
        Share of the frame that the model shall see; None for its own.
    denoised
        Whether the images went through the denoiser of the model's variant already.
    """

    paths: tuple[Path, ...]
    max_pixels: int
    blank_contrast: float
    crop: float | None
    denoised: bool


@dataclass(frozen=True)
class _Image:
    """Where an image lies: a file, or a member of a zip."""

    source: Path
    kind: Literal["folder", "zip"]
    name: str
    place: int

    def read(self, max_pixels: int) -> np.ndarray:
        """Read and decode it, `(H, W, 3)` uint8."""
        content = read_member(self.source, self.kind, self.name, self.place, max_bytes(max_pixels))
        return decode_image(content, self.name, max_pixels).pixels


def explain_outside(out: Path, model: str, given: Outside, params: ExplainParams) -> str:
    """Explain a model's answers to images of any size and format.

    Parameters
    ----------
    out
        The result's folder: what the stage writes, `predictions.csv`, and `rejected.csv` with the files that are no
        usable image. One that an earlier run made is replaced; any other must be empty.
    model
        A file, a folder or a registered version; see `model_source.load_source`.
    given
        The images.
    params
        As of the stage. Of the sample, ids are the images' names without suffix; there is no catalogue, so no answer
        is right or wrong.

    Returns
    -------
    str
        What was done, for the terminal.

    Raises
    ------
    InputError
        When `out` holds something else, or there is no image that can be used.
    ModelError, TrackingError
        When the model cannot be had.
    """
    check_replaceable(out, EXPLAINED_FILE, _WRITER)
    images = _images(given.paths)
    loaded = load_source(model)
    own = loaded.facts.preprocess
    changed = {} if given.crop is None else {"crop": given.crop}
    preprocess = checked(PreprocessParams, {**own.model_dump(), **changed}, "--crop")

    @lru_cache(_KEPT_FRAMES)
    def shown(cataid: str) -> np.ndarray:
        return images[cataid].read(given.max_pixels)

    @lru_cache(_KEPT_FRAMES)
    def seen(cataid: str) -> np.ndarray:
        denoiser = loaded.facts.denoiser
        return shown(cataid) if denoiser is None or given.denoised else denoise(shown(cataid), denoiser)

    try:
        with output_folder(out) as folder:
            predictions, rejected = _answered(loaded, preprocess, images, shown, seen, given, params.batch_size)
            write_table(folder / REJECTED_FILE, rejected)
            subject = Subject(
                model=loaded.model,
                facts=loaded.facts.model_copy(update={"preprocess": preprocess}),
                digest=loaded.digest,
                about=[("model", loaded.source), *about(loaded.facts)],
                split="the images given",
                scores={},
                galaxies=_galaxies(predictions, params),
                shown=shown,
                seen=seen,
            )
            write_explanations(folder, subject, params)
            write_table(folder / "predictions.csv", predictions.drop(columns=["label", "blank_channel"]))
            write_json(folder / EXPLAINED_FILE, {WRITTEN_BY: _WRITER, "model": loaded.source, "digest": loaded.digest})
    finally:
        close_archives()
    left_out = f", {len(rejected):,} files left out ({out / REJECTED_FILE})" if len(rejected) else ""
    return (
        f"{len(predictions):,} images answered by {loaded.source}{left_out}\n"
        f"the report: {out / REPORT_FILE}; the checks in numbers: {out / FAITHFULNESS_FILE}"
    )


def _images(paths: tuple[Path, ...]) -> dict[str, _Image]:
    """List the images by their names without suffix."""
    found: dict[str, _Image] = {}
    for path in paths:
        for image in _listed(path):
            cataid = Path(image.name).stem
            if cataid in found:
                raise InputError(
                    f"--images: two images are called {cataid}, and the name is the galaxy's. Rename one of them. "
                    f"Received: {found[cataid].source / found[cataid].name} and {image.source / image.name}"
                )
            found[cataid] = image
    if not found:
        raise InputError(
            f"--images: no file whose name ends in {', '.join(sorted(_SUFFIXES))}. Give image files, or folders or "
            f"zips of them. Received: {', '.join(map(str, paths))}"
        )
    return found


def _listed(path: Path) -> list[_Image]:
    if not path.exists():
        raise ArchiveError(f"{path}: no such file or folder. Check --images. Received: {str(path)!r}")
    if path.is_file() and path.suffix.lower() in _SUFFIXES:
        return [_Image(path.parent, "folder", path.name, 0)]
    source: Source = open_source(path)
    if source.kind == "tar":
        raise ArchiveError(f"{path}: a tar. Unpack it, and give the folder. Received: {path.name}")
    members = sorted(name for name in source.members if Path(name).suffix.lower() in _SUFFIXES)
    return [_Image(path, source.kind, name, source.members[name]) for name in members]


def _answered(
    loaded: LoadedModel,
    preprocess: PreprocessParams,
    images: Mapping[str, _Image],
    shown: Callable[[str], np.ndarray],
    seen: Callable[[str], np.ndarray],
    given: Outside,
    batch_size: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answer every image that can be used; and say why the others cannot."""
    usable: list[str] = []
    blank: list[str] = []
    rejected: list[tuple[str, str]] = []

    def prepared() -> Iterator[np.ndarray]:
        for cataid in progress(iter(images), len(images), "answering", "images"):
            try:
                pixels = shown(cataid)
                if is_blank(pixels):
                    raise ImageError(f"{images[cataid].name}: blank, every pixel is {pixels[0, 0].tolist()}.")
            except (ImageError, ArchiveError) as error:
                rejected.append((images[cataid].name, str(error)))
                continue
            usable.append(cataid)
            blank.append(blank_channels(pixels, given.blank_contrast))
            yield prepare(seen(cataid), preprocess)

    found = list(predict_batches(loaded.model, _stacked(prepared(), batch_size)))
    refused = pd.DataFrame(rejected, columns=["file", "reason"])
    if not found:
        raise InputError(
            f"--images: none of the {len(images):,} files can be used. Received: {'; '.join(refused['reason'].head(3))}"
        )
    logit, p_elliptical = (np.concatenate(part) for part in zip(*found, strict=True))
    return (
        pd.DataFrame(
            {
                "CATAID": usable,
                "label": None,
                "predicted": classes_of(p_elliptical),
                "p_elliptical": p_elliptical,
                "logit": logit,
                "blank_channel": blank,
            }
        ),
        refused,
    )


def _stacked(images: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    while batch := list(islice(images, size)):
        yield np.stack(batch)


def _galaxies(predictions: pd.DataFrame, params: ExplainParams) -> pd.DataFrame:
    """Choose what is shown and what is checked; as nobody knows better, no answer counts as wrong."""
    known = predictions.assign(label=predictions["predicted"])
    shown = choose_sample(known, params.sample, params.seed)
    most = params.faithfulness.galaxies
    check = known if most is None else stratified(known, most, params.seed)
    others = check[~check["CATAID"].isin(shown["CATAID"])].assign(chosen_as="")
    together = pd.concat([shown, others], ignore_index=True)
    return together.assign(label=None, checked=np.isin(together["CATAID"], check["CATAID"]))
