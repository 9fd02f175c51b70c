"""Backups of artifacts and dumps: whole, checked, and of no more space than they need."""

import time

import fsspec
import pytest

from galmorph.edge import backup as module
from galmorph.edge.artifact_store import ArtifactStore
from galmorph.edge.backup import backup, checked, restore
from galmorph.errors import BackupError
from galmorph.storage import read_json

FILES = {"1/run/artifacts/model/model.keras": b"weights", "1/run/artifacts/model_card.md": b"# card", "top": b""}


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def stamps(monkeypatch):
    """Backups a second apart, without the waiting."""

    class Clock:
        second = 0

        def now(self, zone):
            from datetime import UTC, datetime

            Clock.second += 1
            return datetime(2026, 1, 2, 3, 4, Clock.second, tzinfo=UTC)

    monkeypatch.setattr(module, "datetime", Clock())


@pytest.fixture
def dumps(tmp_path):
    folder = tmp_path / "dumps"
    folder.mkdir()
    (folder / "mlflow.dump").write_bytes(b"tables")
    return folder


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    """Artifacts in a folder, and in a store that is none."""
    address = str(tmp_path / "artifacts") if request.param == "folder" else f"memory://{tmp_path.name}"
    made = ArtifactStore(address)
    for path, content in FILES.items():
        (tmp_path / "content").write_bytes(content)
        made.put(tmp_path / "content", path)
    yield made
    if request.param == "bucket":
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_comes_back_as_it_was(store, dumps, tmp_path):
    made = backup(store, tmp_path / "backups", dumps=dumps)
    assert contents(made / "artifacts") == FILES
    assert (made / "databases/mlflow.dump").read_bytes() == b"tables"
    back = ArtifactStore(str(tmp_path / "back"))
    assert restore(made, back, databases=False) == ["mlflow"]
    assert contents(tmp_path / "back") == FILES
    # Cut short, it is begun again.
    (tmp_path / "back/top").unlink()
    restore(made, back, databases=False)
    assert contents(tmp_path / "back") == FILES


def test_what_did_not_change_takes_no_space_again_and_what_did_is_copied(store, dumps, tmp_path, stamps):
    first = backup(store, tmp_path / "backups", dumps=dumps)
    time.sleep(0.02)  # the clock of file systems
    (tmp_path / "content").write_bytes(b"WEIGHTS")
    store.put(tmp_path / "content", "1/run/artifacts/model/model.keras")
    second = backup(store, tmp_path / "backups", dumps=dumps)
    assert contents(first / "artifacts") == FILES
    assert contents(second / "artifacts") == {**FILES, "1/run/artifacts/model/model.keras": b"WEIGHTS"}
    same = "artifacts/1/run/artifacts/model_card.md"
    assert (first / same).samefile(second / same)
    assert checked(first)
    assert checked(second)


def test_a_backup_is_whole_without_the_one_before(store, dumps, tmp_path, stamps):
    first = backup(store, tmp_path / "backups", dumps=dumps, keep=1)
    second = backup(store, tmp_path / "backups", dumps=dumps, keep=1)
    assert not first.exists()
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [second.name]
    assert len(checked(second)["artifacts"]) == len(FILES)


def test_only_old_whole_backups_are_removed(store, dumps, tmp_path, stamps):
    backups = tmp_path / "backups"
    (backups / "20250101T000000Z").mkdir(parents=True)  # without a record: somebody else's
    (backups / "notes").mkdir()
    (backups / ".20260101T000000Z.partial/artifacts").mkdir(parents=True)
    made = [backup(store, backups, dumps=dumps, keep=2) for _ in range(3)]
    assert {path.name for path in backups.iterdir()} == {
        "20250101T000000Z", "notes", made[1].name, made[2].name,
    }  # fmt: skip


def test_a_backup_that_fails_leaves_nothing_and_the_old_ones_stay(store, dumps, tmp_path, stamps):
    backups = tmp_path / "backups"
    kept = backup(store, backups, dumps=dumps, keep=1)
    (dumps / "mlflow.dump").unlink()
    with pytest.raises(BackupError, match="no dumps"):
        backup(store, backups, dumps=dumps, keep=1)
    assert [path.name for path in backups.iterdir()] == [kept.name]


def test_an_empty_store_is_a_wrong_address(tmp_path, dumps):
    with pytest.raises(BackupError, match=r"no artifacts.*--artifacts-destination"):
        backup(ArtifactStore(str(tmp_path / "nowhere")), tmp_path / "backups", dumps=dumps)
    assert not list((tmp_path / "backups").iterdir())


@pytest.mark.parametrize("damage", ["changed", "missing"])
@pytest.mark.parametrize("name", ["artifacts/1/run/artifacts/model_card.md", "databases/mlflow.dump"])
def test_a_damaged_backup_is_named_and_nothing_is_restored(store, dumps, tmp_path, name, damage):
    made = backup(store, tmp_path / "backups", dumps=dumps)
    if damage == "missing":
        (made / name).unlink()
    else:
        (made / name).write_bytes(b"rot")
    with pytest.raises(BackupError, match=f"{name}: not what was backed up"):
        restore(made, ArtifactStore(str(tmp_path / "back")), databases=False)
    assert not (tmp_path / "back").exists()


def test_nothing_is_overwritten(store, dumps, tmp_path):
    made = backup(store, tmp_path / "backups", dumps=dumps)
    (tmp_path / "back/2").mkdir(parents=True)
    (tmp_path / "back/2/other").write_bytes(b"theirs")
    with pytest.raises(BackupError, match=r"not of this backup.*Received: 1 of them, such as 2/other"):
        restore(made, ArtifactStore(str(tmp_path / "back")), databases=False)
    assert contents(tmp_path / "back") == {"2/other": b"theirs"}


def test_a_folder_that_is_no_backup_is_refused(tmp_path):
    with pytest.raises(BackupError, match=r"no backup, for it has no backup\.json"):
        checked(tmp_path)


@pytest.mark.parametrize("named", ["backups", "backups/none-was-named"])
def test_who_names_no_backup_is_told_which_there_are(store, dumps, tmp_path, stamps, named):
    made = [backup(store, tmp_path / "backups", dumps=dumps) for _ in range(2)]
    with pytest.raises(BackupError, match=f"Name one that is there: {made[0]}, {made[1]}. Received: "):
        checked(tmp_path / named)


def test_an_artifact_that_goes_meanwhile_stops_the_backup(store, tmp_path):
    with pytest.raises(BackupError, match="was removed while the backup was made"):
        store.get("1/gone", tmp_path / "here")


def test_a_store_that_is_none_is_named():
    with pytest.raises(BackupError, match=r"nosuch://bucket: cannot be reached.*Received: ValueError: Protocol"):
        ArtifactStore("nosuch://bucket")


def test_the_record_says_what_is_in_it(store, dumps, tmp_path):
    record = read_json(backup(store, tmp_path / "backups", dumps=dumps) / "backup.json")
    assert record["artifacts"].keys() == FILES.keys()
    assert record["artifacts"]["top"]["size"] == 0
    assert list(record["databases"]) == ["mlflow"]
