"""`galmorph predict`: images in a folder, tar or zip to a table of answers keyed by CATAID."""

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from galmorph import __version__
from galmorph.data.matching import printable
from galmorph.data.predictions import Verdict, heat_map_rows, rejected_rows, rows
from galmorph.data.shard import WHOLE, Shard
from galmorph.data.wanted import Galaxy, Listed, Wanted, listed, wanted
from galmorph.edge.acquire_cutouts import read_catalogue
from galmorph.edge.locking import alone_with
from galmorph.edge.members import Source, open_source
from galmorph.edge.predicting_images import Reader
from galmorph.edge.predicting_parts import begun, part_files, write_parts
from galmorph.edge.predictions_export import check_export, export, votable_header
from galmorph.edge.predictions_files import (
    WRITER,
    Counts,
    check_may_write,
    heat_maps_path,
    rejects_path,
    write_heat_maps,
    write_predictions,
)
from galmorph.edge.predictions_merge import merged
from galmorph.edge.replaceable import WRITTEN_BY
from galmorph.errors import ArchiveError, InputError, ModelError
from galmorph.params import PredictParams
from galmorph.serving.exported import DIGESTS
from galmorph.serving.runtime import Runtime
from galmorph.serving.source import fetched
from galmorph.storage import digest_file, fingerprint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes
    ----------
    model
        An exported folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    images
        A folder, tar or zip.
    output
        The table, `.parquet`. What lies beside it: `<stem>.rejected.csv`, and `<stem>.heat_maps.parquet` if asked for.
    catalogue
        CSV, FITS, VOTable or Parquet with a column of ids; None: every image.
    shard
        Which share of the galaxies.
    heat_maps
        Whether heat maps are wanted.
    exports
        Further files of the same table: FITS or VOTable, told by the suffix.
    denoised
        Whether the images went through the denoiser of the model's variant already.
    """

    model: str
    images: Path
    output: Path
    catalogue: Path | None = None
    shard: Shard = WHOLE
    heat_maps: bool = False
    exports: tuple[Path, ...] = ()
    denoised: bool = False


@dataclass(frozen=True)
class Summary:
    """What became of it.

    Attributes
    ----------
    answered, rejected
        Galaxies with an answer; rows of the catalogue and files without one.
    near_threshold
        Answers that a person should look at.
    labels
        Answers of each label.
    output, rejects
        The table, and the list of what was rejected.
    """

    answered: int
    rejected: int
    near_threshold: int
    labels: dict[str, int]
    output: Path
    rejects: Path


def predict(asked: Asked, params: PredictParams) -> Summary:
    """Answer images, and leave the table, the list of what was rejected, and what else was asked for.

    Images stream: memory does not grow with their number, but for their names. What an interrupted run of the same
    work finished is taken up again.

    Parameters
    ----------
    asked
        What is asked for.
    params
        Values of params.yaml; see `galmorph.params.predict_values`.

    Raises
    ------
    InputError
        When the images or the catalogue cannot be used, no galaxy has an image, a file would be replaced that
        `galmorph predict` did not write, or another process writes the same table.
    ModelError, TrackingError
        When the model cannot be had, or has no heat maps and they were asked for.
    StorageError
        When nothing can be written.
    """
    _check_names(asked)
    with alone_with(asked.output):
        folder = fetched(asked.model, Path(params.cache).expanduser())
        runtime = Runtime(folder, params.precision, params.threads)
        if asked.heat_maps and not runtime.facts.heat_maps:
            raise ModelError(
                f"{runtime.facts.name}: no heat map is to be had from a {runtime.facts.architecture}: it has no "
                "convolutions to make one of. Leave --heat-maps out. Received: --heat-maps"
            )
        source = _opened(asked.images)
        chosen = _chosen(asked, source, params)
        model = digest_file(folder / DIGESTS)
        parts = begun(asked.output, _work(asked, source, chosen, (model, runtime.precision), params))
        files = part_files(parts, len(chosen.galaxies), params.predict.part)
        if there := sum(file.exists() for file in files):
            log.info("%d of %d parts are there from an interrupted run; going on", there, len(files))
        write_parts(files, chosen.galaxies, Reader(source, runtime, asked.denoised, params), asked.heat_maps)
        about = _about(asked, runtime, chosen, params)
        counts = _joined(asked, files, about, chosen)
        shutil.rmtree(parts)
    return _summary(asked.output, counts)


def merge(parts: Sequence[Path], output: Path, expected: Sequence[str] | None) -> Summary:
    """Join the tables of all shards into one, after checking that no galaxy is lost or doubled.

    What lies beside the tables (rejected rows, heat maps) is joined, too. Rows come shard by shard.

    Parameters
    ----------
    parts
        The tables of all shards, in any order.
    output
        The table to write.
    expected
        The ids that must be there, with an answer or with a reason why there is none. None: those that the shards
        themselves say they had together.

    Raises
    ------
    InputError
        When a file is no such table, they are of different work, a shard is missing or there twice, or a galaxy is
        lost, doubled or not expected.
    """
    if output.resolve() in {path.resolve() for path in parts}:
        raise InputError(f"--output: is one of the tables to merge. Give another name. Received: {str(output)!r}")
    for path in _results(output):
        check_may_write(path)
    with alone_with(output):
        counts = merged(parts, output, expected)
    return _summary(output, counts)


def _summary(output: Path, counts: Counts) -> Summary:
    return Summary(counts.answered, counts.rejected, counts.near_threshold, counts.labels, output, rejects_path(output))


def _check_names(asked: Asked) -> None:
    if asked.output.suffix != ".parquet":
        raise InputError(f"--output: takes a file that ends in .parquet. Received: {str(asked.output)!r}")
    for path in asked.exports:
        check_export(path)
    for path in (*_results(asked.output), *asked.exports):
        check_may_write(path)


def _results(output: Path) -> tuple[Path, ...]:
    return output, rejects_path(output), heat_maps_path(output)


def _opened(images: Path) -> Source:
    if not images.exists():
        raise ArchiveError(f"{images}: no such folder or archive. Check --images. Received: {str(images)!r}")
    return open_source(images)


def _chosen(asked: Asked, source: Source, params: PredictParams) -> Wanted:
    """Find the galaxies to answer, in the order in which their images are read."""
    catalogue: Listed | None = None
    if asked.catalogue is not None:
        table, lines = read_catalogue(asked.catalogue, params.bands)
        catalogue = listed(table, lines, str(asked.catalogue), params.bands.columns.id)
    chosen = wanted(source.members, params.patterns, catalogue, asked.shard)
    if not chosen.galaxies and asked.shard == WHOLE:
        reasons = "; ".join(one.reason for one in chosen.rejected[:3]) or "no file"
        raise InputError(
            f"{asked.images}: no image of any galaxy. Check --images, --catalogue and --pattern. "
            f"Received: {len(source.members):,} files; {reasons}"
        )
    if source.kind == "tar":
        # A tar is read from front to back.
        return replace(chosen, galaxies=sorted(chosen.galaxies, key=lambda one: one.place))
    return chosen


def _work(asked: Asked, source: Source, chosen: Wanted, model: tuple[str, str], params: PredictParams) -> str:
    """Fingerprint of everything that a part's content depends on."""
    digest = hashlib.sha256()
    for galaxy in chosen.galaxies:
        digest.update(repr((galaxy, _identity(source, galaxy))).encode("utf-8", "backslashreplace"))
    archive = None if source.kind == "folder" else _status(source.path)
    values = params.model_dump(mode="json", include={"max_pixels", "bands", "min_side"})
    stream = params.predict.batch, params.predict.part
    return fingerprint(
        __version__, *model, asked.heat_maps, asked.denoised, str(source.path.resolve()), archive, values, stream,
        digest.hexdigest(),
    )  # fmt: skip


def _identity(source: Source, galaxy: Galaxy) -> tuple[int, int] | None:
    return _status(source.path / galaxy.file) if source.kind == "folder" else None


def _status(path: Path) -> tuple[int, int] | None:
    """Size and time; None for a file that is gone, which reading it says."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _about(asked: Asked, runtime: Runtime, chosen: Wanted, params: PredictParams) -> dict[str, Any]:
    """Say what the table is of."""
    facts = runtime.facts
    return {
        WRITTEN_BY: WRITER,
        "galmorph": __version__,
        "model": facts.name,
        "experiment": facts.experiment,
        "architecture": facts.architecture,
        "variant": facts.variant,
        "model_digest": facts.model_digest,
        "data_digest": facts.data_digest,
        "threshold": facts.threshold,
        "near_threshold": params.near_threshold,
        "precision": runtime.precision,
        "preprocess": facts.preprocess.model_dump(),
        "denoised": asked.denoised,
        "shard": str(asked.shard),
        "ids": chosen.ids,
        "ids_digest": chosen.ids_digest,
    }


def _joined(asked: Asked, files: Sequence[Path], about: Mapping[str, Any], chosen: Wanted) -> Counts:
    """Join the parts; the table itself comes last, when all that lies beside it is there."""
    verdict = Verdict(about["threshold"], about["near_threshold"], about["model"], about["data_digest"])

    def parts() -> Iterator[pa.Table]:
        return (parquet.read_table(file) for file in files)

    def rejected() -> Iterator[Sequence[str]]:
        yield from ((row, cataid, printable(file), printable(why)) for row, cataid, file, why in chosen.rejected)
        for part in parts():
            yield from rejected_rows(part)

    if asked.heat_maps:
        write_heat_maps(
            heat_maps_path(asked.output), (heat_map_rows(part, verdict.threshold) for part in parts()), about
        )
    else:
        heat_maps_path(asked.output).unlink(missing_ok=True)  # an earlier run's
    counts = write_predictions(
        asked.output, (rows(part, verdict) for part in parts()), about, votable_header(about), rejected()
    )
    for path in asked.exports:
        export(asked.output, path)
    return counts
