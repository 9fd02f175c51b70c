import json

import cv2
import numpy as np
import pandas as pd
import pytest

from galmorph import stages, storage
from galmorph.data.identity import data_digest
from galmorph.errors import CatalogueError, DataValidationError, InputError

pytestmark = [
    # Great Expectations imports them.
    pytest.mark.filterwarnings("ignore:module 'sre_(constants|parse|compile)' is deprecated:DeprecationWarning"),
]

COUNT = 40


def cutout(seed, side=100):
    """A galaxy with noise and neighbours of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] - side / 2
    angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    light = 150 * np.exp(-np.hypot(along, across / ratio) / (side / 12))
    for _ in range(3):
        at = rng.uniform(-0.45, 0.45, 2) * side
        light += 80 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 6)
    channels = [light * c + 20 + rng.normal(0, 6, light.shape) for c in (1.0, 0.8, 0.6)]
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


def write(raw, cataid, image):
    storage.write_image(storage.image_path(raw / "images", cataid), image)


def as_jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1], cv2.IMREAD_COLOR)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Forty good galaxies, as acquire leaves them."""
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    folder = tmp_path / "data" / "raw"
    table = pd.DataFrame(
        {"CATAID": [f"{k:04d}" for k in range(COUNT)], "label": ["Elliptical", "Other"] * (COUNT // 2)}
    )
    table = table.assign(row=range(2, COUNT + 2), rejected="")
    for k, cataid in enumerate(table["CATAID"]):
        write(folder, cataid, cutout(k))
    storage.write_table(folder / "catalogue.csv", table)
    storage.write_json(folder / stages.SOURCE_FILE, {"source": "archive cutouts"})
    return folder


@pytest.fixture
def limits(params):
    return params.validate_.model_copy(update={"montage": 4})


def change(raw, column, changes):
    table = storage.read_table(raw / "catalogue.csv")
    values = table[column].tolist() if column in table else [None] * len(table)
    for position, value in changes.items():
        values[position] = value
    table[column] = values
    storage.write_table(raw / "catalogue.csv", table)


def places(raw):
    folder = raw.parents[1]
    return {
        "manifest": raw.parent / "manifest.parquet",
        "card": raw.parent / "variants" / "raw.json",
        "report": folder / "reports" / "validation",
    }


def run(raw, limits):
    stages.validate(raw=raw, **places(raw), params=limits)
    return storage.read_table(places(raw)["manifest"])


def test_good_galaxies_are_all_accepted(raw, limits):
    manifest = run(raw, limits)
    assert manifest["accepted"].all()
    assert (manifest["reasons"] == "").all()
    assert manifest["CATAID"].tolist() == [f"{k:04d}" for k in range(COUNT)]
    assert manifest["group"].tolist() == manifest["CATAID"].tolist()
    assert (manifest["width"] == 100).all()
    first = manifest.iloc[0]
    assert first["sha256"] == storage.digest_file(raw / "images" / "0000.png")
    card = storage.read_json(places(raw)["card"])
    assert card == {
        "variant": "raw",
        "source": "archive cutouts",
        "images": COUNT,
        "digest": data_digest(manifest["CATAID"], manifest["label"], manifest["sha256"]),
    }
    report = places(raw)["report"]
    page = (report / "index.html").read_text()
    assert "The data are fit" in page
    assert "http" not in page
    for link in ("great_expectations/validation.html", "great_expectations/suite.html"):
        assert link in page
        assert (report / link).exists()


def test_what_is_not_fit_is_quarantined_with_its_reason_and_its_row_stays(raw, limits):
    limits = limits.model_copy(update={"max_rejected": 0.5})
    images = raw / "images"
    (images / "0001.png").write_bytes(b"")
    (images / "0002.png").write_bytes((images / "0002.png").read_bytes()[:300])
    (images / "0003.png").unlink()
    (images / "0004.png").write_bytes(b"<html>not found</html>")
    write(raw, "0005", np.full((100, 100, 3), 30, np.uint8))
    cv2.imwrite(str(images / "0006.png"), cutout(6)[..., 0])
    cv2.imwrite(str(images / "0007.png"), cutout(7).astype(np.uint16) * 257)
    write(raw, "0008", cutout(8, side=20))
    change(raw, "label", {9: "Spiral", 10: ""})
    change(raw, "rejected", {11: "label without image"})
    (images / "0011.png").unlink()
    change(raw, "RA", {12: 10.0, 13: 130.0})
    change(raw, "Dec", {12: 0.0, 13: 0.0})
    manifest = run(raw, limits)
    assert manifest["CATAID"].tolist() == [f"{k:04d}" for k in range(COUNT)]
    said = {
        1: "0 bytes",
        2: "truncated",
        3: "not there",
        4: "not an image",
        5: "blank image",
        6: "8-bit RGB",
        7: "RGB;16",
        8: "at least 32 pixels",
        9: "Spiral",
        10: "no label",
        11: "label without image",
        12: "outside GAMA",
    }
    assert manifest.index[~manifest["accepted"]].tolist() == list(said)
    for position, words in said.items():
        assert words in manifest["reasons"][position]
    assert manifest["reasons"][13] == ""
    assert storage.read_json(places(raw)["card"])["images"] == COUNT - len(said)
    page = (places(raw)["report"] / "index.html").read_text()
    assert "outside the footprint" in page
    lost = pd.read_csv(places(raw)["report"] / "quarantined.csv", dtype=str)
    assert lost["CATAID"].tolist() == [f"{k:04d}" for k in said]
    assert lost["row"].tolist() == [str(k + 2) for k in said]
    assert "0012" in page


def test_flags_mark_and_let_pass(raw, limits):
    image = cutout(3)
    image[..., 0] = 9
    write(raw, "0003", image)
    image = cutout(4)
    image[:40] = 255
    write(raw, "0004", image)
    manifest = run(raw, limits)
    assert manifest["accepted"].all()
    assert manifest["flags"][3] == "blank channel r"
    assert manifest["blank_channel"][3] == "r"
    assert manifest["saturated"][4] >= 0.4
    assert "saturated" in manifest["flags"][4]


def test_exact_duplicates(raw, limits):
    write(raw, "0006", cutout(2))  # both Elliptical
    write(raw, "0009", cutout(4))  # Other and Elliptical
    manifest = run(raw, limits)
    assert manifest.index[~manifest["accepted"]].tolist() == [4, 6, 9]
    assert manifest["reasons"][6] == "exact duplicate: the same image file as 0002, which is kept"
    assert "0009 (Other)" in manifest["reasons"][4]
    assert "nothing tells which is right" in manifest["reasons"][9]


def test_near_duplicates_share_a_group_and_stay(raw, limits):
    write(raw, "0020", as_jpeg(cutout(7)))
    write(raw, "0030", np.clip(np.roll(cutout(7), (2, 1), (0, 1)) * 1.05, 0, 255).astype(np.uint8))
    write(raw, "0031", np.ascontiguousarray(as_jpeg(cutout(11))[:, ::-1]))
    manifest = run(raw, limits)
    assert manifest["accepted"].all()
    assert manifest["group"][[7, 20, 30]].tolist() == ["0007"] * 3
    assert manifest["group"][31] == "0011"
    alone = ~manifest["CATAID"].isin(["0007", "0020", "0030", "0011", "0031"])
    assert (manifest["group"] == manifest["CATAID"])[alone].all()
    assert manifest["flags"][20] == "near duplicate, group 0007"
    pairs = pd.read_csv(places(raw)["report"] / "near_duplicates.csv", dtype=str)
    assert {("0007", "0020"), ("0011", "0031")} <= set(zip(pairs["first"], pairs["second"], strict=True))
    assert "Pairs of near duplicates" in (places(raw)["report"] / "index.html").read_text()


def test_too_many_rejected_stop_the_stage_and_leave_the_old_manifest(raw, limits):
    run(raw, limits)
    files = places(raw)
    before = {name: files[name].read_bytes() for name in ("manifest", "card")}
    for k in range(6):
        (raw / "images" / f"{k:04d}.png").write_bytes(b"")
    with pytest.raises(DataValidationError) as stopped:
        run(raw, limits)
    said = str(stopped.value)
    assert "6 of 40 galaxies: 6 x unreadable image (first: 0000, 0001, 0002, 0003, 0004)" in said
    assert "validate.max_rejected" in said
    assert "Received: 15.0%" in said
    assert str(files["report"] / "index.html") in said
    assert before == {name: files[name].read_bytes() for name in ("manifest", "card")}
    page = (files["report"] / "index.html").read_text()
    assert "The stage stopped" in page
    assert "unreadable image" in page
    assert "not met" in (files["report"] / "great_expectations" / "validation.html").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict.fromkeys(range(COUNT), "Other"), "are Elliptical (validate.class_share). Received: 0.0%"),
        (dict.fromkeys(range(0, 36, 2), "Other"), "Received: 5.0%"),
    ],
    ids=["one class", "unbalanced"],
)
def test_a_class_that_is_missing_or_rare_stops_the_stage(raw, limits, changes, said):
    change(raw, "label", changes)
    with pytest.raises(DataValidationError, match="the data as a whole are not fit") as stopped:
        run(raw, limits)
    assert said in str(stopped.value)
    assert not places(raw)["manifest"].exists()
    assert not places(raw)["card"].exists()
    assert (places(raw)["report"] / "index.html").exists()


def test_an_id_that_is_there_twice_stops_the_stage(raw, limits):
    change(raw, "CATAID", {5: "0004"})
    with pytest.raises(DataValidationError, match="No CATAID is there twice"):
        run(raw, limits)


def test_a_catalogue_without_rows_stops_the_stage(raw, limits):
    table = storage.read_table(raw / "catalogue.csv")
    storage.write_table(raw / "catalogue.csv", table.iloc[:0])
    with pytest.raises(DataValidationError, match="There is a galaxy"):
        run(raw, limits)


def test_nothing_acceptable_stops_the_stage(raw, limits):
    change(raw, "rejected", dict.fromkeys(range(COUNT), "gone"))
    with pytest.raises(DataValidationError, match="40 x not acquired"):
        run(raw, limits)


def test_a_catalogue_that_lacks_a_column_or_is_not_there(raw, limits):
    table = storage.read_table(raw / "catalogue.csv")
    storage.write_table(raw / "catalogue.csv", table.drop(columns=["label", "rejected"]))
    with pytest.raises(
        CatalogueError, match=r"catalogue.csv: column label, rejected is missing.*Received: CATAID, row"
    ):
        run(raw, limits)
    (raw / "catalogue.csv").unlink()
    with pytest.raises(InputError, match="no such file"):
        run(raw, limits)


def test_two_runs_and_two_workers_make_the_same_files(raw, limits, monkeypatch):
    write(raw, "0020", as_jpeg(cutout(7)))
    run(raw, limits)
    files = places(raw)
    first = {name: files[name].read_bytes() for name in ("manifest", "card")}
    page = (files["report"] / "index.html").read_bytes()
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    run(raw, limits)
    assert first == {name: files[name].read_bytes() for name in ("manifest", "card")}
    assert (files["report"] / "index.html").read_bytes() == page


def test_ids_and_reasons_are_text_on_the_page(raw, limits):
    change(raw, "label", {3: "<script>alert(1)</script>"})
    run(raw, limits)
    report = places(raw)["report"]
    for page in (report / "index.html", report / "great_expectations" / "validation.html"):
        assert "<script>alert" not in page.read_text()


def test_real_cutouts_are_fit(real_data, tmp_path, limits, monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    labels = pd.read_csv(real_data / "galaxies" / "labels.csv", dtype=str).iloc[::40].reset_index(drop=True)
    raw = tmp_path / "data" / "raw"
    table = pd.DataFrame({"CATAID": labels["CATAID"], "label": labels["TARGET"].map({"0": "Elliptical", "1": "Other"})})
    storage.write_table(raw / "catalogue.csv", table.assign(row=range(2, len(table) + 2), rejected=""))
    storage.write_json(raw / stages.SOURCE_FILE, {"source": "archive galaxies"})
    for cataid in labels["CATAID"]:
        jpeg = cv2.imread(str(real_data / "galaxies" / "images" / f"{cataid}_gri.jpg"))
        write(raw, cataid, cv2.cvtColor(jpeg, cv2.COLOR_BGR2RGB))
    manifest = run(raw, limits)
    assert manifest["accepted"].all()
    assert (manifest["group"] == manifest["CATAID"]).all()
    found = manifest["axis_ratio_measured"].notna()
    assert found.mean() > 0.95
    by_class = manifest[found].groupby("label")["axis_ratio_measured"].median()
    assert by_class["Elliptical"] > by_class["Other"] + 0.1
    assert json.loads(places(raw)["card"].read_text())["images"] == len(labels)
