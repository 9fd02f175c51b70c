"""Reading and writing: whole or not at all.

A file is written under a temporary name beside its place and renamed; a folder is filled beside its place and renamed
when it is complete. What an interrupted run leaves has a name that starts with a dot and is never read as a result.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from galmorph.errors import ImageError, InputError, StorageError

#: What `replacing` leaves when the process is killed in it.
_HALF_WRITTEN = ".*.partial*"


@contextlib.contextmanager
def named_storage_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" and "permission denied" into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path}: no space left on the device. Nothing that was there is lost: free some space and run "
                f"the same command again, it goes on where it stopped. Received: {error}"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS):
            raise StorageError(
                f"{path}: cannot be written. Check the folder's permissions. Received: {error}"
            ) from error
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, renamed to `path` when the block ends without an error.

    Parameters
    ----------
    path
        Where the file shall be. Its folder is made when it is missing.

    Yields
    ------
    Path
        Where to write. It keeps the suffix of `path`.
    """
    with named_storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Named before it is made: an interrupt in the middle of making it must find it to take it away.
        temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with sorted keys, so that equal content makes equal files."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content: dict[str, Any] = json.loads(_existing(path).read_text())
    return content


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet or CSV, by the suffix of `path`."""
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that galmorph wrote, Parquet or CSV by suffix; ids are text and keep their leading zeros."""
    _existing(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    text = ("CATAID", "label", "rejected")
    others = [name for name in pd.read_csv(path, nrows=0).columns if name not in text]
    # An id "NA" stays one, and an empty label is an empty text; elsewhere empty means no value.
    return pd.read_csv(
        path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values={name: [""] for name in others}
    )


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an `(H, W, 3)` uint8 RGB array as PNG."""
    done, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise ImageError(f"{path}: the array cannot be encoded as PNG. Received: shape {image.shape}, {image.dtype}")
    write_bytes(path, encoded.tobytes())


def read_image(path: Path) -> np.ndarray:
    """Read a PNG that galmorph wrote as an `(H, W, 3)` uint8 RGB array; for images from outside see `data.images`."""
    image = cv2.imdecode(np.frombuffer(_existing(path).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ImageError(f"{path}: not a readable PNG. Delete it and run the stage that makes it again.")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def image_path(folder: Path, cataid: str) -> Path:
    """Where the image of a galaxy lies in a folder of images: `<CATAID>.png`."""
    return folder / f"{cataid}.png"


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path}: no such file. Run the stage that makes it first (`dvc repro` does, in order).")
    return path


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fingerprint(*parts: Any) -> str:
    """SHA-256, in hexadecimal, of values that JSON can hold: equal work has an equal fingerprint."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@contextlib.contextmanager
def output_folder(path: Path, work: str | None = None) -> Iterator[Path]:
    """Yield a folder beside `path` to fill, renamed to `path` when the block ends without an error.

    Parameters
    ----------
    path
        The result's folder. What it held is replaced at the end, in one rename, and stays untouched until then.
    work
        A `fingerprint` of the work to be done. A folder that an interrupted run of the same work left is handed out
        again with what it holds, and a failure leaves it for the next run; other left-overs are thrown away. None:
        always start empty, and leave nothing after a failure.

    Yields
    ------
    Path
        The folder to fill.
    """
    partial = path.parent / f".{path.name}.partial"
    # Beside the folder and not in it: what is in there is the result.
    mark = path.parent / f".{path.name}.work"
    with named_storage_errors(path):
        if work is None or not (partial.exists() and mark.exists() and mark.read_text() == work):
            shutil.rmtree(partial, ignore_errors=True)
            mark.unlink(missing_ok=True)
            partial.mkdir(parents=True)
            if work is not None:
                write_text(mark, work)
        for half_written in partial.rglob(_HALF_WRITTEN):
            half_written.unlink()
        try:
            yield partial
        except BaseException:
            if work is None:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        replaced = path.parent / f".{path.name}.replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
        mark.unlink(missing_ok=True)
        shutil.rmtree(replaced, ignore_errors=True)
