"""Between the artifacts of a pipeline and a stage's paths."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from galmorph.cluster.artifacts import deliver, restore
from galmorph.errors import InputError


@dataclass
class Handed:
    """An artifact as a component is handed it."""

    path: str
    name: str = "images"
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def working(tmp_path, monkeypatch):
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(path: Path, content: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def handed_on(artifact: Handed, folder: Path) -> Path:
    """What the next component finds in its working folder."""
    folder.mkdir(exist_ok=True)
    restore([artifact], folder)
    return folder


def test_a_file_goes_back_where_it_was(working, tmp_path):
    artifact = Handed(str(tmp_path / "store" / "manifest"))
    deliver(written(Path("data/manifest.parquet")), artifact)
    assert (handed_on(artifact, tmp_path / "next") / "data/manifest.parquet").read_text() == "content"


def test_a_folder_of_data_becomes_one_file(working, tmp_path):
    artifact = Handed(str(tmp_path / "store" / "raw"))
    for name in ("catalogue.csv", "images/1.png", "images/2.png"):
        written(Path("data/raw") / name, name)
    deliver(Path("data/raw"), artifact)
    assert Path(artifact.path).is_file()
    back = handed_on(artifact, tmp_path / "next") / "data/raw"
    assert sorted(path.relative_to(back).as_posix() for path in back.rglob("*.*")) == [
        "catalogue.csv",
        "images/1.png",
        "images/2.png",
    ]
    assert (back / "images/2.png").read_text() == "images/2.png"


def test_equal_folders_become_equal_files(working, tmp_path):
    """The content of an artifact does not depend on when, by whom, or in which order its files were written."""
    packed = []
    for number, names in enumerate((("a", "b"), ("b", "a"))):
        for name in names:
            os.utime(written(Path("data/raw") / name, name), (number, number))
        artifact = Handed(str(tmp_path / str(number)))
        deliver(Path("data/raw"), artifact)
        packed.append(Path(artifact.path).read_bytes())
    assert packed[0] == packed[1]


def test_what_was_linked_is_packed_as_content(working, tmp_path):
    card = Handed(str(tmp_path / "card"))
    deliver(written(Path("data/variants/raw.json")), card)
    folder = handed_on(card, tmp_path / "collecting")
    os.chdir(folder)
    variants = Handed(str(tmp_path / "variants"))
    deliver(Path("data/variants"), variants)
    Path(card.path).unlink()
    assert (handed_on(variants, tmp_path / "next") / "data/variants/raw.json").read_text() == "content"


def test_other_folders_stay_folders(working, tmp_path):
    artifact = Handed(str(tmp_path / "model"))
    written(Path("models/vit_raw/model.keras"))
    deliver(Path("models/vit_raw"), artifact)
    assert (Path(artifact.path) / "model.keras").is_file()
    assert (handed_on(artifact, tmp_path / "next") / "models/vit_raw/model.keras").read_text() == "content"


def test_a_second_attempt_replaces_what_the_first_left(working, tmp_path):
    artifact = Handed(str(tmp_path / "raw"))
    written(Path("data/raw/1.png"))
    deliver(Path("data/raw"), artifact)
    folder = handed_on(artifact, tmp_path / "next")
    written(folder / "data/raw/left.png")
    assert [path.name for path in (handed_on(artifact, folder) / "data/raw").iterdir()] == ["1.png"]


@pytest.mark.parametrize("place", [None, "/etc/passwd", "../outside"])
def test_an_artifact_of_others_is_refused(place, tmp_path):
    artifact = Handed(str(written(tmp_path / "theirs")), metadata={"place": place})
    with pytest.raises(InputError, match=r"artifact 'images': its metadata must say .* Received: place"):
        restore([artifact], tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_a_packed_file_cannot_reach_outside(working, tmp_path):
    """Whoever can write to the store must not write elsewhere."""
    import io
    import tarfile

    artifact = Handed(str(tmp_path / "raw"), metadata={"place": "data/raw", "packed": True})
    with tarfile.open(artifact.path, "w") as packed:
        member = tarfile.TarInfo("../../outside")
        member.mode, member.size = stat.S_IRUSR, 1
        packed.addfile(member, io.BytesIO(b"!"))
    with pytest.raises(tarfile.OutsideDestinationError):
        restore([artifact], tmp_path / "next")
    assert not list(tmp_path.rglob("outside"))
