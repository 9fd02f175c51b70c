"""LIME against coefficients that are known, and against the package's own loop."""

import keras
import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer

from galmorph.explain.answers import LogitAnswerer
from galmorph.explain.baselines import baselines
from galmorph.explain.lime import Lime, image_seed
from galmorph.explain.superpixels import superpixels
from galmorph.models.layers import with_probability

SIDE = 32
SEED = 5


def linear(seed=0) -> keras.Model:
    """A model whose logit is linear in the pixels, with weights drawn at random."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    logit = keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(image))
    made = with_probability(keras.Model(image, logit), 1.0)
    weights = np.random.default_rng(seed).normal(0, 0.01, (SIDE * SIDE * 3, 1)).astype(np.float32)
    made.get_layer("logit").set_weights([weights, np.array([-3.0], np.float32)])
    return made


@pytest.fixture(scope="module")
def model():
    return linear()


@pytest.fixture(scope="module")
def cutouts():
    """Two flattened galaxies of different size, and noise without one."""
    rng = np.random.default_rng(8)
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    light = [180 * np.exp(-0.5 * (np.hypot(rows, columns / 0.6) / radius) ** 2) for radius in (4, 5)]
    light.append(np.zeros((SIDE, SIDE)))
    return (np.stack(light)[..., None] + 15 + rng.normal(0, 1, (3, SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture
def lime_params(params):
    return params.explain.lime.model_copy(
        update={"superpixels": "annuli", "annuli": 3, "sectors": 4, "samples": 400, "hidden": "sky"}
    )


@pytest.mark.parametrize("kind", ["annuli", "slic"])
@pytest.mark.parametrize("hidden", ["black", "sky", "blurred"])
def test_a_linear_model_gives_its_coefficients_back(kind, hidden, model, cutouts, lime_params):
    params = lime_params.model_copy(update={"superpixels": kind, "hidden": hidden, "segments": 12, "samples": 2000})
    made = Lime(model, params, SEED, 64).attribute(cutouts[:1], ["Elliptical"])
    weights = model.get_layer("logit").get_weights()[0].reshape(SIDE, SIDE, 3)
    evidence = (weights * (cutouts[0] - baselines(cutouts[:1], hidden)[0])).sum(-1)
    labels = superpixels(cutouts[0], params).labels
    expected = np.bincount(labels.ravel(), evidence.ravel())[labels]
    # The package's ridge takes about one part in Σ weight × var(mask) ≈ 200 away.
    np.testing.assert_allclose(made.maps[0], expected, atol=0.02 * np.abs(expected).max())
    assert made.facts["r2"][0] > 0.999
    assert made.facts["superpixels"][0] == labels.max() + 1


def test_coefficients_are_those_of_the_packages_own_loop(model, cutouts, lime_params):
    labels = superpixels(cutouts[0], lime_params).labels
    sky = baselines(cutouts[:1], "sky")[0]
    answer = LogitAnswerer(model, 10)
    package = LimeImageExplainer(feature_selection="none", random_state=image_seed(SEED, cutouts[0].astype(np.float32)))
    explanation = package.explain_instance(
        cutouts[0].astype(np.float32),
        lambda images: answer(images)[:, None],
        labels=(0,),
        top_labels=None,
        hide_color=sky[0, 0],
        num_samples=lime_params.samples,
        segmentation_fn=lambda _: labels,
    )
    expected = np.array([coefficient for _, coefficient in sorted(explanation.local_exp[0])])[labels]
    made = Lime(model, lime_params, SEED, 64).attribute(cutouts[:1], ["Elliptical"])
    np.testing.assert_allclose(made.maps[0], expected, atol=1e-4 * np.abs(expected).max())
    assert made.facts["r2"][0] == pytest.approx(explanation.score, abs=1e-5)


def test_what_is_not_linear_is_fitted_less_well(cutouts, lime_params):
    image = keras.Input((SIDE, SIDE, 3), name="image")
    small = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(image))
    waves = keras.layers.Dense(
        8, activation=keras.ops.sin, kernel_initializer=keras.initializers.RandomNormal(0, 2, 1)
    )(small)
    logit = keras.layers.Dense(1, name="logit", kernel_initializer=keras.initializers.RandomNormal(0, 1, 2))(waves)
    wavy = with_probability(keras.Model(image, logit), 1.0)
    assert Lime(wavy, lime_params, SEED, 64).attribute(cutouts[:1], ["Other"]).facts["r2"][0] < 0.8


def test_the_other_class_has_the_opposite_map(model, cutouts, lime_params):
    explainer = Lime(model, lime_params, SEED, 64)
    one, other = (explainer.explain(cutouts, [label] * 3) for label in ("Elliptical", "Other"))
    np.testing.assert_array_equal(one, -other)


def test_the_same_seed_gives_the_same_answer_in_any_company_and_order(model, cutouts, lime_params):
    np.random.seed(1)  # noqa: NPY002 - the generator that the package would draw from where it is not seeded
    together = Lime(model, lime_params, SEED, 64).explain(cutouts, ["Other"] * 3)
    np.random.seed(2)  # noqa: NPY002
    backwards = Lime(model, lime_params, SEED, 64).explain(cutouts[::-1], ["Other"] * 3)
    np.testing.assert_array_equal(together, backwards[::-1])
    again = Lime(model, lime_params, SEED, 64)
    for at in (2, 0, 0, 1):
        np.testing.assert_array_equal(again.explain(cutouts[at : at + 1], ["Other"])[0], together[at])


def test_another_seed_gives_another_answer_to_what_is_not_linear(galaxies, transformer, lime_params):
    one, other = (Lime(transformer, lime_params, seed, 64).explain(galaxies[:1], ["Other"]) for seed in (5, 6))
    assert not np.allclose(one, other)


def test_an_images_seed_is_the_same_in_every_process():
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    assert image_seed(5, image) == 4111475412
    assert image_seed(6, image) != image_seed(5, image)
    assert image_seed(-1, image) != image_seed(5, image)
    assert image_seed(5, image + 1) != image_seed(5, image)
    assert image_seed(5, np.rot90(image)) != image_seed(5, image)


def recorded(monkeypatch) -> list[np.ndarray]:
    """Batches that models are asked about from now on."""
    batches = []
    logits = LogitAnswerer.logits
    monkeypatch.setattr(
        LogitAnswerer, "logits", lambda self, asked: logits(self, (batches.append(batch) or batch for batch in asked))
    )
    return batches


def test_each_mask_is_asked_about_once(model, cutouts, lime_params, monkeypatch):
    params = lime_params.model_copy(update={"annuli": 2, "sectors": 1})
    batches = recorded(monkeypatch)
    made = Lime(model, params, SEED, 64).attribute(cutouts[:1], ["Other"])
    assert made.facts["superpixels"][0] == 3
    asked = np.concatenate(batches)
    assert len(asked) == 2**3 < params.samples
    assert len(np.unique(asked.reshape(8, -1), axis=0)) == 8


def test_no_more_images_than_a_batch_are_made_at_once(model, cutouts, lime_params, monkeypatch):
    batches = recorded(monkeypatch)
    Lime(model, lime_params, SEED, 16).explain(cutouts[:2], ["Other"] * 2)
    assert max(map(len, batches)) == 16
    assert sum(map(len, batches)) > 600


def test_an_image_of_one_colour_changes_nothing_and_has_no_fit(model, lime_params):
    flat = np.full((1, SIDE, SIDE, 3), 7, np.uint8)
    made = Lime(model, lime_params, SEED, 64).attribute(flat, ["Elliptical"])
    assert not made.maps.any()
    assert np.isnan(made.facts["r2"][0])
    assert not made.facts["galaxy_found"][0]


def test_where_there_is_no_galaxy_a_fact_says_so(model, cutouts, lime_params):
    made = Lime(model, lime_params, SEED, 64).attribute(cutouts, ["Elliptical"] * 3)
    assert made.facts["galaxy_found"].tolist() == [True, True, False]
    assert made.maps[2].any()
    assert made.facts["superpixels"][2] == 1 + 3 * 4


def test_the_weights_are_those_of_the_moment(cutouts, lime_params):
    model = linear(1)
    explainer = Lime(model, lime_params, SEED, 64)
    explainer.explain(cutouts[:1], ["Other"])
    model.set_weights(linear(2).get_weights())
    np.testing.assert_array_equal(
        explainer.explain(cutouts[:1], ["Other"]),
        Lime(linear(2), lime_params, SEED, 64).explain(cutouts[:1], ["Other"]),
    )
