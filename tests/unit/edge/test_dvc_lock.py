"""DVC's own name of the galaxies."""

import hashlib
from pathlib import Path

import pytest

from galmorph.edge.dvc_lock import dvc_revision

CARD = Path("data/variants/median.json")
MD5 = hashlib.md5(b"{}").hexdigest()


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """A working folder with a card, and a function that writes dvc.lock."""
    monkeypatch.chdir(tmp_path)
    CARD.parent.mkdir(parents=True)
    CARD.write_text("{}")

    def write(card_md5=MD5):
        Path("dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  acquire:\n    cmd: a\n    outs:\n    - path: data/raw\n      md5: 12.dir\n"
            f"  denoise@median:\n    cmd: d\n    outs:\n    - path: {CARD}\n      md5: {card_md5}\n"
            "  split:\n    cmd: s\n"
        )

    return write


def test_the_raw_galaxies_as_dvc_names_them(lock):
    lock()
    assert dvc_revision(CARD) == "12.dir"


def test_a_lock_of_other_data_names_nothing(lock):
    lock("0" * 32)
    assert dvc_revision(CARD) is None


@pytest.mark.parametrize("content", ["", "stages: [", "stages:\n  a: {outs: [{path: data/raw}]}\n"])
def test_a_lock_of_another_kind_names_nothing(lock, content):
    Path("dvc.lock").write_text(content)
    assert dvc_revision(CARD) is None


def test_without_dvc_or_card_there_is_no_name(lock):
    assert dvc_revision(CARD) is None
    lock()
    CARD.unlink()
    assert dvc_revision(CARD) is None
