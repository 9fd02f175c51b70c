"""Which image of an archive belongs to which galaxy, by its name."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from galmorph.errors import ArchiveError


@dataclass(frozen=True)
class Matches:
    """Which image belongs to which galaxy.

    Attributes
    ----------
    images
        CATAID to the image's name in the archive.
    unlabelled
        Ids that have an image and no row, to the names of their images.
    passed_over
        Further images of galaxies that an earlier pattern has found.
    """

    images: dict[str, str]
    unlabelled: dict[str, list[str]]
    passed_over: list[str]


def match_images(cataids: Iterable[str], members: Iterable[str], patterns: Sequence[str]) -> Matches:
    """Find the image of each galaxy, anywhere in an archive.

    Parameters
    ----------
    cataids
        Ids, all of them safe as file names.
    members
        Names of the archive's files, folders separated by `/`.
    patterns
        What an image is called, `{CATAID}` standing for the id; the first that finds one counts. A pattern with
        folders in it must fit the end of the image's path.

    Raises
    ------
    ArchiveError
        When one pattern finds two images of one galaxy, or one image fits two galaxies.
    """
    ends = {pattern: _by_end(members, pattern.count("/") + 1) for pattern in patterns}
    images: dict[str, str] = {}
    labelled = set(cataids)
    taken: set[str] = set()
    passed_over = []
    for cataid in sorted(labelled):
        for pattern in patterns:
            found = ends[pattern].get(pattern.replace("{CATAID}", cataid), [])
            if cataid in images:
                passed_over += found
            elif len(found) > 1:
                raise ArchiveError(
                    f"{found[0]} and {found[1]} both fit {pattern!r} for galaxy {cataid}. Put the folder into the "
                    f"pattern (acquire.archive.patterns in params.yaml), for example 'FOLDER/{pattern}'. "
                    f"Received: {len(found)} images"
                )
            elif found:
                images[cataid] = found[0]
            taken.update(found)
    owners: dict[str, str] = {}
    for cataid, name in images.items():
        if name in owners:
            raise ArchiveError(
                f"{name} fits galaxy {owners[name]} by one pattern and {cataid} by another. Leave the right one in "
                f"acquire.archive.patterns in params.yaml. Received: {', '.join(patterns)}"
            )
        owners[name] = cataid
    unlabelled: defaultdict[str, list[str]] = defaultdict(list)
    for pattern in patterns:
        shape = re.compile("([^/]+)".join(map(re.escape, pattern.split("{CATAID}"))))
        for end, found in ends[pattern].items():
            if fit := shape.fullmatch(end):
                free = [name for name in found if name not in taken]
                taken.update(free)
                if fit[1] not in labelled:
                    unlabelled[fit[1]] += free
    others = {cataid: sorted(names) for cataid, names in sorted(unlabelled.items()) if names}
    return Matches(images, others, sorted(set(passed_over) - set(images.values())))


def _by_end(members: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Group names by their last `depth` parts."""
    ends = defaultdict(list)
    for name in sorted(members):
        parts = name.split("/")
        if len(parts) >= depth:
            ends["/".join(parts[-depth:])].append(name)
    return ends


def printable(name: str) -> str:
    """Write out what is not valid text in a file's name, so that the name can be written down."""
    return name.encode("utf-8", "backslashreplace").decode()
