"""Integrated Gradients on models whose integrals are known, and where they have to be chased."""

import keras
import numpy as np
import pytest

from galmorph.explain.baselines import baselines
from galmorph.explain.integrated_gradients import DenoisedIntegratedGradients, IntegratedGradients
from galmorph.explain.noise_reduction import reduce_noise
from galmorph.models.layers import with_probability

SIDE = 8
BASELINES = ("black", "sky", "blurred")


def ended(image: keras.KerasTensor, features: keras.KerasTensor, weights: np.ndarray) -> keras.Model:
    """A model whose logit weighs the features, `weights` `(F, 1)`, and has a bias of 0.5."""
    answer = keras.layers.Dense(1, name="logit")(features)
    model = with_probability(keras.Model(image, answer), 1.0)
    model.get_layer("logit").set_weights([weights.astype(np.float32), np.array([0.5], np.float32)])
    return model


def linear() -> tuple[keras.Model, np.ndarray]:
    """A logit that weighs each pixel's channels for themselves, and the weights, `(S, S, 3)`."""
    weights = np.random.default_rng(3).normal(size=(SIDE, SIDE, 3)) / 100
    image = keras.Input((SIDE, SIDE, 3), name="image")
    return ended(image, keras.layers.Flatten()(image), weights.reshape(-1, 1)), weights


def bent(activation: str, scale: float, shift: float) -> keras.Model:
    """A logit that is one non-linear function of the image's mean."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.GlobalAveragePooling2D(keepdims=True)(image))
    shifted = keras.layers.Dense(1, activation=activation, name="bend")(mean)
    model = ended(image, shifted, np.array([[1.0]]))
    model.get_layer("bend").set_weights([np.full((3, 1), scale / 3, np.float32), np.array([shift], np.float32)])
    return model


@pytest.fixture
def images():
    """Spots on a sky, so that a sky can be found."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - 3.5
    spot = 150 * np.exp(-(rows**2 + columns**2) / 4)
    noise = np.random.default_rng(4).uniform(0, 20, (3, SIDE, SIDE, 3))
    return (20 + spot[..., None] + noise).astype(np.float32)


@pytest.fixture
def ig(params):
    """The values of params.yaml, with others in their place."""
    return lambda **values: params.explain.integrated_gradients.model_copy(update=values)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("steps", [2, 5])
def test_it_is_exact_for_a_linear_model(images, ig, baseline, steps):
    """The gradient is the same everywhere: weight times way, summed over the channels, at any number of points."""
    model, weights = linear()
    made = IntegratedGradients(model, ig(baseline=baseline, steps=steps), 4).attribute(images, ["Elliptical"] * 3)
    expected = (weights * (images - baselines(images, baseline))).sum(-1)
    np.testing.assert_allclose(made.maps, expected, atol=1e-4)
    assert (made.facts["steps"] == steps).all()
    assert made.facts["converged"].all()


def test_the_other_class_is_the_opposite(images, ig):
    explainer = IntegratedGradients(linear()[0], ig(baseline="black"), 4)
    one, other = (explainer.attribute(images, [label] * 3) for label in ("Elliptical", "Other"))
    np.testing.assert_array_equal(one.maps, -other.maps)
    np.testing.assert_array_equal(one.facts["difference"], -other.facts["difference"])
    np.testing.assert_array_equal(one.facts["convergence_delta"], -other.facts["convergence_delta"])


@pytest.mark.parametrize("baseline", BASELINES)
def test_attributions_add_up_to_the_difference_of_the_scores(model, galaxies, ig, baseline):
    """Against logits asked for apart from the explainer; the delta that it reports is the error that there is."""
    target = ["Elliptical", "Other"] * 2 + ["Other"]
    values = ig(baseline=baseline, tolerance=0.02, floor=1e-4, max_steps=2048)
    made = IntegratedGradients(model, values, 16).attribute(galaxies, target)
    logit = keras.Model(model.input, model.get_layer("logit").output)
    ends = [logit.predict_on_batch(each.astype(np.float32))[:, 0] for each in (galaxies, baselines(galaxies, baseline))]
    difference = (ends[0] - ends[1]) * np.array([1, -1, 1, -1, -1])
    assert made.facts["converged"].all()
    np.testing.assert_allclose(made.facts["difference"], difference, atol=1e-5)
    np.testing.assert_allclose(made.maps.sum((1, 2)), difference, rtol=0.021, atol=1e-4)
    np.testing.assert_allclose(made.facts["convergence_delta"], made.maps.sum((1, 2)) - difference, atol=1e-5)


def test_points_are_added_where_they_are_needed_and_only_there(ig):
    """The logit has a sharp rise: on the way to a bright image few points miss it, a dark image never comes near."""
    model = bent("sigmoid", 1.0, -60.0)  # rises at a mean of 60, within a few units
    images = np.stack([np.full((SIDE, SIDE, 3), level, np.float32) for level in (250, 20)])
    values = ig(baseline="black", steps=4, max_steps=1000, tolerance=0.01, floor=1e-6)
    facts = IntegratedGradients(model, values, 8).attribute(images, ["Elliptical"] * 2).facts
    assert facts["steps"][0] > 16
    assert facts["converged"].all()
    assert abs(facts["convergence_delta"][0]) <= 0.01 * facts["difference"][0]
    assert facts["steps"][1] < facts["steps"][0]


def test_halving_the_gaps_is_taking_all_points_at_once(model, galaxies, ig):
    """Points that are used again weigh what they would in one finer look: 5 points made 9 are 9 points."""
    chased = ig(baseline="black", steps=5, max_steps=9, tolerance=1e-9, floor=1e-9)
    once = ig(baseline="black", steps=9, max_steps=9)
    first, second = (IntegratedGradients(model, values, 4) for values in (chased, once))
    target = ["Elliptical"] * 5
    assert (first.attribute(galaxies, target).facts["steps"] == 9).all()
    np.testing.assert_allclose(first.explain(galaxies, target), second.explain(galaxies, target), atol=1e-5)


def test_a_tolerance_that_cannot_be_kept_is_said(ig):
    model = bent("sigmoid", 1.0, -60.0)
    images = np.full((1, SIDE, SIDE, 3), 250, np.float32)
    values = ig(baseline="black", steps=4, max_steps=8, tolerance=0.01, floor=1e-6)
    facts = IntegratedGradients(model, values, 8).attribute(images, ["Elliptical"]).facts
    assert not facts["converged"].any()
    assert facts["steps"].tolist() == [7]
    assert abs(facts["convergence_delta"][0]) > 0.01 * facts["difference"][0]


def test_a_small_difference_is_not_chased(ig):
    """Up and down again: the difference is nothing, the way is not; the floor decides."""
    model = bent("tanh", 0.02, -2.5)
    images = np.full((1, SIDE, SIDE, 3), 250, np.float32)
    facts = [
        IntegratedGradients(model, ig(baseline="black", steps=4, max_steps=256, tolerance=1e-9, floor=floor), 8)
        .attribute(images, ["Elliptical"])
        .facts
        for floor in (10.0, 1e-9)
    ]
    assert [each["steps"][0] for each in facts] == [4, 193]
    assert [each["converged"][0] for each in facts] == [True, False]


def test_a_constant_image_has_nothing_to_attribute_from_its_own_sky(model, ig):
    made = IntegratedGradients(model, ig(baseline="sky"), 8).attribute(np.full((1, 24, 24, 3), 9, np.uint8), ["Other"])
    assert not made.maps.any()
    assert made.facts["converged"].all()


def test_half_precision_is_summed_in_float32(ig):
    """Weights and pixels that bfloat16 holds exactly: what is lost by summing in it would show in the delta."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    features = keras.layers.Conv2D(1, 1, use_bias=False, dtype=policy, name="half")(image)
    flat = keras.layers.Flatten(dtype="float32")(features)
    model = ended(image, flat, np.full((SIDE**2, 1), 0.01))
    model.get_layer("half").set_weights([np.full((1, 1, 3, 1), 0.25, np.float32)])
    images = np.full((1, SIDE, SIDE, 3), 128, np.float32)
    made = IntegratedGradients(model, ig(baseline="black", steps=33, max_steps=33), 8).attribute(images, ["Elliptical"])
    assert made.maps.dtype == np.float32
    expected = 128 * 3 * 0.25 * 0.01 * SIDE**2  # the logit's difference, 61.44
    assert made.facts["difference"][0] == pytest.approx(expected, rel=1e-3)
    # The gradient 0.01 is rounded to bfloat16 on its way back, by at most 0.4 %; 33 summands in bfloat16 lose more.
    assert made.maps.sum() == pytest.approx(expected, rel=4e-3)


def test_the_denoised_map_is_the_map_denoised_and_says_what_that_did_to_the_sum(model, galaxies, explain_params):
    values = explain_params.integrated_gradients
    raw = IntegratedGradients(model, values, 5).attribute(galaxies, ["Other"] * 5)
    smooth = DenoisedIntegratedGradients(model, values, 5).attribute(galaxies, ["Other"] * 5)
    np.testing.assert_array_equal(smooth.maps, reduce_noise(raw.maps, values.noise_reduction))
    added = smooth.maps.sum((1, 2)) - raw.maps.sum((1, 2))
    np.testing.assert_allclose(smooth.facts["smoothing_delta"], added, atol=1e-5)
    np.testing.assert_array_equal(smooth.facts["convergence_delta"], raw.facts["convergence_delta"])
