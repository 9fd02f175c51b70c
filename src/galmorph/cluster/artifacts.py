"""Between the artifacts of a pipeline and the places that stages know.

A stage reads and writes paths relative to its working folder; a component of a pipeline is handed a path for each
artifact. An artifact carries in its metadata where its content belongs, so that whoever gets it, under whatever name,
puts it there.
"""

import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from galmorph.errors import InputError
from galmorph.stage import DATA

#: The metadata that says where the content belongs, and whether it is a folder in one file.
PLACE, PACKED = "place", "packed"


class Artifact(Protocol):
    """What is used of an artifact of Kubeflow Pipelines."""

    name: str
    metadata: dict[str, Any]

    @property
    def path(self) -> str:
        """Where its content is, or shall be."""


def restore(artifacts: Iterable[Artifact], folder: Path) -> None:
    """Put the content of artifacts where it belongs below a working folder.

    What is read as it is becomes a link: artifacts are not copied. What an earlier attempt put there is replaced.

    Parameters
    ----------
    artifacts
        Each with its metadata, as `deliver` left it.
    folder
        The working folder.

    Raises
    ------
    InputError
        When an artifact does not say where it belongs.
    """
    for artifact in artifacts:
        place = folder / _place(artifact)
        _remove(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        if artifact.metadata.get(PACKED):
            place.mkdir()
            with tarfile.open(artifact.path) as packed:
                packed.extractall(place, filter="data")
        else:
            place.symlink_to(Path(artifact.path).resolve())


def deliver(made: Path, artifact: Artifact) -> None:
    """Make a file or folder of the working folder the content of an artifact.

    Folders of data become one file: they are thousands of images, and a store is asked for each file by itself.

    Parameters
    ----------
    made
        Its place, relative to the working folder, which is the current one.
    artifact
        What it shall be the content of.
    """
    target = Path(artifact.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(target)
    packed = made.is_dir() and made.parts[0] == DATA
    if packed:
        _pack(made, target)
    elif made.is_dir():
        shutil.copytree(made, target)
    else:
        shutil.copyfile(made, target)
    artifact.metadata.update({PLACE: made.as_posix(), PACKED: packed})


def _place(artifact: Artifact) -> Path:
    place = artifact.metadata.get(PLACE)
    found = Path(str(place))
    if place is None or found.is_absolute() or ".." in found.parts:
        raise InputError(
            f"artifact {artifact.name!r}: its metadata must say where it belongs, as that of every artifact that a "
            f"component of galmorph made does. Give one of those. Received: {PLACE} = {place!r}"
        )
    return found


def _pack(folder: Path, target: Path) -> None:
    """Write a folder into one file; equal content makes equal files. Images are compressed already."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(target, "w", dereference=True) as packed:
        for path in sorted(folder.rglob("*")):
            packed.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=plain)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
