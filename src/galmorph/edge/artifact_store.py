"""Where MLflow keeps its artifacts: a folder, or a bucket."""

from dataclasses import dataclass
from pathlib import Path

import fsspec

from galmorph.errors import BackupError


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
        self._files, root = fsspec.core.url_to_fs(address)
        self._root = root.rstrip("/")

    def list(self) -> dict[str, Found]:
        """Return all files by their paths; none where there is no such folder."""
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
            When it is gone meanwhile.
        """
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
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(source), target)


def _version(facts: dict[str, object]) -> str:
    """Return a bucket's ETag, or the time of a file."""
    return str(next(facts[name] for name in ("ETag", "mtime", "created") if facts.get(name) is not None))
