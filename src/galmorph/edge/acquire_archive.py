"""Fill data/raw from source `archive`: a folder, zip or tar with a label file and images."""

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from galmorph import storage
from galmorph.data.archive import Labels, Outcome, catalogue, check_classes, parse_labels
from galmorph.data.images import decode_image, is_blank, max_bytes
from galmorph.data.matching import Matches, match_images
from galmorph.edge.members import Source, close_archives, open_source, read_member, stream_tar
from galmorph.errors import ArchiveError, CatalogueError, ImageError
from galmorph.parallel import map_ordered
from galmorph.params import AcquireParams, ArchiveParams

log = logging.getLogger(__name__)

#: What became of each image so far, a line each: what an interrupted run leaves for the next one.
_JOURNAL = ".outcomes.jsonl"
#: Rejected rows that the log names one by one.
_LOGGED = 20


@dataclass(frozen=True)
class _Job:
    """An image to convert; of a tar, which only one process can read, its content comes along."""

    cataid: str
    name: str
    place: int
    content: bytes | ImageError | None = None


class _TarJobs(Collection[_Job]):
    """The jobs of a tar, in the tar's order, each with its content: read when it is asked for, never all at once."""

    def __init__(self, path: Path, jobs: list[_Job], limit: int) -> None:
        self.path, self.limit = path, limit
        self.by_name = {job.name: job for job in jobs}

    def __len__(self) -> int:
        return len(self.by_name)

    def __contains__(self, job: object) -> bool:
        return job in self.by_name.values()

    def __iter__(self) -> Iterator[_Job]:
        places = {name: job.place for name, job in self.by_name.items()}
        for name, content in stream_tar(self.path, places, self.limit):
            yield _Job(self.by_name[name].cataid, name, places[name], content)


def identity(params: AcquireParams) -> list[Any]:
    """Tell one state of `params.path` from another, without reading it whole: names, sizes and times.

    Raises
    ------
    ArchiveError
        When there is nothing at the path.
    """
    path = _path(params)
    if path.is_dir():
        files = [path / name for name in open_source(path).members]
    else:
        files = [path, *(path.parent / name for name in params.archive.labels)]
    facts = ((str(file), file.stat()) for file in files if file.exists())
    return [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]


def fill(folder: Path, params: AcquireParams) -> None:
    """Write `catalogue.csv` and `images/<CATAID>.png` into `folder`, going on with what is there.

    The label file is the first of `archive.labels` that lies anywhere in the source or, when that is a zip or tar,
    beside it. Images are decoded on all cores and stay in their place in the file: rows that cannot be used are in
    `catalogue.csv` with the reason in `rejected`.

    Raises
    ------
    ArchiveError
        When the folder or archive cannot be read or used, or holds no image of any galaxy.
    CatalogueError
        When the label file is missing or cannot be used, or one class only has images.
    StorageError
        When no space is left. A later run goes on.
    """
    path, archive = _path(params), params.archive
    source = open_source(path)
    limit = max_bytes(params.max_pixels)
    name, content = _label_file(source, archive, limit)
    labels = parse_labels(content, name, archive)
    for cataid, earlier, row in labels.repeated[:_LOGGED]:
        log.warning("%s row %d: says again what row %d says of %s; left out", name, row, earlier, cataid)
    if len(labels.repeated) > _LOGGED:
        log.warning("%s: %d rows left out in all that repeat an earlier one", name, len(labels.repeated))
    matches = match_images(labels.rows["CATAID"], set(source.members) - {name}, archive.patterns)
    if matches.passed_over:
        log.warning(
            "%s: %d images passed over, their galaxies have one by an earlier pattern. The first: %s",
            path, len(matches.passed_over), matches.passed_over[0],
        )  # fmt: skip
    usable = _usable(source, labels, matches, archive)
    jobs = [_Job(cataid, matches.images[cataid], source.members[matches.images[cataid]]) for cataid in usable]
    outcomes = _convert_all(folder, source, jobs, params.max_pixels)
    accepted = [label for cataid, label in usable.items() if not outcomes[cataid].rejected]
    check_classes(accepted, name, "whose image can be read")
    table = catalogue(labels, matches, archive.patterns, outcomes)
    storage.write_table(folder / "catalogue.csv", table)
    (folder / _JOURNAL).unlink()
    log.info("%s: %d rows, %d images, %d rejected", path, len(table), len(accepted), len(table) - len(accepted))
    rejected = table.loc[table["rejected"] != "", ["row", "rejected"]]
    for row, reason in rejected.head(_LOGGED).itertuples(index=False):
        log.warning("%s%s: rejected: %s", name, f" row {row}" if row else "", reason)
    if len(rejected) > _LOGGED:
        log.warning("%s: %d more rejected; catalogue.csv lists all", name, len(rejected) - _LOGGED)


def _path(params: AcquireParams) -> Path:
    if not params.path.exists():
        raise ArchiveError(f"{params.path}: no such folder or archive. Check acquire.path. Received: {params.path}")
    return params.path


def _label_file(source: Source, params: ArchiveParams, limit: int) -> tuple[str, bytes]:
    """Find the label file and read it; of several of one name, the one nearest the top counts."""
    for wanted in params.labels:
        found = sorted(
            (name for name in source.members if f"/{name}".endswith(f"/{wanted}")), key=lambda name: name.count("/")
        )
        if len(found) > 1 and found[0].count("/") == found[1].count("/"):
            raise CatalogueError(
                f"{source.path}: {found[0]} and {found[1]} may both be the label file. Name one with its folder under "
                f"acquire.archive.labels in params.yaml. Received: {len(found)} files"
            )
        if found:
            return found[0], _read_labels(source, found[0], limit)
        beside = source.path.parent / wanted
        if source.kind != "folder" and beside.is_file():
            log.info("%s: no %s in it, but beside it; taken", source.path, wanted)
            return wanted, read_member(source.path.parent, "folder", wanted, 0, limit)
    tables = sorted(name for name in source.members if name.lower().endswith((".csv", ".tsv", ".txt")))
    raise CatalogueError(
        f"{source.path}: no label file in it; looked for {' and '.join(params.labels)}. Put its name under "
        f"acquire.archive.labels in params.yaml. Received: {len(source.members):,} files"
        + (f", among them {', '.join(tables[:5])}" if tables else "")
    )


def _read_labels(source: Source, name: str, limit: int) -> bytes:
    if source.kind == "tar":
        _, content = next(stream_tar(source.path, {name: source.members[name]}, limit))
    else:
        content = _read(source.path, source.kind, name, source.members[name], limit)
    if isinstance(content, ImageError):
        raise CatalogueError(str(content)) from content
    return content


def _read(path: Path, kind: Literal["folder", "zip"], name: str, place: int, limit: int) -> bytes | ImageError:
    try:
        return read_member(path, kind, name, place, limit)
    except ImageError as error:
        return error


def _usable(source: Source, labels: Labels, matches: Matches, params: ArchiveParams) -> dict[str, str]:
    """Return the label of each galaxy that has one and an image, or stop when that makes no two classes."""
    labelled = labels.rows[labels.rows["rejected"] == ""]
    if labelled.empty:
        received = Counter(labels.rows["rejected"]).most_common(5)
        raise CatalogueError(
            f"{labels.file}: no row can be used. Write what each label stands for under acquire.archive.coding in "
            f"params.yaml. Received: {', '.join(f'{reason} ({number:,} rows)' for reason, number in received)}"
        )
    check_classes(labelled["label"], labels.file, "with a known label")
    usable = {cataid: label for cataid, label in zip(labelled["CATAID"], labelled["label"], strict=True)
              if cataid in matches.images}  # fmt: skip
    if not usable:
        some = [name for name in source.members if name != labels.file][:3]
        raise ArchiveError(
            f"{source.path}: no image of any of the {len(labelled):,} galaxies; looked for "
            f"{' and '.join(params.patterns)}. Put what they are called under acquire.archive.patterns in params.yaml. "
            f"Received: {len(source.members):,} files" + (f", among them {', '.join(some)}" if some else "")
        )
    check_classes(usable.values(), labels.file, "that have an image")
    return usable


def _convert_all(folder: Path, source: Source, jobs: list[_Job], max_pixels: int) -> dict[str, Outcome]:
    """Convert what an interrupted run has not; return what became of every image."""
    images, journal = folder / "images", folder / _JOURNAL
    images.mkdir(exist_ok=True)
    outcomes = _resumed(images, journal)
    if outcomes:
        log.info("%s: going on after %d of %d images", source.path, len(outcomes), len(jobs))
    remaining = [job for job in jobs if job.cataid not in outcomes]
    todo = _TarJobs(source.path, remaining, max_bytes(max_pixels)) if source.kind == "tar" else remaining
    convert = partial(_convert, path=source.path, kind=source.kind, images=images, max_pixels=max_pixels)
    try:
        with journal.open("a", encoding="ascii") as lines:
            for cataid, outcome in map_ordered(convert, todo, "images"):
                outcomes[cataid] = outcome
                lines.write(json.dumps({"CATAID": cataid, **asdict(outcome)}) + "\n")
                lines.flush()
    finally:
        close_archives()
    return outcomes


def _resumed(images: Path, journal: Path) -> dict[str, Outcome]:
    """Read the journal of an interrupted run, whose last line may be half written, and write it anew without that."""
    outcomes: dict[str, Outcome] = {}
    for line in journal.read_text().splitlines() if journal.exists() else []:
        try:
            facts: Mapping[str, str] = json.loads(line)
        except json.JSONDecodeError:
            break
        outcome = Outcome(**{name: text for name, text in facts.items() if name != "CATAID"})
        if outcome.rejected or storage.image_path(images, facts["CATAID"]).exists():
            outcomes[facts["CATAID"]] = outcome
    lines = [json.dumps({"CATAID": cataid, **asdict(outcome)}) + "\n" for cataid, outcome in outcomes.items()]
    storage.write_text(journal, "".join(lines))
    return outcomes


def _convert(
    job: _Job, path: Path, kind: Literal["folder", "zip", "tar"], images: Path, max_pixels: int
) -> tuple[str, Outcome]:
    """Decode one image and write it as PNG, or say why that cannot be; runs in a process of its own."""
    content = job.content
    if kind != "tar":
        content = _read(path, kind, job.name, job.place, max_bytes(max_pixels))
    assert content is not None
    try:
        if isinstance(content, ImageError):
            raise content
        decoded = decode_image(content, job.name, max_pixels)
        if is_blank(decoded.pixels):
            raise ImageError(f"{job.name}: blank, every pixel is {decoded.pixels[0, 0].tolist()}.")
    except ImageError as error:
        return job.cataid, Outcome(rejected=str(error))
    storage.write_image(storage.image_path(images, job.cataid), decoded.pixels)
    return job.cataid, Outcome("", decoded.format, decoded.mode, decoded.conversion)
