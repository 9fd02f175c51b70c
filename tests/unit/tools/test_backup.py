"""The commands say what they are not told, and take it from the environment."""

import pytest

from galmorph.cli import main

VARIABLES = ("GALMORPH_ARTIFACTS", "GALMORPH_BACKUPS", "PGDATABASE")


@pytest.fixture(autouse=True)
def told_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("missing", VARIABLES)
def test_what_is_missing_is_named(missing, monkeypatch, capsys, tmp_path):
    for name in set(VARIABLES) - {missing}:
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["backup"]) == 1
    assert missing in capsys.readouterr().err


def test_a_backup_by_variables_is_checked_and_restored(monkeypatch, capsys, tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/model").write_bytes(b"weights")
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps/mlflow.dump").write_bytes(b"tables")
    monkeypatch.setenv("GALMORPH_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("GALMORPH_BACKUPS", str(tmp_path / "backups"))
    assert main(["backup", "--dumps", str(tmp_path / "dumps"), "--keep", "3"]) == 0
    made = capsys.readouterr().out.strip()
    assert main(["restore", made, "--check"]) == 0
    assert "is whole: 1 artifacts, mlflow" in capsys.readouterr().out
    assert main(["restore", made, "--artifacts-only", "--artifacts", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back/model").read_bytes() == b"weights"


def test_a_missing_pg_dump_is_named_with_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ("--database", "mlflow", "--artifacts", str(tmp_path), "--backups", str(tmp_path / "backups"))
    assert main(["backup", *arguments]) == 1
    assert "pg_dump is not installed. Install PostgreSQL's client" in capsys.readouterr().err


def test_a_number_of_backups_cannot_be_negative(capsys, tmp_path):
    arguments = ("--database", "a", "--artifacts", str(tmp_path), "--backups", str(tmp_path / "backups"))
    assert main(["backup", *arguments, "--keep", "-1"]) == 1
    assert "Received: -1" in capsys.readouterr().err
