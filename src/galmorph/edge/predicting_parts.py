"""The work of `galmorph predict`, cut into parts: each is a file when its images are answered, whole or not at all.

A part's number says which galaxies it holds, and its answers do not depend on what was computed before: batches begin
anew with each part. So whoever goes on after an interruption does the parts that are missing, and ends with the table
of a run in one piece.
"""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from galmorph.data.matching import printable
from galmorph.data.predictions import part_table
from galmorph.data.wanted import Galaxy
from galmorph.edge.outside import ReadImage
from galmorph.edge.predicting_images import Reader
from galmorph.parallel import progress
from galmorph.params import StreamParams
from galmorph.serving.runtime import Runtime
from galmorph.storage import named_storage_errors, replacing, write_text

_MARK = "work"


def work_folder(output: Path) -> Path:
    """Where the parts of a table lie until it is complete: beside it, hidden."""
    return output.parent / f".{output.name}.work"


def begun(output: Path, work: str) -> Path:
    """Return the folder of parts: with what an interrupted run of the same work left there, or empty.

    Parameters
    ----------
    output
        The table.
    work
        A fingerprint of the work; parts of any other are thrown away.
    """
    folder = work_folder(output)
    mark = folder / _MARK
    with named_storage_errors(folder):
        if not (mark.is_file() and mark.read_text() == work):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_text(mark, work)
        for half_written in folder.glob(".*.partial*"):
            half_written.unlink()
    return folder


def part_files(folder: Path, galaxies: int, size: int) -> list[Path]:
    """Name the parts of the work, in order."""
    return [folder / f"part-{number:06d}.parquet" for number in range(-(-galaxies // size))]


def write_parts(files: Sequence[Path], galaxies: Sequence[Galaxy], reader: Reader, maps: bool) -> None:
    """Answer the galaxies of every part that is not there yet.

    Parameters
    ----------
    files
        From `part_files`.
    galaxies
        All, in order; a part holds `params.predict.part` of them, the last what is left.
    reader
        Reads their images, and knows the model.
    maps
        Whether heat maps are wanted.
    """
    params = reader.params.predict
    missing = [
        (file, galaxies[number * params.part : (number + 1) * params.part])
        for number, file in enumerate(files)
        if not file.exists()
    ]
    todo = [galaxy for _, held in missing for galaxy in held]
    images = progress(reader.images(todo), len(todo), "predicting", "images")
    for file, held in missing:
        part = _answered(held, islice(images, len(held)), reader.runtime, params, maps)
        with replacing(file) as temporary:
            parquet.write_table(part, temporary)
    next(images, None)  # to the end, which the progress bar then shows


def _answered(
    galaxies: Sequence[Galaxy], images: Iterator[ReadImage], runtime: Runtime, params: StreamParams, maps: bool
) -> pa.Table:
    reasons: list[str | None] = []
    digests: list[str | None] = []
    answers: list[float | None] = []
    drawn: list[np.ndarray | None] = []
    while batch := list(islice(images, params.batch)):
        reasons += [printable(image.reason) or None for image in batch]
        digests += [image.sha256 or None for image in batch]
        for p, coarse in _each_answer(batch, runtime, maps):
            answers.append(p)
            drawn.append(coarse)
    ids = [(one.row, one.cataid, printable(one.file)) for one in galaxies]
    return part_table(ids, reasons, digests, answers, drawn)


def _each_answer(
    batch: Sequence[ReadImage], runtime: Runtime, maps: bool
) -> Iterator[tuple[float | None, np.ndarray | None]]:
    """Yield each image's probability and heat map; None where it could not be read, or there are no maps."""
    pixels = [image.pixels for image in batch if image.pixels is not None]
    found = runtime.answer(np.stack(pixels), maps=maps) if pixels else None
    place = 0
    for image in batch:
        if found is None or image.pixels is None:
            yield None, None
            continue
        yield float(found.p_elliptical[place]), None if found.maps is None else found.maps[place]
        place += 1
