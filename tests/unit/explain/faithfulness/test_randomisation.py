"""The randomisation check: an edge detector fails, Grad-CAM passes, and the model is itself again."""

import keras
import numpy as np
import pytest

from galmorph.explain.attention_rollout import AttentionRollout
from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.randomisation import randomisation
from galmorph.explain.faithfulness.verdicts import estimate, on_randomisation
from galmorph.explain.grad_cam import GradCam
from galmorph.models.layers import with_probability
from tests.lookers import Edges


@pytest.fixture(scope="module")
def some(galaxies):
    return Galaxies(["a", "b", "c", "d", "e"], galaxies, (), ["Elliptical", "Other"] * 2 + ["Other"], [""] * 5)


def checked(model, explainer, some, scores, seed=0):
    maps = explainer.explain(some.images, some.target)
    told = []
    found = randomisation(
        model, Answers(model, 4), {"it": explainer}, some, {"it": maps}, scores.randomisation, seed, told.append
    )
    return found["it"], told


def verdict(stages, scores):
    absolute, signed = (estimate(values, scores, 0) for values in (stages[-1].absolute, stages[-1].signed))
    return on_randomisation(absolute, signed, scores.randomisation.max_correlation).verdict


def test_an_edge_detector_dressed_as_an_explainer_fails(model, some, scores):
    stages, _ = checked(model, Edges(model, 4), some, scores)
    for stage in stages:
        np.testing.assert_allclose(stage.absolute, 1)
        np.testing.assert_allclose(np.abs(stages[0].signed), 1)
    assert verdict(stages, scores) == "failed"


def test_grad_cam_passes(model, some, scores):
    """Of a network whose weights are one draw of many: other draws give other maps."""
    stages, _ = checked(model, GradCam(model, "block1_conv", 4), some, scores)
    assert verdict(stages, scores) == "passed"


def test_attention_rollout_changes_with_the_attention(transformer, some, scores):
    before = [np.array(weight) for weight in transformer.weights]
    for weight, value in zip(transformer.weights, before, strict=True):
        weight.assign(3 * value)  # attention that is not all but even, as it begins
    once = scores.randomisation.model_copy(update={"stages": 1, "draws": 1})
    try:
        stages, _ = checked(
            transformer, AttentionRollout(transformer, 5), some, scores.model_copy(update={"randomisation": once})
        )
    finally:
        for weight, value in zip(transformer.weights, before, strict=True):
            weight.assign(value)
    assert np.mean(stages[-1].absolute) < 0.5


def test_the_cascade_ends_with_every_layer_and_the_model_is_itself_again(model, some, scores):
    before = [np.array(weight) for weight in model.weights]
    stages, told = checked(model, Edges(model, 4), some, scores)
    assert [(stage.layers, stage.of) for stage in stages] == [(2, 4), (3, 4), (4, 4)]
    assert told == [f"maps of a model with {layers} of 4 layers random" for layers in (2, 3, 4, 4, 4)]
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


class Witness(Explainer):
    """Keeps the weights that it was asked with."""

    name, title, meaning = "witness", "Witness", "nothing"

    def __init__(self, model, batch_size):
        super().__init__(model, batch_size)
        self.seen = []

    def _attribute(self, images, signs):
        self.seen.append({layer.name: [np.array(w) for w in layer.weights] for layer in self.model.layers})
        return Attributions(images.mean(-1))


def test_layers_are_random_from_the_logit_down(model, some, scores):
    witness = Witness(model, 4)
    stages, _ = checked(model, witness, some, scores)
    true, *random = witness.seen
    layers = [layer.name for layer in model.layers if layer.weights][::-1]
    assert layers[0] == "logit"
    for weights, stage in zip(random, stages, strict=False):
        changed = [not np.array_equal(weights[name][0], true[name][0]) for name in layers]
        assert changed == [True] * stage.layers + [False] * (stage.of - stage.layers)
    kernels = [weights["block1_conv"][0] for weights in random[2:]]
    assert len(kernels) == scores.randomisation.draws
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


def test_the_seed_decides(model, some, scores):
    cam = GradCam(model, "block1_conv", 4)
    first, again, other = (checked(model, cam, some, scores, seed)[0][-1].absolute for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


class Fading(Explainer):
    """Says nothing once the logit's kernel is not the one it was made with; nothing of a dark first image ever."""

    name, title, meaning = "fading", "Fading", "nothing"

    def __init__(self, model, batch_size):
        super().__init__(model, batch_size)
        self.kernel = np.array(model.get_layer("logit").kernel)

    def _attribute(self, images, signs):
        same = np.array_equal(self.kernel, self.model.get_layer("logit").kernel)
        maps = images.mean(-1) * same
        maps[images[:, 0, 0, 0] == 0] = 0
        return Attributions(maps)


def test_empty_maps_are_like_nothing_and_counted(model, some, scores):
    dark = some.images.copy()
    dark[:, 0, 0, 0] = 1
    dark[2, 0, 0, 0] = 0
    stages, _ = checked(
        model, Fading(model, 4), Galaxies(some.cataids, dark, (), some.target, some.blank_channels), scores
    )
    np.testing.assert_array_equal(stages[0].absolute, [0, 0, np.nan, 0, 0])
    assert (stages[0].empty, stages[0].maps) == (5, 5)
    assert (stages[-1].empty, stages[-1].maps) == (15, 15)


def test_a_model_that_overflows_gives_empty_maps(scores):
    """Explainers need not cope with answers that are no numbers."""
    image = keras.Input((6, 6, 3), name="image")
    huge = keras.initializers.RandomUniform(3e38, 3.2e38)
    conv = keras.layers.Conv2D(1, 1, kernel_initializer=huge, name="conv")(image)
    flat = keras.layers.Flatten(name="flat")(conv)
    logit = keras.layers.Dense(1, kernel_initializer=huge, name="logit")(flat)
    model = with_probability(keras.Model(image, logit), 1.0)
    for name in ("conv", "logit"):
        model.get_layer(name).kernel.assign(keras.ops.ones_like(model.get_layer(name).kernel) / 300)
    images = np.random.default_rng(0).integers(1, 256, (2, 6, 6, 3), np.uint8)
    some = Galaxies(["a", "b"], images, (), ["Other"] * 2, [""] * 2)
    witness = Witness(model, 4)
    stages, _ = checked(model, witness, some, scores)
    np.testing.assert_array_equal(stages[-1].absolute, 0)
    assert stages[-1].empty == stages[-1].maps == 6
