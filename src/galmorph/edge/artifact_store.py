"""Where MLflow keeps its artifacts: a folder, or a bucket."""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec

from galmorph.errors import BackupError
from galmorph.storage import named_storage_errors


@dataclass(frozen=True)
class Found:
    """An artifact: its size in bytes, and what changes whenever it is written again."""

    size: int
    version: str


class ArtifactStore:
    """A folder or `s3://bucket/prefix`, whose files go by their paths in it.

    Buckets are reached as botocore does (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL_S3`).

    Attributes
    ----------
    address
        As it was given.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        with self._named_errors():
            self._files, root = fsspec.core.url_to_fs(address)
        self._root = root.rstrip("/")

    def list(self) -> dict[str, Found]:
        """Return all files by their paths; none where there is no such folder."""
        with self._named_errors():
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        return {
            path.removeprefix(self._root).lstrip("/"): Found(int(facts["size"]), _version(facts))
            for path, facts in sorted(found.items())
        }

    def get(self, path: str, target: Path) -> None:
        """Copy a file to here.

        Raises
        ------
        BackupError
            When it is gone meanwhile, or the store does not answer.
        """
        with self._named_errors():
            try:
                self._files.get_file(f"{self._root}/{path}", str(target))
            except FileNotFoundError as error:
                raise BackupError(
                    f"{self.address}: {path} was removed while the backup was made. Let `mlflow gc` wait, and run the "
                    f"backup again. Received: {error}"
                ) from error

    def put(self, source: Path, path: str) -> None:
        """Copy a file from here."""
        target = f"{self._root}/{path}"
        with named_storage_errors(Path(self.address)), self._named_errors():
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(source), target)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Name a bucket in whatever its client raises: not all of it is an OSError. A folder's errors are as usual."""
        try:
            yield
        except BackupError:
            raise
        except OSError as error:
            # No space: here, not in the bucket.
            if "://" not in self.address or error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._unreachable(error) from error
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BackupError:
        return BackupError(
            f"{self.address}: cannot be reached. Check the address, and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            f"AWS_ENDPOINT_URL_S3. Received: {type(error).__name__}: {error}"
        )


def _version(facts: dict[str, object]) -> str:
    """Return a bucket's ETag, or the time of a file."""
    return str(next(facts[name] for name in ("ETag", "mtime", "created") if facts.get(name) is not None))
