"""A backup of the registry: MLflow's databases and its artifacts, as they belonged together at one time.

The order makes them belong together, with the server running. `register` writes a version's artifacts before the
version, and its export before the tags that name it; MLflow removes none unless somebody asks (`mlflow gc`). So the
databases are dumped first: what a dump names is among the artifacts that are copied afterwards. What came between is
copied too, and no dump knows of it.
"""

import importlib.metadata
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from galmorph.edge.artifact_store import ArtifactStore, Found
from galmorph.edge.locking import one_at_a_time
from galmorph.errors import BackupError
from galmorph.storage import digest_file, output_folder, read_json, write_json

_log = logging.getLogger(__name__)

#: What a backup is made of. The record is written last.
RECORD, DUMPS, ARTIFACTS = "backup.json", "databases", "artifacts"
_STAMP = "%Y%m%dT%H%M%SZ"


def backup(
    store: ArtifactStore, backups: Path, *, databases: Sequence[str] = (), dumps: Path | None = None, keep: int = 0
) -> Path:
    """Back up databases and artifacts into a folder of their own, whole or not at all.

    An artifact that did not change since the last backup is a hard link to that one's copy, where the file system has
    them: it takes no space again.

    Parameters
    ----------
    store
        Where MLflow keeps its artifacts.
    backups
        The folder of all backups.
    databases
        To be dumped here by `pg_dump`. How they are reached, its own variables say (`PGHOST`, `PGUSER`, ...).
    dumps
        A folder of `<database>.dump` that another process made just before this one, instead.
    keep
        How many backups stay; 0: all.

    Returns
    -------
    Path
        The backup.

    Raises
    ------
    BackupError
        When a database or an artifact cannot be had.
    StorageError
        When `backups` cannot be written.
    """
    with one_at_a_time("backup", str(backups.resolve())):
        for cut_short in backups.glob(".*.partial"):
            shutil.rmtree(cut_short)
        before = _newest(backups)
        made = backups / datetime.now(UTC).strftime(_STAMP)
        with output_folder(made) as folder:
            named = _collect(dumps, folder / DUMPS) if dumps else [_dump(each, folder / DUMPS) for each in databases]
            copied = _copy(store, folder / ARTIFACTS, before)
            record = {
                "made": made.name,
                "galmorph": importlib.metadata.version("galmorph"),
                "databases": {path.stem: digest_file(path) for path in named},
                "artifacts": copied,
            }
            write_json(folder / RECORD, record)
        for old in _all(backups)[:-keep] if keep else []:
            shutil.rmtree(old)
        return made


def restore(folder: Path, store: ArtifactStore, *, databases: bool = True) -> list[str]:
    """Bring a backup back into empty databases and an empty artifact store; nothing is overwritten.

    The artifacts come first, so that no server can name what is not there. A restore that was cut short is begun again
    by the same command.

    Parameters
    ----------
    folder
        The backup.
    store
        Where the artifacts shall be.
    databases
        Whether to restore the dumps with `pg_restore`, each into the database of its name; False: somebody else does.

    Returns
    -------
    list of str
        The databases of the backup.

    Raises
    ------
    BackupError
        When the backup is damaged, or there is something else already where it shall be.
    """
    record = checked(folder)
    names = sorted(record["databases"])
    for name in names if databases else ():
        _refuse_tables(name)
    strangers = sorted(store.list().keys() - record["artifacts"].keys())
    if strangers:
        raise BackupError(
            f"{store.address}: holds artifacts that are not of this backup. Name an empty store: nothing is "
            f"overwritten. Received: {len(strangers)} of them, such as {strangers[0]}"
        )
    for path in record["artifacts"]:
        store.put(folder / ARTIFACTS / path, path)
    for name in names if databases else ():
        _run(
            "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges",
            f"--dbname={name}", str(folder / DUMPS / f"{name}.dump"),
        )  # fmt: skip
    return names


def checked(folder: Path) -> dict[str, Any]:
    """Return a backup's record, after every file was compared with it.

    Raises
    ------
    BackupError
        Naming the first file that is missing or another.
    """
    if not (folder / RECORD).is_file():
        there = [str(path) for path in (*_all(folder), *_all(folder.parent))]
        raise BackupError(
            f"{folder}: no backup, for it has no {RECORD}. Name one that is there: {', '.join(there) or 'none is'}. "
            f"Received: {folder}"
        )
    record = read_json(folder / RECORD)
    expected = {f"{DUMPS}/{name}.dump": digest for name, digest in record["databases"].items()}
    expected |= {f"{ARTIFACTS}/{path}": facts["sha256"] for path, facts in record["artifacts"].items()}
    for path, digest in expected.items():
        found = digest_file(folder / path) if (folder / path).is_file() else "nothing"
        if found != digest:
            raise BackupError(
                f"{folder / path}: not what was backed up. Take another backup, and look after this disk. "
                f"Received: {found}, not {digest}"
            )
    return record


def _all(backups: Path) -> list[Path]:
    """Return the whole backups, the oldest first: their names are times."""
    return sorted(path.parent for path in backups.glob(f"[0-9]*/{RECORD}"))


def _newest(backups: Path) -> Path | None:
    found = _all(backups)
    return found[-1] if found else None


def _dump(database: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{database}.dump"
    _run("pg_dump", "--format=custom", f"--file={path}", f"--dbname={database}")
    return path


def _collect(dumps: Path, folder: Path) -> list[Path]:
    found = sorted(dumps.glob("*.dump"))
    if not found:
        raise BackupError(f"{dumps}: no dumps. Run pg_dump --format=custom first. Received: no file *.dump")
    folder.mkdir()
    return [Path(shutil.copy2(path, folder)) for path in found]


def _copy(store: ArtifactStore, folder: Path, before: Path | None) -> dict[str, dict[str, Any]]:
    """Copy all artifacts; return size, version and SHA-256 of each by its path."""
    known = read_json(before / RECORD)["artifacts"] if before else {}
    found = store.list()
    if not found:
        raise BackupError(
            f"{store.address}: no artifacts. Name what MLflow's server was given as --artifacts-destination. "
            "Received: an empty store"
        )
    copied = {}
    for path, facts in found.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        old = known.get(path, {"size": -1, "version": ""})
        same = facts == Found(old["size"], old["version"])
        if same and before is not None and _linked(before / ARTIFACTS / path, target):
            digest = old["sha256"]
        else:
            store.get(path, target)
            digest = digest_file(target)
        copied[path] = {"size": facts.size, "version": facts.version, "sha256": digest}
    return copied


def _linked(old: Path, new: Path) -> bool:
    """Whether a file could be had again without taking space."""
    try:
        os.link(old, new)
    except OSError:
        return False
    return True


def _refuse_tables(database: str) -> None:
    import psycopg

    try:
        with psycopg.connect(dbname=database) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchone()
    except psycopg.OperationalError as error:
        raise BackupError(
            f"the database {database} cannot be reached. Create it, empty, and check PGHOST, PGPORT, PGUSER and "
            f"PGPASSWORD. Received: {error}"
        ) from error
    if row and row[0]:
        raise BackupError(
            f"the database {database} is not empty. Drop it and create it anew, or restore into another server: "
            f"nothing is overwritten. Received: {row[0]} tables"
        )


def _run(program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; what it said is in the error."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise BackupError(
            f"{program} is not installed. Install PostgreSQL's client, at least as new as the server "
            f"(apt-get install postgresql-client). Received: {error}"
        ) from error
    if done.returncode:
        raise BackupError(
            f"{program} failed. Check PGHOST, PGPORT, PGUSER and PGPASSWORD, and that {program} is at least as new as "
            f"the server. Received: {done.stderr.strip()[-1000:]}"
        )
    if done.stderr.strip():
        _log.warning("%s: %s", program, done.stderr.strip())
