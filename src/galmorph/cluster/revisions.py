"""The data of a git revision, from its DVC remote."""

import tempfile
from pathlib import Path

from galmorph.cluster.artifacts import Artifact, deliver
from galmorph.cluster.process import component
from galmorph.errors import UpstreamError
from galmorph.stages import SOURCE_FILE, STAGES
from galmorph.storage import read_json, write_json


def pull_data(repository: str, revision: str, raw: Artifact) -> str:
    """Get the raw galaxies of a revision, and return the name of its commit.

    Parameters
    ----------
    repository
        URL or path of a git repository with galmorph's dvc.lock in it.
    revision
        A branch, tag or commit.
    raw
        To be filled with the galaxies. Their `source.json`, and so every card that is made of it, names the commit
        and what DVC calls the data.

    Raises
    ------
    SystemExit
        With a message, when the repository, the revision or the data cannot be had.
    """
    with component("pull_data"):
        place = Path(STAGES["acquire"].outputs["raw"])
        commit, name = _fetch(repository, revision, place)
        source = place / SOURCE_FILE
        write_json(source, {**read_json(source), "data_commit": commit, "dvc_revision": name})
        deliver(place, raw)
        return commit


def _fetch(repository: str, revision: str, place: Path) -> tuple[str, str]:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import SCMError

    place.parent.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory(prefix="galmorph-dvc-") as cache:
            files = DVCFileSystem(repository, rev=revision, config={"cache": {"dir": cache}})
            found = files.info(place.as_posix())
            files.get(place.as_posix(), str(place), recursive=True)
            return str(files.repo.get_rev()), str(found["dvc_info"]["md5"])
    except FileNotFoundError as error:
        raise UpstreamError(
            f"{repository} at {revision}: DVC has no {place} there, or its remote does not hold it. `dvc push` it, and "
            f"commit dvc.lock. Received: {error}"
        ) from error
    except (DvcException, SCMError, OSError) as error:
        raise UpstreamError(
            f"{repository} at {revision}: the data cannot be had. Check the URL, that there is such a revision, and "
            f"the credentials of git and of the DVC remote. Received: {error}"
        ) from error
