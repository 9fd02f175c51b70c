import hashlib
import logging
import os
import tarfile
import zipfile
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest

from galmorph import stages, storage
from galmorph.edge.acquire_archive import identity
from galmorph.errors import ArchiveError, CatalogueError
from galmorph.params import check, with_overrides

COUNT = 12
TARS = {".tar": "w", ".tar.gz": "w:gz", ".tar.xz": "w:xz"}


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "1")


@pytest.fixture
def acquire(values, tmp_path):
    """Run the stage on a folder or archive and return the folder it fills."""

    def run(path, *assignments, out=None):
        changed = with_overrides(values, ["acquire.source=archive", f"acquire.path={path}", *assignments])
        raw = out or tmp_path / "data/raw"
        stages.acquire(raw, check(changed, "params.yaml").acquire)
        return raw

    return run


def pixels(number, side=24):
    return np.random.default_rng(number).integers(0, 256, (side, side, 3)).astype(np.uint8)


def png(number, side=24):
    return cv2.imencode(".png", pixels(number, side)[..., ::-1])[1].tobytes()


def make_files(count=COUNT, side=24):
    """The published layout: a label file, and an image for each of its ids."""
    rows = "".join(f"{number:03d},{number % 2}\n" for number in range(count))
    images = {f"GALAXIES/{number:03d}_giH.png": png(number, side) for number in range(count)}
    return {"2class_list.csv": f"CATAID,TARGET\n{rows}".encode()} | images


def make_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_archive(path, files):
    folder = make_folder(path.parent / f"{path.name}.content", files)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in files:
                archive.write(folder / name, f"top/{name}")
    else:
        with tarfile.open(path, TARS["".join(path.suffixes)]) as archive:
            archive.add(folder, "top")
    return path


def catalogue(raw):
    return pd.read_csv(raw / "catalogue.csv", dtype=str, keep_default_na=False).set_index("CATAID")


def state(folder):
    """Every file below a folder with the digest of its content, but for the one that names the source."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "source.json")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_folder_becomes_a_catalogue_and_images(acquire, tmp_path):
    raw = acquire(make_folder(tmp_path / "given", make_files()))
    table = catalogue(raw)
    assert table.index.tolist() == [f"{number:03d}" for number in range(COUNT)]
    assert table["label"].tolist() == ["Elliptical", "Other"] * (COUNT // 2)
    assert table["row"].tolist() == [str(number + 2) for number in range(COUNT)]
    assert set(table["rejected"]) == {""}
    assert table.loc["007"].to_dict() == {
        "label": "Other",
        "row": "9",
        "rejected": "",
        "TARGET": "1",
        "source_file": "GALAXIES/007_giH.png",
        "source_format": "PNG",
        "source_mode": "RGB",
        "conversion": "none",
    }
    expected = {"catalogue.csv", *(f"images/{number:03d}.png" for number in range(COUNT))}
    assert set(state(raw)) == expected
    for number in range(COUNT):
        np.testing.assert_array_equal(storage.read_image(raw / f"images/{number:03d}.png"), pixels(number))


@pytest.mark.parametrize("suffix", [".zip", *TARS])
def test_an_archive_gives_what_its_folder_gives(acquire, tmp_path, suffix):
    files = make_files() | {"GALAXIES/003_giH.png": b"", "GALAXIES/999_giH.png": png(9), "README": b"x"}
    del files["GALAXIES/005_giH.png"]
    from_folder = state(acquire(make_folder(tmp_path / "top", files), out=tmp_path / "a"))
    archive = make_archive(tmp_path / f"GALAXIES{suffix}", files)
    from_archive = acquire(archive, out=tmp_path / "b")
    table = catalogue(from_archive)
    assert table["source_file"].str.removeprefix("top/").loc["002"] == "GALAXIES/002_giH.png"
    images = {name: digest for name, digest in from_folder.items() if name.startswith("images/")}
    assert {name: digest for name, digest in state(from_archive).items() if name != "catalogue.csv"} == images
    given = catalogue(tmp_path / "a")
    pd.testing.assert_frame_equal(
        table.drop(columns=["source_file", "rejected"]), given.drop(columns=["source_file", "rejected"])
    )
    assert table["rejected"].str.replace("top/", "").tolist() == given["rejected"].tolist()
    assert set(given.index[given["rejected"] != ""]) == {"003", "005", "999"}


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
def test_two_processes_make_what_one_makes(acquire, tmp_path, monkeypatch, suffix):
    files = make_files() | {"GALAXIES/003_giH.png": b"no image"}
    given = make_archive(tmp_path / f"a{suffix}", files) if suffix else make_folder(tmp_path / "a", files)
    one = state(acquire(given, out=tmp_path / "one"))
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    assert state(acquire(given, out=tmp_path / "two")) == one


def test_kinds_of_images_are_recorded(acquire, tmp_path):
    def jpeg(array):
        return cv2.imencode(".jpg", array)[1].tobytes()

    files = make_files(4) | {
        "GALAXIES/000_giH.png": cv2.imencode(".png", pixels(0)[..., 0])[1].tobytes(),
        "GALAXIES/001_giH.png": jpeg(pixels(1)),
        "GALAXIES/002_giH.png": cv2.imencode(".png", pixels(2).astype(np.uint16) * 257)[1].tobytes(),
        "GALAXIES/003_giH.png": cv2.imencode(".png", np.dstack([pixels(3), pixels(4)[..., :1]]))[1].tobytes(),
    }
    table = catalogue(acquire(make_folder(tmp_path / "given", files)))
    assert table["source_format"].tolist() == ["PNG", "JPEG", "PNG", "PNG"]
    assert table["source_mode"].tolist() == ["L", "RGB", "RGB;16", "RGBA"]
    assert table["conversion"].tolist() == ["grey to RGB", "none", "16-bit to 8-bit", "alpha over black"]


def bomb():
    """A PNG that says it has 20,000 x 20,000 pixels, and begins to."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (20_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(60_001)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "GALAXIES/004_giH.png: the file is empty (0 bytes)"),
        (png(4)[:700], "GALAXIES/004_giH.png: truncated or damaged"),
        (b"<html>not found</html>", "GALAXIES/004_giH.png: not an image"),
        (cv2.imencode(".png", np.full((24, 24, 3), 7, np.uint8))[1].tobytes(), "GALAXIES/004_giH.png: blank, every"),
        (bomb(), "GALAXIES/004_giH.png: larger than the 40,000,000 pixels of max_pixels"),
        (None, "no image called 004_giH.png or 004_gri.jpg or 004.png or 004.jpg"),
    ],
    ids=["zero-byte", "truncated", "not an image", "blank", "bomb", "missing"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
def test_a_broken_image_quarantines_its_row(acquire, tmp_path, caplog, content, reason, suffix):
    files = make_files()
    del files["GALAXIES/004_giH.png"]
    if content is not None:
        files["GALAXIES/004_giH.png"] = content
    given = make_archive(tmp_path / f"a{suffix}", files) if suffix else make_folder(tmp_path / "a", files)
    with caplog.at_level(logging.INFO):
        raw = acquire(given)
    row = catalogue(raw).loc["004"]
    assert row["rejected"].replace("top/", "").startswith(reason)
    assert (row["row"], row["label"], row["conversion"]) == ("6", "Elliptical", "")
    assert catalogue(raw).index.tolist()[4] == "004"
    assert not (raw / "images/004.png").exists()
    assert len(state(raw)) == COUNT
    assert "2class_list.csv row 6: rejected: " in caplog.text
    assert f"{COUNT} rows, {COUNT - 1} images, 1 rejected" in caplog.text


def test_rows_without_a_usable_label_are_quarantined(acquire, tmp_path):
    files = make_files()
    files["2class_list.csv"] += b"100,9\n101,\n../102,1\n..,0\n"
    files |= {"GALAXIES/100_giH.png": png(1), "GALAXIES/101_giH.png": png(2), "102_giH.png": png(3)}
    raw = acquire(make_folder(tmp_path / "given", files))
    rejected = catalogue(raw)["rejected"]
    assert rejected[rejected != ""].to_dict() == {
        "100": "unknown label '9'",
        "101": "no label in the row",
        "../102": "the id '../102' cannot be a file's name",
        "..": "the id '..' cannot be a file's name",
        "102": "no label: 2class_list.csv has no row for 102_giH.png",
    }
    assert len(state(tmp_path / "data")) == 1 + COUNT


def test_an_image_without_label_comes_last(acquire, tmp_path):
    raw = acquire(make_folder(tmp_path / "given", make_files() | {"GALAXIES/0001_giH.png": png(99)}))
    last = catalogue(raw).iloc[-1]
    assert last.name == "0001"
    assert (last["label"], last["row"]) == ("", "")
    assert last["rejected"] == "no label: 2class_list.csv has no row for GALAXIES/0001_giH.png"
    assert not (raw / "images/0001.png").exists()


def test_many_rejected_rows_do_not_flood_the_log(acquire, tmp_path, caplog):
    files = make_files(60)
    for number in range(10, 60):
        del files[f"GALAXIES/{number:03d}_giH.png"]
    acquire(make_folder(tmp_path / "given", files))
    assert caplog.text.count("rejected: no image called") == 20
    assert "30 more rejected; catalogue.csv lists all" in caplog.text


def test_repeated_rows_are_kept_once_and_told(acquire, tmp_path, caplog):
    files = make_files()
    files["2class_list.csv"] += b"003,1\n"
    raw = acquire(make_folder(tmp_path / "given", files))
    assert len(catalogue(raw)) == COUNT
    assert "2class_list.csv row 14: says again what row 5 says of 003; left out" in caplog.text


def test_values_name_columns_patterns_and_coding(acquire, tmp_path):
    files = {
        "set/stars.tsv": b"name\tkind\nNGC 1\tround\nNGC 2\tdisc\nNGC 3\tdisc\n",
        **{f"set/NGC {number}/stamp.png": png(number) for number in (1, 2, 3)},
    }
    raw = acquire(
        make_folder(tmp_path / "given", files),
        "acquire.archive.labels=[stars.tsv]",
        "acquire.archive.patterns=['{CATAID}/stamp.png']",
        "acquire.archive.columns={id: name, label: kind}",
        "acquire.archive.coding={round: Elliptical, disc: Other}",
    )
    assert catalogue(raw)["label"].to_dict() == {"NGC 1": "Elliptical", "NGC 2": "Other", "NGC 3": "Other"}
    assert (raw / "images/NGC 2.png").exists()


def test_max_pixels_is_a_parameter(acquire, tmp_path):
    files = make_files() | {"GALAXIES/004_giH.png": png(4, side=30)}
    raw = acquire(make_folder(tmp_path / "given", files), "acquire.max_pixels=800")
    assert catalogue(raw).loc["004", "rejected"].startswith("GALAXIES/004_giH.png: larger than the 800 pixels")


def test_label_file_beside_the_archive(acquire, tmp_path, caplog):
    files = make_files()
    labels = files.pop("2class_list.csv")
    archive = make_archive(tmp_path / "GALAXIES.zip", files)
    (tmp_path / "2class_list.csv").write_bytes(labels)
    with caplog.at_level(logging.INFO):
        assert len(catalogue(acquire(archive))) == COUNT
    assert "no 2class_list.csv in it, but beside it; taken" in caplog.text


def test_the_label_file_nearest_the_top_counts(acquire, tmp_path):
    files = make_files() | {"old/2class_list.csv": b"CATAID,TARGET\n"}
    assert len(catalogue(acquire(make_folder(tmp_path / "given", files)))) == COUNT


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"2class_list.csv": None}, CatalogueError,
         r"no label file in it; looked for 2class_list\.csv and labels\.csv.*Received: 12 files$"),
        ({"2class_list.csv": None, "list.csv": b"x"}, CatalogueError, r"Received: 13 files, among them list\.csv$"),
        ({"2class_list.csv": b""}, CatalogueError, r"2class_list\.csv: the file is empty"),
        ({"2class_list.csv": b"ID,TYPE\n1,0\n"}, CatalogueError,
         r"2class_list\.csv row 1: no column CATAID and TARGET.*Received: ID, TYPE$"),
        ({"2class_list.csv": b"CATAID,TARGET\n001,0\n002,1\n001,1\n"}, CatalogueError,
         r"2class_list\.csv rows 2 and 4: CATAID 001 has two labels"),
        ({"2class_list.csv": b"CATAID,TARGET\n001,1\n002,1\n"}, CatalogueError,
         r"2class_list\.csv: two classes.*with a known label.*Received: 2 Other$"),
        ({"2class_list.csv": b"CATAID,TARGET\n001,1\n900,0\n"}, CatalogueError,
         r"2class_list\.csv: two classes.*that have an image.*Received: 1 Other$"),
        ({"2class_list.csv": b"CATAID,TARGET\n001,1\n002,0\n", "GALAXIES/002_giH.png": b""}, CatalogueError,
         r"2class_list\.csv: two classes.*whose image can be read.*Received: 1 Other$"),
        ({"2class_list.csv": b"CATAID,TARGET\n001,E\n002,S\n003,S\n"}, CatalogueError,
         r"no row can be used.*acquire\.archive\.coding.*unknown label 'S' \(2 rows\), unknown label 'E' \(1 rows\)"),
        ({"2class_list.csv": b"CATAID,TARGET\n901,1\n900,0\n"}, ArchiveError,
         r"no image of any of the 2 galaxies; looked for \{CATAID\}_giH\.png and .*archive\.patterns.*among them"),
        ({"x/2class_list.csv": b"", "y/2class_list.csv": b"", "2class_list.csv": None}, CatalogueError,
         r"x/2class_list\.csv and y/2class_list\.csv may both be the label file"),
        ({"old/001_giH.png": b""}, ArchiveError, r"GALAXIES/001_giH\.png and old/001_giH\.png both fit"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_as_a_whole_stops_and_loses_nothing(acquire, tmp_path, change, error, message):
    raw = acquire(make_folder(tmp_path / "good", make_files()))
    before = state(raw)
    files = {name: content for name, content in (make_files() | change).items() if content is not None}
    with pytest.raises(error, match=message):
        acquire(make_folder(tmp_path / "given", files))
    assert state(raw) == before


def test_a_path_that_is_not_there_stops(acquire, tmp_path):
    with pytest.raises(ArchiveError, match=r"gone: no such folder or archive\. Check acquire\.path"):
        acquire(tmp_path / "gone")
    assert not (tmp_path / "data").exists()


def test_a_member_that_leaves_its_folder_stops(acquire, tmp_path):
    archive = make_archive(tmp_path / "a.zip", make_files())
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("../../escaped.png", png(1))
    with pytest.raises(ArchiveError, match="a member leaves the archive's folder"):
        acquire(archive)
    assert not list(tmp_path.parent.rglob("escaped*"))


def test_a_damaged_member_quarantines_its_row(acquire, tmp_path):
    archive = make_archive(tmp_path / "a.zip", make_files())
    with zipfile.ZipFile(archive) as reading:
        place = reading.getinfo("top/GALAXIES/004_giH.png").header_offset
    content = bytearray(archive.read_bytes())
    content[place + 600] ^= 0xFF
    archive.write_bytes(content)
    rejected = catalogue(acquire(archive))["rejected"]
    assert rejected[rejected != ""].index.tolist() == ["004"]
    assert rejected["004"].startswith("top/GALAXIES/004_giH.png: damaged in the zip")


def test_identity_changes_with_what_lies_there(values, tmp_path):
    def now(path):
        changed = with_overrides(values, ["acquire.source=archive", f"acquire.path={path}"])
        return storage.fingerprint(identity(check(changed, "params.yaml").acquire))

    folder = make_folder(tmp_path / "given", make_files())
    archive = make_archive(tmp_path / "a.zip", make_files())
    first = {path: now(path) for path in (folder, archive)}
    assert {path: now(path) for path in first} == first
    (folder / "GALAXIES/004_giH.png").write_bytes(png(5))
    os.utime(archive, ns=(0, 0))
    assert now(folder) != first[folder]
    assert now(archive) != first[archive]
    second = now(archive)
    (tmp_path / "labels.csv").write_bytes(b"x")
    assert now(archive) != second
    third = now(folder)
    (folder / "GALAXIES/004_giH.png").unlink()
    assert now(folder) != third


def test_a_changed_source_is_not_gone_on_with(acquire, tmp_path, monkeypatch):
    given = make_folder(tmp_path / "given", make_files())
    (given / "GALAXIES/010_giH.png").write_bytes(b"")
    real = storage.write_table

    def interrupted(path, table):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        acquire(given)
    monkeypatch.setattr(storage, "write_table", real)
    (given / "GALAXIES/010_giH.png").write_bytes(png(10))
    assert set(catalogue(acquire(given))["rejected"]) == {""}


def test_the_real_cutouts(acquire, real_data, tmp_path):
    """The first forty of them, by a folder of links: read in place, none is copied."""
    given = tmp_path / "given"
    (given / "images").mkdir(parents=True)
    lines = (real_data / "galaxies/labels.csv").read_text().splitlines(keepends=True)[:41]
    (given / "labels.csv").write_text("".join(lines))
    for line in lines[1:]:
        name = f"images/{line.split(',')[0]}_gri.jpg"
        (given / name).symlink_to(real_data / "galaxies" / name)
    raw = acquire(given)
    table = catalogue(raw)
    assert table.index.tolist() == [line.split(",")[0] for line in lines[1:]]
    assert set(table["rejected"]) == {""}
    assert set(table["source_format"]) == {"JPEG"}
    assert (table["label"] == table["TARGET"].map({"0": "Elliptical", "1": "Other"})).all()
    first = table.index[0]
    image = storage.read_image(raw / f"images/{first}.png")
    assert image.shape == (300, 300, 3)
    read = cv2.cvtColor(cv2.imread(str(real_data / f"galaxies/images/{first}_gri.jpg")), cv2.COLOR_BGR2RGB)
    assert np.abs(image.astype(int) - read).max() <= 3  # two decoders of one JPEG
