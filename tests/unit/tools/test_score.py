"""`galmorph score`, with a tiny real model."""

import re
import subprocess
import sys
import zipfile
from importlib import resources

import cv2
import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from galmorph import storage
from galmorph.cli import main
from galmorph.data.dataset import prepare
from galmorph.data.denoise import denoise
from galmorph.data.images import decode_image
from galmorph.edge import labelled
from galmorph.edge.logged_model import log_model
from galmorph.evaluation.metrics import COLUMNS
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.models.predict import predict_logits
from galmorph.models.recipe import Recipe
from galmorph.models.saved import ModelFacts, load_model, save_model
from galmorph.params import MedianParams, PreprocessParams
from tests.registered import register_params

SMALL = PreprocessParams(crop=0.5, image_size=24)
#: Suffix, mode and size of the images: whatever `data/images.py` reads.
KINDS = [("png", "RGB", (40, 40)), ("jpg", "RGB", (60, 45)), ("tif", "L", (31, 64)), ("bmp", "RGB", (24, 24)),
         ("webp", "RGBA", (90, 33))]  # fmt: skip


@pytest.fixture(scope="module")
def facts():
    return ModelFacts(
        galmorph="0", experiment="regularised_cnn_raw", architecture="regularised_cnn", variant="raw",
        preprocess=SMALL, denoiser=None, temperature=1.5,
        recipe=Recipe(weights="none", phases=("scratch",), epochs=(1,), augmentation=None, class_weights=True),
        seed=1, data_digest="d" * 64, params_digest="p" * 64, git_commit=None, run_id=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory, params, facts):
    """The folder of a model whose answers differ from image to image."""
    keras.utils.set_random_seed(5)
    small = params.train.cnn.model_copy(update={"filters": (4, 4, 4), "dense_units": 8})
    folder = tmp_path_factory.mktemp("model")
    network = build("regularised_cnn", SMALL, params.train.model_copy(update={"cnn": small}))
    save_model(folder / "model.keras", with_probability(network, 1.5), facts)
    return folder


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """A label file and a folder of ten images of five kinds, ids with leading zeros, the file with BOM and `;`."""
    folder = tmp_path_factory.mktemp("galaxies")
    (folder / "images").mkdir()
    rows = ["name;class"]
    for number in range(10):
        suffix, mode, size = KINDS[number % 5]
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 4)).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"images/{number:04d}_cut.{suffix}")
        rows.append(f"{number:04d};{'early' if number % 2 else 'late'}")
    (folder / "my labels.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    return folder


@pytest.fixture
def score(tmp_path, galaxies, repository, monkeypatch, capsys):
    """Run the command on the galaxies and return its exit code, what it said, and its folder."""
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    monkeypatch.chdir(tmp_path)

    def run(model, *options, images=galaxies / "images", labels=galaxies / "my labels.csv", described=True):
        patterns = [f"--pattern={{CATAID}}_cut.{suffix}" for suffix, _, _ in KINDS]
        coding = [] if "--coding" in options else ["--coding", "early=Elliptical,late=Other"]
        description = [*patterns, "--columns", "id=name,label=class", *coding]
        code = main(
            ["score", "--model", str(model), "--labels", str(labels), "--images", str(images),
             "--params", str(repository / "params.yaml"), "--set", "evaluate.bootstrap=50",
             *(description if described else []), *options]
        )  # fmt: skip
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def predictions(folder):
    return storage.read_table(folder / "predictions.parquet")


def expected(model, galaxies, preprocess, change=lambda pixels: pixels):
    """What the model answers, asked directly about images that `change` made."""
    network, _ = load_model(model / "model.keras")
    files = sorted((galaxies / "images").iterdir())
    decoded = [decode_image(file.read_bytes(), file.name, 10_000).pixels for file in files]
    return predict_logits(network, np.stack([prepare(change(pixels), preprocess) for pixels in decoded]), 4)


def test_out_of_memory_names_the_batch_size(score, model, monkeypatch):
    def greedy(*_):
        raise MemoryError("Unable to allocate 1 PiB")

    monkeypatch.setattr(labelled, "predict_batches", greedy)
    code, _, said = score(model, "--set", "evaluate.batch_size=4")
    assert code == 1
    assert "Lower evaluate.batch_size (now 4)" in said
    assert said.strip().endswith("Received: Unable to allocate 1 PiB")


def test_images_of_every_kind_are_answered_as_the_model_answers_them(score, model, galaxies, tmp_path):
    code, said, _ = score(model, "--set", "evaluate.batch_size=4")
    assert code == 0
    found = predictions(tmp_path / "scores")
    assert found["CATAID"].tolist() == [f"{number:04d}" for number in range(10)]
    assert found["label"].tolist() == ["Other", "Elliptical"] * 5
    assert list(found.columns) == list(COLUMNS)
    logits, p_elliptical = expected(model, galaxies, SMALL)
    np.testing.assert_allclose(found["logit"], logits, atol=1e-5)
    np.testing.assert_allclose(found["p_elliptical"], p_elliptical, atol=1e-5)
    assert found["p_elliptical"].nunique() == 10
    metrics = storage.read_json(tmp_path / "scores/metrics.json")
    right = (found["label"] == found["predicted"]).mean()
    assert metrics["scores"]["accuracy"]["value"] == pytest.approx(right)
    assert metrics["scores"]["n"] == 10
    assert metrics["rejected"] == 0
    assert metrics["model_digest"] == storage.digest_file(model / "model.keras")
    assert f"accuracy            {right:.3f}" in said
    for words in ("10 galaxies scored, 0 rows and files left out", "balanced accuracy", "ROC AUC", "calibration error",
                  "Elliptical", "Other", "95 % interval", "figures: scores"):  # fmt: skip
        assert words in said
    files = {file.relative_to(tmp_path / "scores").as_posix() for file in (tmp_path / "scores").rglob("*.*")}
    assert files >= {
        "metrics.json", "rejected.csv", "classification_report.txt", "roc.csv", "calibration.csv", "confusion.csv",
        "figures/confusion.png", "figures/roc.png", "figures/calibration.png", "figures/probability.png",
    }  # fmt: skip


def test_images_go_through_the_denoiser_of_the_models_variant_first(score, model, galaxies, facts, tmp_path):
    kernel = MedianParams(kernel=9)
    network, _ = load_model(model / "model.keras")
    save_model(tmp_path / "model.keras", network, facts.model_copy(update={"variant": "median", "denoiser": kernel}))
    assert score(tmp_path / "model.keras")[0] == 0
    logits, _ = expected(model, galaxies, SMALL, lambda pixels: denoise(pixels, kernel))
    np.testing.assert_allclose(predictions(tmp_path / "scores")["logit"], logits, atol=1e-5)
    assert score(tmp_path / "model.keras", "--denoised", "--out", "asis")[0] == 0
    asis, _ = expected(model, galaxies, SMALL)
    np.testing.assert_allclose(predictions(tmp_path / "asis")["logit"], asis, atol=1e-5)
    assert np.abs(asis - logits).max() > 1e-3


def test_the_size_of_a_batch_changes_nothing(score, model, tmp_path):
    for size in (1, 3, 64):
        assert score(model, "--out", f"by{size}", "--set", f"evaluate.batch_size={size}")[0] == 0
    first = predictions(tmp_path / "by1")
    for size in (3, 64):
        pd.testing.assert_frame_equal(first, predictions(tmp_path / f"by{size}"), atol=1e-5)


def test_more_processes_give_the_same(score, model, tmp_path, monkeypatch):
    assert score(model, "--out", "one")[0] == 0
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    assert score(model, "--out", "two")[0] == 0
    for name in ("predictions.parquet", "metrics.json", "rejected.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_processes_that_read_images_do_not_load_tensorflow():
    script = "import sys, galmorph.edge.outside; print('keras' in sys.modules, 'mlflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def test_the_crop_may_be_another_than_the_model_s(score, model, galaxies, tmp_path):
    assert score(model / "model.keras", "--crop", "1")[0] == 0
    logits, _ = expected(model, galaxies, SMALL.model_copy(update={"crop": 1.0}))
    np.testing.assert_allclose(predictions(tmp_path / "scores")["logit"], logits, atol=1e-5)
    metrics = storage.read_json(tmp_path / "scores/metrics.json")
    assert (metrics["crop"], metrics["crop_of_model"]) == (1.0, 0.5)


@pytest.fixture
def damaged(galaxies, tmp_path):
    """The galaxies with an image truncated, one blank, one that is none, one missing, and two files too many."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in (galaxies / "images").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    whole = (folder / "0000_cut.png").read_bytes()
    (folder / "0000_cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (30, 30), (7, 7, 7)).save(folder / "0001_cut.jpg")
    (folder / "0002_cut.tif").write_text("no picture")
    (folder / "0003_cut.bmp").unlink()
    (folder / "0099_cut.png").write_bytes(whole)
    (folder / "README").write_text("of somebody")
    return folder


def test_what_cannot_be_used_is_listed_and_counted(score, model, damaged, tmp_path):
    code, said, _ = score(model, images=damaged)
    assert code == 0
    assert "6 galaxies scored, 6 rows and files left out (scores/rejected.csv)" in said
    rejected = pd.read_csv(tmp_path / "scores/rejected.csv", dtype=str, keep_default_na=False)
    assert rejected["CATAID"].tolist() == ["0000", "0001", "0002", "0003", "0099", ""]
    assert rejected["row"].tolist() == ["2", "3", "4", "5", "", ""]
    for reason, words in zip(
        rejected["reason"], ("truncated", "blank", "not an image", "no image called", "no label", "fits no pattern"),
        strict=True,
    ):  # fmt: skip
        assert words in reason
    assert storage.read_json(tmp_path / "scores/metrics.json")["rejected"] == 6
    assert len(predictions(tmp_path / "scores")) == 6


def test_a_zip_is_read_as_it_is(score, model, galaxies, tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted((galaxies / "images").iterdir()):
            archive.write(file, f"deep/{file.name}")
    assert score(model)[0] == 0
    assert score(model, "--out", "zipped", images=tmp_path / "images.zip")[0] == 0
    pd.testing.assert_frame_equal(predictions(tmp_path / "scores"), predictions(tmp_path / "zipped"))


def test_one_class_alone_is_scored_as_far_as_that_goes(score, model, galaxies, tmp_path):
    labels = tmp_path / "early.csv"
    labels.write_text("name,class\n0001,early\n0003,early\n0005,early\n")
    code, said, _ = score(model, labels=labels)
    assert code == 0
    scores = storage.read_json(tmp_path / "scores/metrics.json")["scores"]
    assert scores["support"] == {"Elliptical": 3, "Other": 0}
    assert scores["roc_auc"]["value"] is None
    assert "ROC AUC             \N{EN DASH}" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--columns", "id=CATAID"), "my labels.csv row 1: no column CATAID"),
        (("--columns", "id"), "--columns: takes NAME=VALUE.*Received: id"),
        (("--coding", "early=E"), r"options: coding\.early: .*'Elliptical' or 'Other'"),
        (("--coding", "a=Other,b=Elliptical"), "no galaxy has a known label.*unknown label 'late'"),
        (("--crop", "1.5"), "--crop: crop: .*Received: 1.5"),
        (("--set", "evaluate.bootstrap=none"), r"params.yaml: evaluate: bootstrap"),
    ],
)
def test_what_is_wrong_is_named(score, model, options, words, tmp_path):
    code, _, said = score(model, *options)
    assert code == 1
    assert re.search(words, said)
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("which", ["labels", "images"])
def test_a_missing_path_is_named(score, model, tmp_path, which):
    code, _, said = score(model, **{which: tmp_path / "nowhere"})
    assert code == 1
    assert f"{tmp_path / 'nowhere'}: no such" in said
    assert f"Check --{which}" in said


def test_without_any_image_that_fits_the_first_reasons_are_given(score, model):
    code, _, said = score(model, "--pattern={CATAID}.fits", described=True, images=resources.files("galmorph") / "data")
    assert code == 1
    assert "no galaxy has a known label and a readable image" in said
    assert "no image called 0000_cut.png" in said


def test_only_a_folder_of_its_own_is_replaced(score, model, tmp_path):
    (tmp_path / "scores").mkdir()
    assert score(model)[0] == 0  # an empty folder is nobody's
    assert score(model, "--crop", "1")[0] == 0
    assert storage.read_json(tmp_path / "scores/metrics.json")["crop"] == 1.0
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.tex").write_text("precious")
    code, _, said = score(model, "--out", "thesis")
    assert code == 1
    assert "thesis: exists, and is not the result of an earlier" in said
    assert (tmp_path / "thesis/chapter1.tex").read_text() == "precious"


def test_an_interrupted_run_leaves_the_earlier_result(score, model, tmp_path, monkeypatch):
    assert score(model)[0] == 0
    before = (tmp_path / "scores/metrics.json").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(labelled, "write_report", interrupted)
    assert score(model, "--crop", "1")[0] == 130
    assert (tmp_path / "scores/metrics.json").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["scores"]


@pytest.mark.parametrize("given", ["nothing.keras", "."])
def test_a_missing_model_is_named(score, given):
    code, _, said = score(given)
    assert code == 1
    assert "no such model. Give a .keras file" in said
    assert f"Received: '{given}'" in said


@pytest.fixture(scope="module")
def store(tmp_path_factory, model, facts, params):
    """The folder of the store, a client, and the version."""
    folder = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'store.db'}")
    client = mlflow.MlflowClient()
    client.create_experiment("galmorph", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("galmorph")
    example = cv2.imencode(".png", np.arange(1200, dtype=np.uint8).reshape(20, 20, 3))[1].tobytes()
    with mlflow.start_run() as run:
        source = log_model(model / "model.keras", facts, example, register_params(params))
    client.create_registered_model("galmorph")
    digest = storage.digest_file(model / "model.keras")
    made = client.create_model_version("galmorph", source, run.info.run_id, tags={"model_digest": digest})
    client.set_registered_model_alias("galmorph", "challenger", made.version)
    yield client, made.version
    mlflow.set_tracking_uri(before)


class TestRegistered:
    """A version in a real store."""

    @pytest.fixture
    def version(self, store, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return store

    def test_by_alias_and_by_version(self, score, model, version, tmp_path):
        assert score(model, "--out", "file")[0] == 0
        for source in ("models:/galmorph@challenger", f"models:/galmorph/{version[1]}"):
            assert score(source)[0] == 0
            metrics = storage.read_json(tmp_path / "scores/metrics.json")
            assert metrics["model"] == f"models:/galmorph/{version[1]}"
            pd.testing.assert_frame_equal(predictions(tmp_path / "file"), predictions(tmp_path / "scores"))

    @pytest.mark.parametrize("source", ["models:/galmorph@champion", "models:/galmorph/7", "models:/other@challenger"])
    def test_what_is_not_registered_is_named(self, score, version, source):
        code, _, said = score(source)
        assert code == 1
        assert f"{source}: cannot be had from sqlite" in said
        assert "MLFLOW_TRACKING_URI" in said

    def test_a_source_that_names_no_version(self, score, version):
        code, _, said = score("models:/galmorph")
        assert code == 1
        assert "models:/NAME@ALIAS or models:/NAME/VERSION. Received: 'models:/galmorph'" in said

    def test_a_file_that_is_not_the_registered_one(self, score, version):
        client, number = version
        digest = client.get_model_version("galmorph", number).tags["model_digest"]
        client.set_model_version_tag("galmorph", number, "model_digest", "0" * 64)
        code, _, said = score("models:/galmorph@challenger")
        client.set_model_version_tag("galmorph", number, "model_digest", digest)
        assert code == 1
        assert "its model file is not the one that was registered" in said


def test_real_cutouts_as_they_stand(score, model, real_data, tmp_path):
    """A handful of them, linked: the columns, the coding and the names are those of params.yaml."""
    lines = (real_data / "galaxies/labels.csv").read_text().splitlines()
    chosen = [lines[0], *lines[1:5], *lines[-4:]]
    (tmp_path / "labels.csv").write_text("\n".join(chosen))
    (tmp_path / "images").mkdir()
    for line in chosen[1:]:
        name = f"{line.split(',')[0]}_gri.jpg"
        (tmp_path / "images" / name).symlink_to(real_data / "galaxies/images" / name)
    code, said, _ = score(model, images=tmp_path / "images", labels=tmp_path / "labels.csv", described=False)
    assert code == 0
    assert "8 galaxies scored, 0 rows and files left out" in said
    assert predictions(tmp_path / "scores")["CATAID"].tolist() == [line.split(",")[0] for line in chosen[1:]]
