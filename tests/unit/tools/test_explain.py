"""`galmorph explain --model … --images …`: any images, without the pipeline."""

import re
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from galmorph import storage
from galmorph.cli import main
from galmorph.data.dataset import prepare
from galmorph.data.denoise import denoise
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.models.predict import predict_logits
from galmorph.models.recipe import Recipe
from galmorph.models.saved import ModelFacts, load_facts, load_model, save_model
from galmorph.params import MedianParams, PreprocessParams

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


def logit_of(model, path, preprocess=SMALL, change=lambda pixels: pixels):
    """What the model answers about an image, asked directly."""
    network, _ = load_model(model / "model.keras")
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return predict_logits(network, prepare(change(pixels), preprocess)[None], 1)[0][0]


def answered(folder):
    """The logits of a run, by name."""
    return storage.read_table(folder / "predictions.csv").set_index("CATAID")["logit"]


def test_files_folders_and_zips_may_be_mixed_and_other_files_lie_among_them(explain, model, images, tmp_path):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(images / "round.png", "deep/er/from zip.PNG")
        archive.writestr("README.txt", "no image, and not said to be one")
    (tmp_path / "folder/below").mkdir(parents=True)
    Image.open(images / "flat.png").save(tmp_path / "folder/below/from folder.tif")
    given = [images / "round.png", tmp_path / "more.zip", tmp_path / "folder"]
    code, said, _ = explain("--model", model / "model.keras", "--images", *given, "--methods", "grad_cam")
    assert code == 0
    assert "3 images answered" in said
    assert "left out" not in said
    logits = answered(tmp_path / "explained")
    assert sorted(logits.index) == ["from folder", "from zip", "round"]
    assert logits["round"] == pytest.approx(logit_of(model, images / "round.png"), abs=1e-5)
    assert logits["from zip"] == logits["round"] != logits["from folder"]


def test_another_crop_is_what_the_model_sees(explain, model, images, tmp_path):
    code, _, _ = explain(
        "--model", model, "--images", images / "flat.png", "--methods", "grad_cam", "--crop", "0.9", "--out", "wide"
    )
    assert code == 0
    wide = logit_of(model, images / "flat.png", SMALL.model_copy(update={"crop": 0.9}))
    assert answered(tmp_path / "wide")["flat"] == pytest.approx(wide, abs=1e-5)
    assert abs(wide - logit_of(model, images / "flat.png")) > 1e-3
    code, _, said = explain("--model", model, "--images", images / "flat.png", "--crop", "1.5")
    assert code == 1
    assert re.search(r"--crop: crop: .*Received: 1.5", said)


def test_images_go_through_the_denoiser_of_the_models_variant_unless_they_did(explain, model, images, tmp_path):
    kernel = MedianParams(kernel=9)
    network, facts = load_model(model / "model.keras")
    save_model(tmp_path / "model.keras", network, facts.model_copy(update={"variant": "median", "denoiser": kernel}))
    given = ["--model", tmp_path / "model.keras", "--images", images / "flat.png", "--methods", "grad_cam"]
    assert explain(*given)[0] == 0
    smooth = logit_of(model, images / "flat.png", change=lambda pixels: denoise(pixels, kernel))
    assert answered(tmp_path / "explained")["flat"] == pytest.approx(smooth, abs=1e-5)
    assert explain(*given, "--denoised", "--out", "as_is")[0] == 0
    as_is = logit_of(model, images / "flat.png")
    assert answered(tmp_path / "as_is")["flat"] == pytest.approx(as_is, abs=1e-5)
    assert abs(as_is - smooth) > 1e-3


def test_what_is_odd_about_an_image_is_said_and_it_is_explained_all_the_same(explain, model, images, tmp_path):
    """One without a galaxy in it, and one with a channel that was never observed."""
    odd = tmp_path / "odd"
    odd.mkdir()
    sky = np.random.default_rng(4).normal(20, 6, (60, 60, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(sky).save(odd / "sky.png")
    pixels = np.asarray(Image.open(images / "round.png")).copy()
    pixels[..., 2] = 0
    Image.fromarray(pixels).save(odd / "no_blue.png")
    code, said, _ = explain("--model", model, "--images", odd, "--methods", "grad_cam,lime", "--out", "found")
    assert code == 0
    assert "2 images answered" in said
    record = storage.read_json(tmp_path / "found/faithfulness.json")
    assert record["no_galaxy_found"] == 1
    assert record["on_galaxy"]["with_blank_channel"] == 1
    page = (tmp_path / "found/report.html").read_text()
    assert page.count("No galaxy stands out of the sky") == 1
    assert "no galaxy found: rings about the centre of the image" in page
    assert page.count("the B channel is blank") == 1


def test_only_files_that_are_no_image_are_refused(explain, model, images, tmp_path):
    code, _, said = explain("--model", model, "--images", images / "broken.png", images / "blank.jpg")
    assert code == 1
    assert "none of the 2 files can be used" in said
    assert "blank, every pixel is [0, 0, 0]" in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_images_is_refused(explain, model, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("no image")
    code, _, said = explain("--model", model, "--images", tmp_path / "texts")
    assert code == 1
    assert "no file whose name ends in" in said


def test_a_model_file_with_code_in_it_is_refused(explain, model, images, tmp_path):
    image = keras.Input((24, 24, 3), name="image")
    layer = keras.layers.Lambda(lambda x: x, name="logit")(keras.layers.Flatten()(image))
    answer = keras.layers.Dense(1, activation="sigmoid", name="p_elliptical")(layer)
    keras.Model(image, answer).save(tmp_path / "poisoned.keras")
    with zipfile.ZipFile(tmp_path / "poisoned.keras", "a") as archive:
        archive.writestr("galmorph.json", load_facts(model / "model.keras").model_dump_json())
    code, _, said = explain("--model", tmp_path / "poisoned.keras", "--images", images)
    assert code == 1
    assert "safe mode allows no code in a model" in said
    assert not (tmp_path / "explained").exists()


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("explain.grad_cam.layer=nowhere", r"explain\.grad_cam\.layer must be one of.*block1_conv.*'nowhere'"),
        ("explain.lime.samples=0", r"explain\.lime\.samples: .*Received: 0"),
        ("explain.smooth_grad.samples=0", r"explain\.smooth_grad\.samples: .*Received: 0"),
        ("explain.faithfulness.galaxies=0", r"explain\.faithfulness\.galaxies: .*Received: 0"),
    ],
)
def test_values_that_cannot_be_are_named(explain, model, images, tmp_path, assignment, words):
    code, _, said = explain("--model", model, "--images", images, "--set", assignment)
    assert code == 1
    assert re.search(words, said.replace("\n", " "))
    assert list(tmp_path.iterdir()) == []
