"""`galmorph explain --model … --images …`: any images, without the pipeline."""

import re

import keras
import numpy as np
import pytest
from PIL import Image

from galmorph import storage
from galmorph.cli import main
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.models.recipe import Recipe
from galmorph.models.saved import ModelFacts, save_model
from galmorph.params import PreprocessParams

SMALL = PreprocessParams(crop=0.5, image_size=24)
FAST = (
    "explain.activations.first=1 explain.activations.last=1 explain.faithfulness.bootstrap=20 "
    "explain.faithfulness.steps=2 explain.faithfulness.subsets=4 explain.faithfulness.cells=2 "
    "explain.faithfulness.stability_galaxies=1 explain.faithfulness.randomisation.galaxies=1 "
    "explain.faithfulness.randomisation.stages=1 explain.faithfulness.randomisation.draws=1"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory, params):
    keras.utils.set_random_seed(5)
    small = params.train.cnn.model_copy(update={"filters": (4, 4, 4), "dense_units": 8})
    facts = ModelFacts(
        galmorph="0", experiment="regularised_cnn_raw", architecture="regularised_cnn", variant="raw",
        preprocess=SMALL, denoiser=None, temperature=1.5,
        recipe=Recipe(weights="none", phases=("scratch",), epochs=(1,), augmentation=None, class_weights=True),
        seed=1, data_digest="d" * 64, params_digest="p" * 64, git_commit=None, run_id=None,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("model")
    network = build("regularised_cnn", SMALL, params.train.model_copy(update={"cnn": small}))
    save_model(folder / "model.keras", with_probability(network, 1.5), facts)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two galaxies on a dark sky, a file that is none, and a blank one."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:60, :60] - 29.5
    for name, ratio in (("round", 1.0), ("flat", 0.4)):
        light = 200 * np.exp(-np.hypot(x, y / ratio) / 6)[..., None] * [1.0, 0.8, 0.6]
        noise = np.random.default_rng(3).normal(8, 2, light.shape)
        Image.fromarray((light + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"not an image")
    Image.new("RGB", (40, 40)).save(folder / "blank.jpg")
    return folder


@pytest.fixture
def explain(tmp_path, repository, monkeypatch, capsys):
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    monkeypatch.chdir(tmp_path)

    def run(*options):
        code = main(["explain", "--params", str(repository / "params.yaml"), "--set", FAST, *map(str, options)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_images_are_explained_and_what_cannot_be_used_is_listed(explain, model, images, tmp_path):
    code, said, _ = explain("--model", model, "--images", images, "--methods", "grad_cam,occlusion")
    assert code == 0
    assert "2 images answered" in said
    out = tmp_path / "explained"
    assert {"report.html", "faithfulness.json", "sheet.png", "predictions.csv"} <= {each.name for each in out.iterdir()}
    assert list(storage.read_json(out / "faithfulness.json")["methods"]) == ["grad_cam", "occlusion"]
    assert sorted(storage.read_table(out / "predictions.csv")["CATAID"]) == ["flat", "round"]
    assert sorted(storage.read_table(out / "rejected.csv")["file"]) == ["blank.jpg", "broken.png"]
    page = (out / "report.html").read_text()
    assert "round" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_one_image_again_into_the_same_folder(explain, model, images):
    for name in ("round.png", "flat.png"):
        assert explain("--model", model, "--images", images / name, "--methods", "grad_cam")[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--images", "x.png"], "go together.*no --model"),
        (["--model", "m.keras"], "go together.*no --images"),
        (["--model", "m.keras", "--images", "x.png", "--methods", "tea_leaves"], r"explain\.methods.*grad_cam"),
        (["--model", "m.keras", "--images", "nowhere"], "no such file or folder"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(explain, options, words):
    code, _, said = explain(*options)
    assert code == 1
    assert re.search(words, said.replace("\n", " "))


def test_only_methods_that_do_not_fit_are_refused(explain, model, images):
    code, _, said = explain("--model", model, "--images", images, "--methods", "attention_rollout")
    assert code == 1
    assert "none of them fits regularised_cnn" in said


def test_a_folder_of_something_else_is_not_replaced(explain, model, images, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    code, _, said = explain("--model", model, "--images", images, "--out", "mine")
    assert code == 1
    assert "would be replaced" in said
    assert (tmp_path / "mine/thesis.txt").exists()


def test_two_images_of_one_name_are_refused(explain, model, images, tmp_path):
    (tmp_path / "round.png").write_bytes((images / "round.png").read_bytes())
    code, _, said = explain("--model", model, "--images", images, tmp_path / "round.png")
    assert code == 1
    assert "two images are called round" in said
