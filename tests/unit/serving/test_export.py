"""Exported models against Keras, for every architecture, in both precisions."""

import subprocess
import sys
from xml.etree import ElementTree

import keras
import numpy as np
import pytest

from galmorph.cpu import FACTS, cpu_has_bfloat16
from galmorph.errors import ModelError
from galmorph.explain.class_map import class_map
from galmorph.explain.closed_form import grad_cam_outputs
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.stability import turn_stability
from galmorph.explain.grad_cam import GradCam
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.params import PreprocessParams
from galmorph.serving.explaining import heat_map, turned
from galmorph.serving.export import Origin, export, in_float32
from galmorph.serving.runtime import Runtime
from galmorph.storage import digest_file, read_json
from tests.convolutional import CASES, galaxies, made, taught
from tests.exporting import exported, facts_of

needs_bfloat16 = pytest.mark.skipif(not cpu_has_bfloat16(FACTS), reason="this CPU has no bfloat16 instructions")
#: One of each architecture; the rest of CASES differ in what the closed form meets, which has tests of its own.
ARCHITECTURES = ["baseline, border dropped", "regularised", "regularised, averaged", "vgg16", "resnet50"]
SIDE = 32


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request, params, tmp_path_factory):
    """Galaxies, Keras's answers to them, and the exported folder."""
    images, _ = galaxies(24, CASES[request.param][1], 2)
    model = made(params, request.param)
    folder = tmp_path_factory.mktemp("exported") / "model"
    exported(model, folder)
    return images, *answers(model, images), folder


@pytest.fixture(scope="module")
def trained(params, tmp_path_factory):
    """A model that has learned something, galaxies that it has not seen, Keras's answers, and the exported folder."""
    images, is_round = galaxies(200, SIDE, 3)
    model = taught(params, SIDE)
    folder = tmp_path_factory.mktemp("exported") / "model"
    exported(model, folder)
    p, coarse = answers(model, images)
    assert ((p > 0.5) == is_round).mean() > 0.9, "it learned nothing, so that nothing can be said of its precision"
    return model, images, p, coarse, folder


def answers(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, coarse = grad_cam_outputs(model, None).predict(images.astype(np.float32), verbose=0)
    return p[:, 0], coarse


def correlations(found: np.ndarray, expected: np.ndarray, side: int) -> np.ndarray:
    """Of the heat maps for both classes, where Keras's is not the same all over."""
    pairs = []
    for sign in (1, -1):
        signs = np.full(len(found), sign)
        pairs += zip(class_map(found, signs, side), class_map(expected, signs, side), strict=True)
    return np.array([np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] for ours, theirs in pairs if np.ptp(theirs)])


def test_float32_is_keras(case):
    images, p, coarse, folder = case
    found = Runtime(folder, "f32", 1).answer(images, maps=True)
    # Random models answer much the same to all: an error must be far below what tells images apart.
    assert np.ptp(p) > 2e-4
    assert np.abs(found.p_elliptical - p).max() <= min(1e-4, np.ptp(p) / 100)
    assert np.abs(found.maps - coarse).max() <= 1e-4 * np.abs(coarse).max()
    drawn = correlations(found.maps, coarse, images.shape[1])
    assert len(drawn) >= 20
    assert drawn.min() >= 0.999


@needs_bfloat16
def test_bfloat16_is_near_for_every_architecture(case):
    images, p, coarse, folder = case
    found = Runtime(folder, "bf16", 1).answer(images, maps=True)
    assert 1e-5 < np.abs(found.p_elliptical - p).max() <= 0.02, "nearer than bfloat16 can be, or further than it may"
    assert np.quantile(correlations(found.maps, coarse, images.shape[1]), 0.01) >= 0.98


def test_float32_is_keras_for_a_trained_model(trained):
    _, images, p, coarse, folder = trained
    found = Runtime(folder, "f32", 1).answer(images, maps=True)
    assert np.abs(found.p_elliptical - p).max() <= 1e-4
    assert correlations(found.maps, coarse, SIDE).min() >= 0.999


@needs_bfloat16
def test_bfloat16_is_near_for_a_trained_model(trained):
    _, images, p, coarse, folder = trained
    runtime = Runtime(folder, "bf16", 1)
    found = runtime.answer(images, maps=True)
    assert runtime.precision == "bf16"
    assert 1e-5 < np.abs(found.p_elliptical - p).max() <= 0.02
    assert np.quantile(correlations(found.maps, coarse, SIDE), 0.01) >= 0.98


def test_maps_are_grad_cam_s(trained):
    """What the service draws is what the report shows."""
    model, images, p, _, folder = trained
    labels = ["Elliptical" if each >= 0.5 else "Other" for each in p[:20]]
    expected = GradCam(model, None, 20).explain(images[:20].astype(np.float32), labels)
    runtime = Runtime(folder, "f32", 1)
    found = runtime.answer(images[:20], maps=True)
    assert runtime.labels(found.p_elliptical) == labels
    drawn = class_map(found.maps, np.where(p[:20] >= 0.5, 1, -1), SIDE)
    assert np.abs(drawn - expected).max() <= 1e-3 * expected.max()
    assert expected.any()


def test_stability_under_turns_is_the_reports(trained):
    model, images, p, _, folder = trained
    images, labels = images[:8], ["Elliptical" if each >= 0.5 else "Other" for each in p[:8]]
    explainer = GradCam(model, None, 20)
    asked = Galaxies([str(at) for at in range(8)], images, (), labels, [()] * 8)
    maps = explainer.explain(images.astype(np.float32), labels)
    expected = turn_stability({"it": explainer}, asked, {"it": maps}, 8)["it"]
    runtime = Runtime(folder, "f32", 1)
    found = [
        heat_map(image, runtime.answer(turned(image), maps=True).maps, label, runtime.facts.preprocess).stability
        for image, label in zip(images, labels, strict=True)
    ]
    # Nearly equal values change places by rounding, and ranks with them.
    np.testing.assert_allclose(np.array(found, np.float64), expected, atol=0.01)
    assert np.nanmax(expected) - np.nanmin(expected) > 0.05


@pytest.fixture(scope="module")
def transformer(params):
    keras.utils.set_random_seed(2)
    small = params.train.vit.model_copy(update={"patch": 8, "width": 16, "depth": 2, "heads": 2, "mlp": 16})
    size = PreprocessParams(crop=0.5, image_size=24)
    model = build("vit", size, params.train.model_copy(update={"vit": small}))
    logit = model.get_layer("logit")
    logit.set_weights([100 * value for value in logit.get_weights()])
    return with_probability(model, 1.3)


def test_a_transformer_gives_the_probability_alone(transformer, tmp_path):
    facts = exported(transformer, tmp_path / "vit")
    assert (facts.heat_maps, facts.layer) == (False, None)
    images, _ = galaxies(9, 24, 2)
    p = transformer.predict(images.astype(np.float32), verbose=0)[:, 0]
    found = Runtime(tmp_path / "vit", "f32", 1).answer(images, maps=True)
    assert found.maps is None
    assert np.ptp(p) > 0.01
    assert np.abs(found.p_elliptical - p).max() <= 1e-4


@pytest.mark.parametrize("case", ["regularised", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_model_in_mixed_precision_is_exported_in_float32(params, case, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = made(params, case)
    finally:
        keras.config.set_dtype_policy("float32")
    images, _ = galaxies(6, CASES[case][1], 2)
    exported(mixed, tmp_path / "model")
    kinds = {port.get("element_type") for port in ElementTree.parse(tmp_path / "model/model.xml").iter("data")}
    assert "f32" in kinds
    assert not kinds & {"bf16", "f16"}
    p, _ = answers(in_float32(mixed), images)
    found = Runtime(tmp_path / "model", "f32", 1).answer(images, maps=False)
    assert np.abs(found.p_elliptical - p).max() <= 1e-5


def test_a_model_in_float32_is_not_copied(trained):
    assert in_float32(trained[0]) is trained[0]


def test_the_folder_says_all_of_itself(trained):
    folder = trained[4]
    facts = read_json(folder / "facts.json")
    assert facts["layer"] == "block3_norm1" or facts["layer"].startswith("block3_conv")
    assert (facts["model"], facts["version"], facts["temperature"], facts["threshold"]) == ("galmorph", 3, 1.3, 0.5)
    digests = read_json(folder / "digests.json")
    assert digests == {name: digest_file(folder / name) for name in ("facts.json", "model.bin", "model.xml")}
    # In float32: four bytes a weight.
    assert (folder / "model.bin").stat().st_size > 4 * trained[0].count_params() * 0.9


def test_only_the_batch_is_open(trained):
    data = next(ElementTree.parse(trained[4] / "model.xml").iter("layer")).find("data")
    assert (data.get("shape"), data.get("element_type")) == (f"?,{SIDE},{SIDE},3", "u8")


def test_what_the_service_shows_lies_beside(trained, tmp_path):
    (tmp_path / "cutouts").mkdir()
    (tmp_path / "cutouts/one.png").write_bytes(b"one")
    (tmp_path / "page.html").write_text("<p>")
    shown = {
        "examples": tmp_path / "cutouts",
        "report.html": tmp_path / "page.html",
        "model_card.md": tmp_path / "none.md",
    }
    model = trained[0]
    export(model, facts_of(model), tmp_path / "out", Origin("galmorph", None, "m", "now"), None, shown)
    assert set(read_json(tmp_path / "out/digests.json")) == {
        "examples/one.png", "facts.json", "model.bin", "model.xml", "report.html",
    }  # fmt: skip


def test_a_graph_that_differs_is_not_handed_out(trained, tmp_path, monkeypatch):
    """As where OpenVINO reads an operation in another way than Keras."""
    other = keras.models.clone_model(trained[0])
    real = grad_cam_outputs(other, None)
    monkeypatch.setattr("galmorph.serving.export.with_exact_input", lambda _: real)
    with pytest.raises(ModelError, match=r"exported p_elliptical are not Keras's.*Received: a difference of"):
        exported(trained[0], tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_openvino_does_not_call_home(tmp_path):
    """It would send an event when it is imported, and leave an identifier in the home folder."""
    script = (
        "from galmorph.quiet import openvino; openvino().Core();"
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)"
    )
    home = {"HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    used = subprocess.run([sys.executable, "-c", script], check=True, env=home, capture_output=True, text=True).stdout
    assert used.strip() == "openvino.tools.ovc.telemetry_stub"
    assert not list(tmp_path.iterdir())
