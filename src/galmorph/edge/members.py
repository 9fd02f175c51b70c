"""The files of a folder, a zip or a tar: what is there, and their bytes, one file at a time.

Nothing is ever unpacked: bytes are read into memory, and a member's name is no path to write to. All the same an
archive with a member that would leave its folder is refused, for it was not made in good faith or not made well.
"""

import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path
from typing import Literal

from galmorph.errors import ArchiveError, ImageError

_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED = 0x1
_LONGEST_PATH = 4096  # bytes, on Linux
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LZMAError,
    ValueError,
    NotImplementedError,
    OSError,
)


@dataclass(frozen=True)
class Source:
    """A folder or archive and what is in it.

    Attributes
    ----------
    path
        Where it lies.
    kind
        How it is read.
    members
        Name of each file, folders separated by `/`, to its place: its number in the archive. Hidden files and what
        macOS adds (`__MACOSX`) are left out; of a name that is there twice, the later one counts, as when unpacking.
    """

    path: Path
    kind: Literal["folder", "zip", "tar"]
    members: Mapping[str, int] = field(repr=False)


def open_source(path: Path) -> Source:
    """List what is in a folder, zip or tar (also .tar.gz, .tar.bz2, .tar.xz), told by its content.

    In a folder, links are followed. In an archive they are when they stay inside it; what they stand for is then there
    under both names.

    Raises
    ------
    ArchiveError
        When there is nothing at `path`, or it is neither; when the archive is damaged or encrypted; when a member has
        an absolute path, one with `..`, or is a link out of the archive, a device or a pipe.
    """
    if path.is_dir():
        return Source(path, "folder", dict.fromkeys(sorted(_files(path)), 0))
    if not path.is_file():
        raise ArchiveError(f"{path}: no such folder or archive. Check acquire.path. Received: {str(path)!r}")
    with _readable(path), path.open("rb") as content:
        start = content.read(4)
    if not start:
        raise ArchiveError(f"{path}: the archive is empty. Copy it again. Received: 0 bytes")
    if start in _ZIP_MARKS:
        return Source(path, "zip", _zip_members(path))
    return Source(path, "tar", _tar_members(path))


def read_member(path: Path, kind: Literal["folder", "zip"], name: str, place: int, limit: int) -> bytes:
    """Read one file of a folder or zip.

    Parameters
    ----------
    path, kind
        Of the source.
    name, place
        One of its members.
    limit
        The most bytes it may have: a few kilobytes of zip can unpack to more than the memory holds.

    Raises
    ------
    ImageError
        When this member alone cannot be had: it is too long or damaged.
    ArchiveError
        When the file, or the zip as a whole, cannot be read.
    """
    if kind == "folder":
        with _readable(path / name), (path / name).open("rb") as content:
            return _limited(content.read, name, limit)
    with _readable(path):
        archive = _opened_zip(path, path.stat().st_mtime_ns)
    try:
        with archive.open(archive.infolist()[place]) as packed:
            return _limited(packed.read, name, limit)
    except NotImplementedError as error:
        raise ArchiveError(
            f"{path}: {name} is packed in a way that cannot be read. Pack it again with another program. "
            f"Received: {error}"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, LZMAError) as error:
        raise ImageError(f"{name}: damaged in the zip. Pack it again. Received: {error}") from error


def stream_tar(path: Path, wanted: Mapping[str, int], limit: int) -> Generator[tuple[str, bytes | ImageError]]:
    """Read files of a tar in one pass from front to back; a compressed tar can be read no other way.

    Parameters
    ----------
    path
        Of the tar.
    wanted
        The members to read, and their places.
    limit
        The most bytes one may have.

    Yields
    ------
    tuple
        A wanted name and its content, or the error where it is longer than `limit`.
    """
    names: dict[int, list[str]] = {}
    for name, place in wanted.items():
        names.setdefault(place, []).append(name)
    with _readable(path), tarfile.open(path, "r:*", tarinfo=_StrictTarInfo) as archive:
        for place, info in enumerate(_each(archive)):
            if place not in names:
                continue
            content = archive.extractfile(info)
            for name in names.pop(place):
                if info.size > limit or content is None:
                    yield name, _too_long(name, limit)
                else:
                    content.seek(0)
                    yield name, content.read()
            if not names:
                return


def close_archives() -> None:
    """Close the zip that `read_member` keeps open in this process between calls."""
    _opened_zip.cache_clear()


def _too_long(name: str, limit: int) -> ImageError:
    return ImageError(f"{name}: longer than {limit:,} bytes, more than an image of max_pixels can need.")


def _limited(read: Callable[[int], bytes], name: str, limit: int) -> bytes:
    content = read(limit + 1)
    if len(content) > limit:
        raise _too_long(name, limit)
    return content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever reading `path` may raise into an `ArchiveError` that names it."""
    try:
        yield
    except PermissionError as error:
        raise ArchiveError(f"{path}: may not be read. Check its permissions. Received: {error}") from error
    except _DAMAGE as error:
        raise ArchiveError(
            f"{path}: not a zip or tar, truncated or damaged. Copy or pack it again. "
            f"Received: {type(error).__name__} {error}"
        ) from error


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a folder, following links, each folder once however many links lead to it."""

    def stop(error: OSError) -> None:
        raise ArchiveError(f"{error.filename}: cannot be listed. Check its permissions. Received: {error}") from error

    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True, onerror=stop):
        facts = Path(here).stat()
        known = (facts.st_dev, facts.st_ino) in seen
        seen.add((facts.st_dev, facts.st_ino))
        folders[:] = [] if known else sorted(name for name in folders if _shown(name))
        if known:
            continue
        # A pipe or device has no end to read to.
        inside = (Path(here) / name for name in files)
        yield from (name for file in inside if file.is_file() and _shown(name := file.relative_to(folder).as_posix()))


def _shown(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _zip_members(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    links: dict[str, str] = {}
    with _readable(path), zipfile.ZipFile(path) as archive:
        for place, info in enumerate(archive.infolist()):
            name = _inside(path, info.filename)
            if info.flag_bits & _ENCRYPTED:
                raise ArchiveError(
                    f"{path}: encrypted. Unpack it with its password and give the folder. Received: {name}"
                )
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind == stat.S_IFLNK:
                links[name] = _target(path, name, os.fsdecode(_beginning(archive, info)))
            elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _not_a_file(path, name)
            elif not info.is_dir():
                found[name] = place
    return _with_links(found, links)


def _beginning(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read what a link leads to: a path, however long the member says that it is."""
    with archive.open(info) as content:
        return content.read(_LONGEST_PATH)


def _tar_members(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    links: dict[str, str] = {}
    with _readable(path), tarfile.open(path, "r:*", tarinfo=_StrictTarInfo) as archive:
        for place, info in enumerate(_each(archive)):
            name = _inside(path, info.name)
            if info.issym():
                links[name] = _target(path, name, info.linkname)
            elif info.islnk():
                links[name] = _inside(path, info.linkname)
            elif info.isfile():
                found[name] = place
            elif not info.isdir():
                raise _not_a_file(path, name)
        # To the end: the checksum of a compressed tar comes last, and `tarfile` stops before it.
        while archive.fileobj and archive.fileobj.read(2**20):
            pass
    return _with_links(found, links)


def _each(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the entries of a tar without keeping them, so that memory does not grow with their number."""
    while (info := archive.next()) is not None:
        yield info
        archive.members.clear()  # type: ignore[attr-defined]


class _StrictTarInfo(tarfile.TarInfo):
    """An entry whose header must be sound: `tarfile` takes a broken one for the end, and drops what follows unsaid."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(archive)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} at byte {archive.offset:,}") from error


def _with_links(found: dict[str, int], links: Mapping[str, str]) -> dict[str, int]:
    linked = {name: found[target] for name, target in links.items() if target in found}
    return {name: place for name, place in {**found, **linked}.items() if _shown(name)}


def _inside(path: Path, name: str) -> str:
    """Normalise a member's name, or refuse one that leads out of the archive."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or (parts[0][:1].isalpha() and parts[0][1:2] == ":") or ".." in parts:
        raise _leaves(path, name)
    return "/".join(part for part in parts if part not in ("", "."))


def _target(path: Path, name: str, target: str) -> str:
    """Return what a symbolic link at `name` stands for, inside the archive."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.replace("\\", "/")))
    if joined.startswith("/") or joined.split("/")[0] == "..":
        raise _leaves(path, f"{name} -> {target}")
    return joined


def _leaves(path: Path, name: str) -> ArchiveError:
    return ArchiveError(
        f"{path}: a member leaves the archive's folder. Do not unpack it; ask for one that is packed from inside its "
        f"folder (`tar -C FOLDER -cf ARCHIVE .`). Received: {name!r}"
    )


def _not_a_file(path: Path, name: str) -> ArchiveError:
    return ArchiveError(
        f"{path}: holds a device or a pipe. Ask for an archive of files and folders alone. Received: {name!r}"
    )


@lru_cache(maxsize=1)
def _opened_zip(path: Path, _modified: int) -> zipfile.ZipFile:
    """Open a zip once a process: its table of contents takes longer to read than an image."""
    with _readable(path):
        return zipfile.ZipFile(path)
