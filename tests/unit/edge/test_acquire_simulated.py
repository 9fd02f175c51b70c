"""Filling data/raw with simulated galaxies: what is written, and what a second run does."""

from pathlib import Path

import pytest

from galmorph import storage
from galmorph.edge.acquire_simulated import fill


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "1")


@pytest.fixture
def acquire(params):
    def make(**changes):
        simulate = params.acquire.simulate.model_copy(update={"galaxies": 8, "size": 64, **changes})
        return params.acquire.model_copy(update={"simulate": simulate})

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_image_and_a_row_for_each_galaxy(tmp_path, acquire):
    fill(tmp_path, acquire())
    table = storage.read_table(tmp_path / "catalogue.csv")
    assert list(table.columns[:4]) == ["CATAID", "label", "row", "rejected"]
    assert list(table["row"]) == list(range(2, 10))
    assert set(table["label"]) == {"Elliptical", "Other"}
    assert (table["rejected"] == "").all()
    for folder in ("images", "noise_free"):
        assert {path.stem for path in (tmp_path / folder).iterdir()} == set(table["CATAID"])
    assert storage.read_image(tmp_path / "images" / f"{table['CATAID'][0]}.png").shape == (64, 64, 3)


def test_noise_free_images_are_kept_by_parameter(tmp_path, acquire):
    fill(tmp_path, acquire(keep_noise_free=False))
    assert not (tmp_path / "noise_free").exists()


def test_a_second_run_makes_only_what_is_missing(tmp_path, acquire):
    fill(tmp_path, acquire())
    first = content(tmp_path)
    images = sorted((tmp_path / "images").iterdir())
    written = {path: path.stat().st_mtime_ns for path in images}
    images[3].unlink()
    (tmp_path / "catalogue.csv").unlink()
    fill(tmp_path, acquire())
    assert content(tmp_path) == first
    assert [path for path in images if path.stat().st_mtime_ns != written[path]] == [images[3]]


def test_a_larger_set_begins_with_the_smaller_one(tmp_path, acquire):
    fill(tmp_path / "few", acquire(galaxies=3))
    fill(tmp_path / "many", acquire(galaxies=6))
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    images = [name for name in few if name.endswith(".png")]
    assert len(images) == 6
    assert all(few[name] == many[name] for name in images)
    lines = few["catalogue.csv"].splitlines()
    assert many["catalogue.csv"].splitlines()[: len(lines)] == lines


def test_another_seed_makes_other_galaxies(tmp_path, acquire):
    fill(tmp_path / "one", acquire(galaxies=2))
    fill(tmp_path / "other", acquire(galaxies=2, seed=1))
    ids = [set(storage.read_table(tmp_path / name / "catalogue.csv")["CATAID"]) for name in ("one", "other")]
    assert ids[0].isdisjoint(ids[1])
