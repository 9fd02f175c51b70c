"""`galmorph predict` on a small real model: what goes in, what comes out."""

import errno
import re
import tarfile
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from pyarrow import parquet

from galmorph.data.shard import Shard
from galmorph.edge.locking import alone_with
from galmorph.edge.predicting import Asked, merge, predict
from galmorph.errors import ArchiveError, CatalogueError, InputError, ModelError, StorageError
from galmorph.params import PredictParams, predict_values
from galmorph.serving.runtime import Runtime
from tests.exported import cutout, export_small, png
from tests.predicted import write_cutouts
from tests.unit.serving.test_refusals import bomb, fits_file

PATTERNS = ["{CATAID}_giH.png", "{CATAID}.png", "{CATAID}.fits"]


@pytest.fixture(scope="module")
def made(values):
    """The values of params.yaml, made small: many parts, and answers that repeat to the last digit."""
    chosen = predict_values(values, "params.yaml")
    chosen |= {"precision": "f32", "threads": 1, "patterns": PATTERNS,
               "predict": {"batch": 4, "decoders": 2, "ahead": 6, "part": 10}}  # fmt: skip
    return PredictParams.model_validate(chosen)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """25 good images, and all that can be wrong with one."""
    folder = tmp_path_factory.mktemp("galaxies")
    write_cutouts(folder, 25)
    good = png(cutout(1))
    bad = {
        "text": b"CATAID,TARGET\n", "torn": good[: len(good) // 2], "bomb": bomb(), "none": b"",
        "tiny": png(np.zeros((20, 20, 3), np.uint8)), "black": png(np.zeros((50, 50, 3), np.uint8)),
    }  # fmt: skip
    for name, content in bad.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "light.fits").write_bytes(fits_file(np.random.default_rng(1).normal(0, 1, (3, 40, 40)).astype(">f4")))
    (folder / "notes.txt").write_text("which galaxies these are")
    return folder


REASONS = {
    "text": "not an image", "torn": "truncated or damaged", "bomb": "larger than the 40,000,000 pixels",
    "none": "the file is empty", "tiny": "at least 32 pixels a side. Received: 20 x 20", "black": "blank, every pixel",
}  # fmt: skip
GOOD = {*(f"{number:05d}" for number in range(25)), "light"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, exported_model, images, made):
    """The table of the folder, with heat maps."""
    output = tmp_path_factory.mktemp("whole") / "all.parquet"
    return predict(Asked(str(exported_model), images, output, heat_maps=True), made)


def table(path):
    return pd.read_parquet(path).sort_values("CATAID", ignore_index=True)


def rejects_of(summary):
    return pd.read_csv(summary.rejects, dtype=str, keep_default_na=False)


def beside(path):
    """Every file of a folder, hidden ones too."""
    return sorted(one.name for one in path.parent.iterdir())


def test_answers_are_the_runtimes(whole, exported_model):
    runtime = Runtime(exported_model, "f32", 1)
    found = table(whole.output).set_index("CATAID")
    assert set(found.index) == GOOD
    for number in (0, 7, 24):
        p = runtime.answer(runtime.prepare(cutout(number, 48))[None], maps=False).p_elliptical[0]
        assert found["p_elliptical"][f"{number:05d}"] == pytest.approx(p, abs=1e-6)
    assert list(found["label"]) == runtime.labels(found["p_elliptical"].to_numpy())
    near = (found["p_elliptical"] - runtime.facts.threshold).abs() < 0.1
    assert near.any()
    assert not near.all()
    pd.testing.assert_series_equal(found["near_threshold"], near, check_names=False)
    assert set(found["model_version"]) == {"galmorph/1"}
    assert set(found["data_digest"]) == {"d" * 64}
    assert whole.answered == len(GOOD)
    assert whole.near_threshold == near.sum()
    assert whole.labels == found["label"].value_counts().to_dict()


def test_heat_maps_are_the_runtimes(whole, exported_model):
    maps = parquet.read_table(whole.output.with_name("all.heat_maps.parquet")).to_pandas().set_index("CATAID")
    runtime = Runtime(exported_model, "f32", 1)
    drawn = runtime.answer(runtime.prepare(cutout(7, 48))[None], maps=True).maps[0]
    np.testing.assert_allclose(maps["heat_map"]["00007"].reshape(drawn.shape), drawn, atol=1e-6)
    assert set(maps.index) == GOOD


def test_what_cannot_be_read_is_listed_with_its_reason(whole):
    rejects = rejects_of(whole).set_index("file")
    assert whole.rejected == len(rejects) == len(REASONS) + 1
    for name, reason in REASONS.items():
        assert reason in rejects["reason"][f"{name}.png"]
        assert rejects["CATAID"][f"{name}.png"] == name
    assert rejects["reason"]["notes.txt"].startswith("its name fits no pattern: {CATAID}_giH.png or")


def test_nothing_but_the_results_is_left(whole):
    assert beside(whole.output) == ["all.heat_maps.parquet", "all.parquet", "all.rejected.csv"]


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_an_archive_gives_what_the_folder_gives(suffix, whole, images, exported_model, made, tmp_path):
    archive = tmp_path / f"galaxies.{suffix}"
    files = sorted(images.iterdir(), reverse=True)
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file in files:
                packed.write(file, f"in/{file.name}")
    else:
        with tarfile.open(archive, "w:gz" if suffix == "tar.gz" else "w") as packed:
            for file in files:
                packed.add(file, f"in/{file.name}")
    found = predict(Asked(str(exported_model), archive, tmp_path / "out.parquet"), made)
    # Batches differ, and with them the last digits.
    pd.testing.assert_frame_equal(table(found.output), table(whole.output), rtol=1e-5)
    assert found.rejected == whole.rejected


@pytest.mark.parametrize("suffix", ["csv", "parquet", "fits", "vot"])
def test_a_catalogue_says_which_galaxies_and_in_which_order(suffix, images, exported_model, made, tmp_path):
    ids = ["00007", "00003", "99999", "00007", "torn"]
    catalogue = tmp_path / f"mine.{suffix}"
    rows = Table({"CATAID": ids, "RA": [1.0, 2.0, 3.0, 4.0, 5.0]})
    if suffix == "parquet":
        rows.to_pandas().to_parquet(catalogue)
    else:
        rows.write(catalogue, format="votable" if suffix == "vot" else None)
    found = predict(Asked(str(exported_model), images, tmp_path / "out.parquet", catalogue), made)
    assert pd.read_parquet(found.output)["CATAID"].tolist() == ["00007", "00003"]
    rejects = rejects_of(found)
    assert rejects[["row", "CATAID"]].to_numpy().tolist() == [["5", "00007"], ["4", "99999"], ["6", "torn"]]
    assert rejects["reason"][0] == "the same id as line 2"
    assert rejects["reason"][1] == "no image called 99999_giH.png or 99999.png or 99999.fits"


def test_shards_merge_into_the_whole(whole, images, exported_model, made, tmp_path):
    parts = []
    for i in (3, 1, 2):
        output = tmp_path / f"{i}.parquet"
        predict(Asked(str(exported_model), images, output, shard=Shard(i, 3), heat_maps=True), made)
        parts.append(output)
    expected = [*GOOD, *REASONS]
    for wanted in (expected, None):
        found = merge(parts, tmp_path / "all.parquet", wanted)
        pd.testing.assert_frame_equal(table(found.output), table(whole.output), rtol=1e-5)
        assert (found.answered, found.rejected, found.labels) == (whole.answered, whole.rejected, whole.labels)
        maps, all_maps = (table(one.output.with_name("all.heat_maps.parquet")) for one in (found, whole))
        assert maps["CATAID"].tolist() == all_maps["CATAID"].tolist()
        np.testing.assert_allclose(np.stack(maps["heat_map"]), np.stack(all_maps["heat_map"]), atol=1e-5)
    about = parquet.read_schema(whole.output).metadata[b"galmorph"]
    assert parquet.read_schema(tmp_path / "all.parquet").metadata[b"galmorph"] == about


def test_exports_read_back(images, exported_model, made, tmp_path):
    names = ("out.fits", "out.fits.gz", "out.vot")
    asked = Asked(
        str(exported_model), images, tmp_path / "out.parquet", exports=tuple(tmp_path / name for name in names)
    )
    found = table(predict(asked, made).output)
    for name in names:
        read = Table.read(tmp_path / name).to_pandas().map(lambda v: v.decode() if isinstance(v, bytes) else v)
        pd.testing.assert_frame_equal(
            read.sort_values("CATAID", ignore_index=True), found, check_dtype=False, check_column_type=False
        )
    header = fits.getheader(tmp_path / "out.fits", 1)
    assert (header["MODEL"], header["DATADIG"], header["THRESH"]) == ("galmorph/1", "d" * 64, 0.5)
    assert (header["TTYPE2"], header["TUCD2"]) == ("p_elliptical", "stat.probability;src.morph")
    assert header["TCOMM2"] == "Calibrated probability that it is Elliptical"
    votable = Table.read(tmp_path / "out.vot")
    assert votable["p_elliptical"].description == "Calibrated probability that it is Elliptical"
    assert votable["label"].meta["ucd"] == "src.morph.type"
    # TOPCAT and astropy find the same in the Parquet file.
    empty = parquet.read_schema(tmp_path / "out.parquet").metadata[b"IVOA.VOTable-Parquet.content"].decode()
    assert re.findall(r' name="(\w+)" ucd="', empty) == list(found.columns)


def test_ids_that_are_numbers_are_numbers_in_exports(exported_model, made, tmp_path):
    (tmp_path / "images").mkdir()
    for number in (6802, 12):
        (tmp_path / f"images/{number}.png").write_bytes(png(cutout(number)))
    asked = Asked(str(exported_model), tmp_path / "images", tmp_path / "out.parquet", exports=(tmp_path / "out.fits",))
    predict(asked, made)
    assert sorted(Table.read(tmp_path / "out.fits")["CATAID"].tolist()) == [12, 6802]
    assert sorted(pd.read_parquet(tmp_path / "out.parquet")["CATAID"]) == ["12", "6802"]


def test_the_denoiser_is_left_out_for_denoised_images(params, made, tmp_path):
    import json

    from galmorph.serving.exported import DIGESTS, digests

    model = export_small(tmp_path / "model", params)
    facts = json.loads((model / "facts.json").read_text())
    facts |= {"variant": "median", "denoiser": {"kernel": 5}}
    (model / "facts.json").write_text(json.dumps(facts))
    (model / DIGESTS).write_text(json.dumps(digests(model)))
    write_cutouts(tmp_path / "images", 3)
    answers = [
        table(
            predict(Asked(str(model), tmp_path / "images", tmp_path / "out.parquet", denoised=denoised), made).output
        )["p_elliptical"].tolist()
        for denoised in (False, True)
    ]
    runtime = Runtime(model, "f32", 1)
    for given, found in zip((False, True), answers, strict=True):
        ready = np.stack([runtime.prepare(cutout(number, 48), denoised=given) for number in range(3)])
        assert found == pytest.approx(runtime.answer(ready, maps=False).p_elliptical.tolist(), abs=1e-6)
    assert answers[0] != pytest.approx(answers[1], abs=1e-4)


def test_a_model_without_heat_maps_says_so_before_the_work(params, made, images, tmp_path):
    model = export_small(tmp_path / "vit", params, architecture="vit")
    with pytest.raises(ModelError, match="no heat map is to be had from a vit"):
        predict(Asked(str(model), images, tmp_path / "out.parquet", heat_maps=True), made)
    assert predict(Asked(str(model), images, tmp_path / "out.parquet"), made).answered == len(GOOD)


def test_a_full_disk_at_the_end_costs_no_answer(whole, images, exported_model, made, tmp_path, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    asked = Asked(str(exported_model), images, tmp_path / "out.parquet", heat_maps=True)
    with monkeypatch.context() as patch:
        failing = SimpleNamespace(ParquetWriter=full, ParquetFile=parquet.ParquetFile)
        patch.setattr("galmorph.edge.predictions_files.parquet", failing)
        with pytest.raises(StorageError, match="no space left on the device"):
            predict(asked, made)
    assert beside(asked.output) == [".out.parquet.work"]
    with caplog.at_level("INFO"):
        found = predict(asked, made)
    assert "4 of 4 parts are there from an interrupted run" in caplog.text
    assert found.output.read_bytes() == whole.output.read_bytes()


def test_heat_maps_of_an_earlier_run_do_not_stay(exported_model, made, tmp_path):
    write_cutouts(tmp_path / "images", 2)
    asked = Asked(str(exported_model), tmp_path / "images", tmp_path / "out.parquet", heat_maps=True)
    predict(asked, made)
    assert (tmp_path / "out.heat_maps.parquet").exists()
    predict(replace(asked, heat_maps=False), made)
    assert not (tmp_path / "out.heat_maps.parquet").exists()


def test_an_empty_shard_is_a_table_too(exported_model, made, tmp_path):
    write_cutouts(tmp_path / "images", 1)
    outputs, counts = [], []
    for i in (1, 2):
        outputs.append(tmp_path / f"{i}.parquet")
        exports = (tmp_path / f"{i}.fits", tmp_path / f"{i}.vot")
        asked = Asked(str(exported_model), tmp_path / "images", outputs[-1], None, Shard(i, 2), True, exports)
        counts.append(predict(asked, made).answered)
        assert [len(Table.read(path)) for path in exports] == counts[-1:] * 2
    assert sorted(counts) == [0, 1]
    assert merge(outputs, tmp_path / "all.parquet", ["00000"]).answered == 1


def test_a_tar_that_changes_is_told(exported_model, made, tmp_path, monkeypatch):
    from galmorph.edge import predicting

    write_cutouts(tmp_path / "images", 3)
    archive = tmp_path / "galaxies.tar"
    with tarfile.open(archive, "w") as packed:
        packed.add(tmp_path / "images", "in")
    shorter = tmp_path / "shorter.tar"
    with tarfile.open(shorter, "w") as packed:
        packed.add(tmp_path / "images/00000_giH.png", "in/00000_giH.png")
    opened = predicting.open_source

    def then_changed(path):
        source = opened(path)
        archive.write_bytes(shorter.read_bytes())
        return source

    monkeypatch.setattr(predicting, "open_source", then_changed)
    with pytest.raises(ArchiveError, match="changed while it was read"):
        predict(Asked(str(exported_model), archive, tmp_path / "out.parquet"), made)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"output": "out.csv"}, InputError, r"--output: takes a file that ends in \.parquet\. Received: "),
        ({"exports": ("out.txt",)}, InputError, r"--export: takes a file that ends in .*Received: 'out\.txt'"),
        ({"images": "nowhere"}, ArchiveError, r"nowhere: no such folder or archive\. Check --images"),
        ({"images": "empty"}, InputError, r"empty: no image of any galaxy\..*Received: 0 files; no file"),
        ({"catalogue": "nowhere.csv"}, CatalogueError, r"nowhere\.csv: no such file"),
        ({"catalogue": "others.csv"}, InputError, r"no image of any galaxy.*no image called 1_giH\.png"),
        ({"model": "nowhere"}, ModelError, r"nowhere: no such folder"),
    ],
)
def test_what_cannot_be_done_is_refused(change, error, message, images, exported_model, made, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "others.csv").write_text("CATAID\n1\n")
    asked = {"model": str(exported_model), "images": images, "output": "out.parquet"} | change
    for name in ("output", "catalogue", "images"):
        if name in asked:
            asked[name] = tmp_path / asked[name]
    asked["exports"] = tuple(tmp_path / name for name in asked.get("exports", ()))
    before = beside(tmp_path / "out.parquet")
    with pytest.raises(error, match=message):
        predict(Asked(**asked), made)
    assert beside(tmp_path / "out.parquet") == before


@pytest.mark.parametrize("name", ["out.parquet", "out.rejected.csv", "gama.fits"])
def test_a_file_of_somebody_else_is_not_replaced(name, images, exported_model, made, tmp_path):
    if name == "out.parquet":
        pd.DataFrame({"CATAID": ["1"]}).to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text("CATAID,mine\n")
    before = (tmp_path / name).read_bytes()
    asked = Asked(str(exported_model), images, tmp_path / "out.parquet", exports=(tmp_path / "gama.fits",))
    with pytest.raises(InputError, match=rf"{name}: exists, and is not the result of an earlier `galmorph predict`"):
        predict(asked, made)
    assert (tmp_path / name).read_bytes() == before
    (tmp_path / name).unlink()
    # Its own it replaces.
    assert predict(asked, made) == predict(asked, made)


def test_two_runs_into_one_table_are_kept_apart(images, exported_model, made, tmp_path):
    output = tmp_path / "out.parquet"
    with alone_with(output), pytest.raises(InputError, match=r"out\.parquet: another process is writing it"):
        predict(Asked(str(exported_model), images, output), made)
    predict(Asked(str(exported_model), images, output), made)
