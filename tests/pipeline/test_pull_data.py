"""The data of a git revision, from a real DVC remote."""

import json
import shutil
from pathlib import Path

import pytest

from galmorph.cluster.artifacts import restore
from galmorph.cluster.revisions import pull_data
from tests.project import Project
from tests.unit.cluster.test_artifacts import Handed


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory) -> Project:
    """A repository whose dvc.lock is committed, and whose data are in a remote only."""
    folder = tmp_path_factory.mktemp("published")
    remote, clone = folder / "remote", folder / "clone"
    finished.dvc("remote", "add", "--local", "--force", "published", str(remote))
    finished.dvc("push", "--remote", "published", "data/raw")
    finished.git("clone", "--quiet", str(finished.folder), str(clone))
    shutil.copy(finished.folder / "dvc.lock", clone / "dvc.lock")
    project = Project.at(clone)
    project.dvc("remote", "add", "--default", "store", str(remote))
    project.commit("Keep the lock")
    project.git("tag", "data-1")
    return project


def raw_of(published: Project, folder: Path, repository: str = "", revision: str = "data-1") -> tuple[Path, str]:
    artifact = Handed(str(folder / "artifact"))
    commit = pull_data(repository or str(published.folder), revision, artifact)
    (folder / "working").mkdir()
    restore([artifact], folder / "working")
    return folder / "working" / "data" / "raw", commit


def test_the_galaxies_are_those_of_the_revision(published, finished, tmp_path):
    raw, commit = raw_of(published, tmp_path)
    assert commit == published.git("rev-parse", "data-1").strip()
    there = finished.folder / "data" / "raw"
    files = sorted(path.relative_to(raw) for path in raw.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(there) for path in there.rglob("*") if path.is_file())
    for name in files:
        if name.name != "source.json":
            assert (raw / name).read_bytes() == (there / name).read_bytes()


def test_they_name_the_revision(published, finished, tmp_path):
    raw, commit = raw_of(published, tmp_path)
    source = json.loads((raw / "source.json").read_text())
    lock = (finished.folder / "dvc.lock").read_text()
    assert source["data_commit"] == commit
    assert source["dvc_revision"].endswith(".dir")
    assert source["dvc_revision"] in lock
    assert source["source"] == "simulate"


def test_nothing_is_left_in_the_repository(published, tmp_path):
    raw_of(published, tmp_path)
    assert not (published.folder / "data" / "raw").exists()
    assert published.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("repository", "revision", "expected"),
    [
        ("", "no-such-tag", "no-such-tag: the data cannot be had. .* Received: "),
        ("/no/such/repository", "main", "/no/such/repository at main: the data cannot be had"),
        ("", "HEAD~1", r"DVC has no data/raw there"),
    ],
)
def test_what_is_not_there_is_named(published, tmp_path, repository, revision, expected):
    with pytest.raises(SystemExit, match=expected):
        raw_of(published, tmp_path, repository, revision)


def test_data_that_the_remote_lost_are_named(published, tmp_path):
    remote = published.folder.parent / "remote"
    remote.rename(remote.with_name("gone"))
    try:
        with pytest.raises(SystemExit, match=r"galmorph: pull_data: .*dvc push"):
            raw_of(published, tmp_path)
    finally:
        remote.with_name("gone").rename(remote)
