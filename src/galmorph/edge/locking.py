"""One process at a time, on one host."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from galmorph.errors import InputError
from galmorph.storage import fingerprint, named_storage_errors

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def one_at_a_time(*names: str) -> Iterator[None]:
    """Hold a lock that only one process of this user on this host holds; wait for it where another does.

    The kernel frees it when the process ends, however it does.

    Parameters
    ----------
    *names
        What is locked. The file lies in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`): what is locked
        may be a server, which has no folder here.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "galmorph" / "locks"
    with named_storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / f"{fingerprint(*names)[:32]}.lock").open("w")
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("%s: another process on this host is at it; waiting for its end", " ".join(names))
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Hold a lock for a result; refuse where another process is making it.

    The lock is a hidden file beside the result, so that it holds on other hosts too where the file system passes locks
    on (NFS 4 does). The kernel frees it when the process ends, however it does.

    Parameters
    ----------
    path
        The result; its folder is made when it is missing.

    Raises
    ------
    InputError
        When another process holds it.
    StorageError
        When the folder cannot be written.
    """
    lock = path.parent / f".{path.name}.lock"
    with named_storage_errors(lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        held = lock.open("a")
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that ended just now has removed the file that was opened: the name may be another's already.
            taken = not (lock.exists() and os.path.samestat(os.fstat(held.fileno()), lock.stat()))
        except BlockingIOError:
            taken = True
        if taken:
            raise InputError(
                f"{path}: another process is writing it. Wait for its end, or give another name. Received: {lock.name}"
            )
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
