"""Which images are to be answered: those of a catalogue's galaxies, or all; and what cannot be, with the reason.

Lean, for a million of them: each file's name is looked at once. `galmorph.data.matching` does the same for labelled
galaxies, and tells more about the files that belong to none.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from galmorph.data.cutouts import column_called, texts
from galmorph.data.identity import ids_digest
from galmorph.data.matching import printable
from galmorph.data.shard import Shard
from galmorph.errors import ArchiveError, CatalogueError

if TYPE_CHECKING:  # astropy takes a while to load, and the tables come from outside
    from astropy.table import Table


class Galaxy(NamedTuple):
    """A galaxy that has an image.

    Attributes
    ----------
    cataid, file
        Its id, and its image's name.
    place
        Of the image in its archive.
    row
        Its line in the catalogue; "" without one.
    """

    cataid: str
    file: str
    place: int
    row: str


class Rejected(NamedTuple):
    """A row of the catalogue, or a file, without an answer; what is not known of it is empty."""

    row: str
    cataid: str
    file: str
    reason: str


@dataclass(frozen=True)
class Wanted:
    """What a shard has to do.

    Attributes
    ----------
    galaxies
        In the order of the catalogue, or of their ids.
    rejected
        What cannot be answered, and is known before any image is read.
    ids, ids_digest
        How many ids all shards have together, those without an image too, and their digest.
    """

    galaxies: list[Galaxy]
    rejected: list[Rejected]
    ids: int
    ids_digest: str


class Listed(NamedTuple):
    """The galaxies of a catalogue: id to line, in its order; and the rows that cannot be used."""

    lines: dict[str, int]
    rejected: list[Rejected]


def listed(table: "Table", lines: Sequence[int], source: str, column: str) -> Listed:
    """Read the ids of a catalogue.

    Parameters
    ----------
    table
        The catalogue.
    lines
        Of each row: its line in the source, counting the header as line 1.
    source
        The catalogue's name, for messages.
    column
        Of the ids; found exactly, or else without regard to case.

    Raises
    ------
    CatalogueError
        When there is no such column, or no id in it.
    """
    name = column_called(table.colnames, column, "id", source)
    if name is None:
        raise CatalogueError(
            f"{source}: no column {column}. Name the column of ids in acquire.cutouts.columns.id. "
            f"Received: {', '.join(table.colnames)}"
        )
    first: dict[str, int] = {}
    rejected = []
    for cataid, line in zip(texts(table[name]), lines, strict=True):
        if not cataid:
            rejected.append(Rejected(str(line), "", "", "no id"))
        elif cataid in first:
            rejected.append(Rejected(str(line), cataid, "", f"the same id as line {first[cataid]}"))
        else:
            first[cataid] = line
    if not first:
        raise CatalogueError(
            f"{source}: holds no galaxy. Give a catalogue with ids in {name}. Received: {len(table)} rows"
        )
    return Listed(first, rejected)


def wanted(members: Mapping[str, int], patterns: Sequence[str], catalogue: Listed | None, shard: Shard) -> Wanted:
    """Find the images to answer.

    Parameters
    ----------
    members
        Names of files, folders separated by `/`, and their places.
    patterns
        What an image is called, `{CATAID}` standing for the id; the first that finds one counts. A pattern with
        folders in it must fit the end of the image's path.
    catalogue
        Whose galaxies are wanted; files of others are passed over in silence. None: every image is wanted.
    shard
        What is in another one is left out.

    Raises
    ------
    ArchiveError
        When one pattern finds two images of one galaxy.
    """
    found = _found(members, patterns, None if catalogue is None else catalogue.lines)
    lines: Mapping[str, int] = {} if catalogue is None else catalogue.lines
    ids = sorted(found.images) if catalogue is None else list(lines)
    galaxies, rejected = [], [] if catalogue is None else [one for one in catalogue.rejected if shard.holds(one.cataid)]
    looked_for = " or ".join(patterns)
    for cataid in ids:
        if not shard.holds(cataid):
            continue
        row, file = str(lines.get(cataid, "")), found.images.get(cataid)
        if file is None:
            reason = f"no image called {looked_for.replace('{CATAID}', cataid)}"
            rejected.append(Rejected(row, cataid, "", reason))
        else:
            galaxies.append(Galaxy(cataid, file, members[file], row))
    further = "its galaxy has an image by an earlier pattern"
    rejected += [Rejected("", "", file, further) for file in found.passed_over if shard.holds(file)]
    if catalogue is None:
        no_name = f"its name fits no pattern: {looked_for}"
        rejected += [Rejected("", "", file, no_name) for file in found.strangers if shard.holds(file)]
    return Wanted(galaxies, rejected, len(ids), ids_digest(ids))


class _Found(NamedTuple):
    """Id to file; further files of galaxies that have one; files of none."""

    images: dict[str, str]
    passed_over: list[str]
    strangers: list[str]


def _found(members: Collection[str], patterns: Sequence[str], ids: Collection[str] | None) -> _Found:
    shapes = [
        re.compile("(?:.*/)?" + "([^/]+)".join(map(re.escape, one.split("{CATAID}"))), re.DOTALL) for one in patterns
    ]
    images: dict[str, str] = {}
    ranks: dict[str, int] = {}
    twins: dict[str, str] = {}
    passed_over, strangers = [], []
    for file in sorted(members):
        cataid, rank = _owner(file, shapes, ids)
        if cataid is None:
            strangers.append(file)
        elif cataid not in images:
            images[cataid], ranks[cataid] = file, rank
        elif rank < ranks[cataid]:
            passed_over += [images[cataid], *([twins.pop(cataid)] if cataid in twins else [])]
            images[cataid], ranks[cataid] = file, rank
        elif rank == ranks[cataid]:
            twins[cataid] = file
        else:
            passed_over.append(file)
    for cataid, twin in twins.items():
        pattern = patterns[ranks[cataid]]
        raise ArchiveError(
            f"{images[cataid]} and {twin} both fit {pattern!r} for galaxy {cataid}. Put the folder into the pattern, "
            f"for example 'FOLDER/{pattern}'. Received: more than one image"
        )
    return _Found(images, passed_over, strangers)


def _owner(file: str, shapes: Sequence[re.Pattern[str]], ids: Collection[str] | None) -> tuple[str | None, int]:
    """Say whose image a file is, by its name, and by which pattern."""
    for rank, shape in enumerate(shapes):
        fit = shape.fullmatch(file)
        if fit is not None and (ids is None or fit[1] in ids):
            return printable(fit[1]), rank
    return None, len(shapes)
