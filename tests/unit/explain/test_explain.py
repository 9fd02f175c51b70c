"""The explainer contract, for every method; and Grad-CAM against weights worked out by hand."""

import keras
import numpy as np
import pandas as pd
import pytest

from galmorph.errors import InputError, ModelError
from galmorph.explain.attention_rollout import AttentionRollout, rollout
from galmorph.explain.grad_cam import GradCam
from galmorph.explain.heatmap import normalised, overlay
from galmorph.explain.report import data_url, png, render
from galmorph.explain.sample import choose_sample
from galmorph.explain.sheet import Explained, panel, sheet
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.params import PreprocessParams, SampleParams

SIZE = PreprocessParams(crop=0.5, image_size=24)
#: A method joins the contract by joining this table.
EXPLAINERS = {
    "grad_cam": lambda model, batch_size: GradCam(model, None, batch_size),
    "attention_rollout": AttentionRollout,
}
#: Methods that say where the model looked, whatever the class.
CLASSLESS = {"attention_rollout"}


@pytest.fixture(scope="module")
def model(params):
    keras.utils.set_random_seed(1)
    small = params.train.cnn.model_copy(update={"filters": (4, 6), "dense_units": 8})
    return with_probability(build("baseline_cnn", SIZE, params.train.model_copy(update={"cnn": small})), 1.0)


@pytest.fixture(scope="module")
def transformer(params):
    keras.utils.set_random_seed(1)
    small = params.train.vit.model_copy(update={"patch": 8, "width": 8, "depth": 2, "heads": 2, "mlp": 8})
    return with_probability(build("vit", SIZE, params.train.model_copy(update={"vit": small})), 1.0)


@pytest.fixture(scope="module")
def galaxies():
    return np.random.default_rng(2).integers(0, 256, (5, 24, 24, 3), np.uint8)


@pytest.mark.parametrize("name", sorted(EXPLAINERS))
class TestContract:
    @pytest.fixture
    def model(self, name, model, transformer):
        return transformer if name == "attention_rollout" else model

    @pytest.mark.parametrize("batch_size", [1, 2, 8])
    def test_a_map_for_every_image(self, name, batch_size, model, galaxies):
        maps = EXPLAINERS[name](model, batch_size).explain(galaxies, ["Elliptical"] * 5)
        assert maps.shape == galaxies.shape[:3]
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()

    def test_batches_do_not_matter(self, name, model, galaxies):
        target = ["Elliptical", "Other"] * 2 + ["Other"]
        together = EXPLAINERS[name](model, 5).explain(galaxies, target)
        alone = EXPLAINERS[name](model, 1).explain(galaxies, target)
        np.testing.assert_allclose(together, alone, atol=1e-5 * max(1.0, float(together.max())))

    def test_the_target_matters_where_a_method_says_so(self, name, model, galaxies):
        explainer = EXPLAINERS[name](model, 5)
        one, other = (explainer.explain(galaxies, [label] * 5) for label in ("Elliptical", "Other"))
        assert np.allclose(one, other) == (name in CLASSLESS)

    def test_no_image_gives_no_map(self, name, model, galaxies):
        assert EXPLAINERS[name](model, 4).explain(galaxies[:0], []).shape == (0, 24, 24)

    def test_a_constant_image_is_explained_without_a_fuss(self, name, model):
        assert np.isfinite(EXPLAINERS[name](model, 4).explain(np.full((1, 24, 24, 3), 7), ["Other"])).all()

    def test_an_unknown_target_is_refused(self, name, model, galaxies):
        with pytest.raises(InputError, match=r"Elliptical, Other.*'Spiral'"):
            EXPLAINERS[name](model, 4).explain(galaxies, ["Spiral"] * 5)

    def test_a_wrong_size_is_refused(self, name, model):
        with pytest.raises(InputError, match=r"24, 24, 3.*\(1, 8, 8, 3\)"):
            EXPLAINERS[name](model, 4).explain(np.zeros((1, 8, 8, 3)), ["Other"])

    def test_nan_is_refused_and_the_image_named(self, name, model, galaxies):
        broken = galaxies.astype(float)
        broken[3, 2, 2, 0] = np.nan
        with pytest.raises(InputError, match="image 3"):
            EXPLAINERS[name](model, 4).explain(broken, ["Other"] * 5)


def hand_made(weight: float) -> keras.Model:
    """A 1×1 convolution that copies red and green; the logit is `weight` times mean red, less mean green."""
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="copy")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, use_bias=False, name="logit")(pooled)), 1.0)
    made.get_layer("copy").set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)[None, None]])
    made.get_layer("logit").set_weights([np.array([[weight], [-1]], np.float32)])
    return made


def test_grad_cam_is_the_formula():
    """Channel weights are the mean gradients, here weight/64 and -1/64."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    expected = np.maximum(3.0 * image[..., 0] - image[..., 1], 0) / 64
    explainer = GradCam(hand_made(3.0), None, 1)
    np.testing.assert_allclose(explainer.explain(image, ["Elliptical"]), expected, atol=1e-4)
    opposite = np.maximum(image[..., 1] - 3.0 * image[..., 0], 0) / 64
    np.testing.assert_allclose(explainer.explain(image, ["Other"]), opposite, atol=1e-4)


def test_grad_cam_points_at_the_source_of_the_evidence():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[0, 2, 6, 0] = 200
    attribution = GradCam(hand_made(1.0), "copy", 1).explain(image, ["Elliptical"])[0]
    assert np.unravel_index(attribution.argmax(), (8, 8)) == (2, 6)


def test_nothing_for_the_class_is_an_empty_map():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[..., 1] = 50
    assert not GradCam(hand_made(1.0), None, 1).explain(image, ["Elliptical"]).any()


def test_an_unknown_layer_lists_the_convolutions(model):
    with pytest.raises(ModelError, match=r"block1_conv, block2_conv.*'head_dense'"):
        GradCam(model, "head_dense", 1)


def test_a_model_without_convolution_is_refused():
    image = keras.Input((8, 8, 3))
    flat = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(image)))
    with pytest.raises(ModelError, match="no convolution"):
        GradCam(with_probability(flat, 1.0), None, 1)


def test_normalisation_keeps_an_empty_map_empty():
    assert not normalised(np.zeros((4, 4))).any()
    np.testing.assert_allclose(normalised(np.array([[-1.0, 2.0], [0.0, 4.0]])), [[0, 0.5], [0, 1]])


def test_the_overlay_mixes_image_and_colour():
    image = np.full((2, 2, 3), 100, np.uint8)
    np.testing.assert_array_equal(overlay(image, np.ones((2, 2)), "viridis", 0.0), image)
    full = overlay(image, np.array([[0.0, 1.0], [0.0, 0.0]]), "viridis", 1.0)
    np.testing.assert_array_equal(full[0, 1], [253, 231, 37])  # viridis ends in yellow
    assert overlay(image, np.ones((2, 2)), "viridis", 0.6).dtype == np.uint8


def predictions(count: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    p = rng.uniform(size=count)
    label = np.where(rng.uniform(size=count) < p, "Elliptical", "Other")
    return pd.DataFrame(
        {
            "CATAID": [f"{number:03d}" for number in range(count)],
            "label": label,
            "p_elliptical": p,
            "predicted": np.where(p >= 0.5, "Elliptical", "Other"),
        }
    )


def test_the_sample_holds_what_it_says():
    table = predictions()
    chosen = choose_sample(table, SampleParams(most_confident=3, most_wrong=2, borderline=2, random=4), seed=1)
    assert chosen["CATAID"].is_unique
    assert chosen["chosen_as"].value_counts().to_dict() == {
        "most_confident": 3, "most_wrong": 2, "borderline": 2, "random": 4,
    }  # fmt: skip
    wrong = chosen[chosen["chosen_as"] == "most_wrong"]
    assert (wrong["label"] != wrong["predicted"]).all()
    distance = (table["p_elliptical"] - 0.5).abs()
    nearest = set(table.loc[distance.nsmallest(2).index, "CATAID"])
    assert nearest == set(chosen.loc[chosen["chosen_as"] == "borderline", "CATAID"])


def test_the_sample_does_not_depend_on_the_order_of_the_table():
    asked = SampleParams(most_confident=2, most_wrong=2, borderline=2, random=5)
    table = predictions()
    first = choose_sample(table, asked, 3)
    again = choose_sample(table.sample(frac=1, random_state=1).reset_index(drop=True), asked, 3)
    assert first["CATAID"].tolist() == again["CATAID"].tolist()


def test_a_small_table_gives_what_it_has():
    asked = SampleParams(most_confident=50, most_wrong=50, borderline=50, random=50)
    assert sorted(choose_sample(predictions(8), asked, 3)["CATAID"]) == [f"{number:03d}" for number in range(8)]


@pytest.fixture
def explained():
    rng = np.random.default_rng(1)
    return [
        Explained(
            cataid=f"<{number}>", label="Other", predicted=answer, p_elliptical=0.3, chosen_as="random",
            image=rng.integers(0, 90, (60, 80, 3), np.uint8),
            attribution=np.eye(60, 80, dtype=np.float32) * (number > 0),
        )
        for number, answer in enumerate(["Other", "Elliptical", "Other", "Other", "Other"])
    ]  # fmt: skip


def test_sheets_and_panels_are_pictures(explained):
    for figure in (sheet(explained, SIZE, "viridis", 0.6), panel(explained[0], SIZE, "viridis", 0.6)):
        assert png(figure).startswith(b"\x89PNG")


def test_the_report_needs_no_network_and_says_what_is_wrong_or_empty(explained):
    rows = [
        {
            "cataid": galaxy.cataid, "label": galaxy.label, "predicted": galaxy.predicted, "p_elliptical": 0.3,
            "right": galaxy.right, "empty": galaxy.empty, "kind": "drawn at random",
            "picture": data_url(b"\x89PNG"),
        }
        for galaxy in explained
    ]  # fmt: skip
    facts = dict.fromkeys(("experiment", "architecture", "variant", "layer", "colour_map", "split", "data_digest"), "x")
    page = render(
        {**facts, "method": "grad_cam", "image_size": 24, "crop": 0.5, "alpha": 0.6},
        {"accuracy": {"value": 0.9, "low": None, "high": None}, "ece": {"value": 0.1, "low": 0.05, "high": 0.2}},
        rows,
    )
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<img ") == page.count("alt=") == 5
    assert page.count('class="wrong"') == 1
    assert "The map is empty" in page
    assert "&lt;0&gt;" in page, "an id from a catalogue must not become markup"
    assert "<dd>0.900</dd>" in page
    assert "0.100 (0.050 to 0.200)" in page


def test_rollout_against_two_blocks_worked_out_by_hand():
    """Two heads, one patch: the class token keeps a half of itself in each block, and takes what attention gives it."""
    first = np.array(
        [[[0.2, 0.8], [0.0, 1.0]], [[0.6, 0.4], [0.0, 1.0]]]
    )  # the mean of the heads gives 0.6 to the patch
    second = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # and 0.5
    weights = np.stack([first, second])[None]
    # block 1: class ← 0.7 class + 0.3 patch; block 2: class ← 0.75 class + 0.25 patch
    expected = 0.75 * 0.3 + 0.25 * 1.0
    assert rollout(weights)[0, 0, 0] == pytest.approx(expected)


def test_rollout_looks_where_attention_was():
    """All attention on one patch of four: it alone has a share, in its place."""
    weights = np.tile(np.eye(5), (1, 1, 1, 1, 1))
    weights[..., 0, :] = [0, 0, 0, 1, 0]
    np.testing.assert_allclose(rollout(weights)[0], [[0, 0], [0.5, 0]])


def test_a_model_without_attention_has_no_rollout(model, galaxies):
    with pytest.raises(ModelError, match="no attention"):
        AttentionRollout(model, 4).explain(galaxies, ["Other"] * 5)
