"""Every weight is drawn anew from its own initialiser, nothing is passed over, and all comes back."""

import keras
import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.explain.faithfulness.weights import draw_anew, weighted_layers, weights_kept

layers = keras.layers


def values(model):
    return [np.array(weight) for weight in model.weights]


def trained(model):
    """A model whose weights are nowhere near where they began."""
    for weight in model.weights:
        weight.assign(weight + 7)
    return model


def single(layer, shape):
    made = keras.Input(shape)
    output = layer(made, made) if isinstance(layer, layers.MultiHeadAttention) else layer(made)
    return trained(keras.Model(made, output))


KINDS = [
    (layers.Dense(3, name="dense"), (4,)),
    (layers.Conv2D(2, 3, name="conv"), (5, 5, 3)),
    (layers.DepthwiseConv2D(3, name="depthwise"), (5, 5, 3)),
    (layers.SeparableConv2D(2, 3, name="separable"), (5, 5, 3)),
    (layers.BatchNormalization(name="bn"), (4,)),
    (layers.LayerNormalization(name="ln"), (4,)),
    (layers.Embedding(5, 3, name="embedding"), (4,)),
    (layers.EinsumDense("btd,de->bte", (4, 6), bias_axes="te", bias_initializer="normal", name="einsum"), (4, 5)),
    (layers.MultiHeadAttention(2, 3, name="attention"), (4, 6)),
    (layers.TimeDistributed(layers.Dense(3), name="each"), (4, 6)),
]


@pytest.mark.parametrize(("layer", "shape"), KINDS, ids=[layer.name for layer, _ in KINDS])
def test_no_weight_of_a_layer_is_left(layer, shape):
    model = single(layer, shape)
    before = values(model)
    draw_anew(layer, np.random.default_rng(0))
    for weight, old in zip(model.weights, before, strict=True):
        assert not np.any(np.isclose(np.array(weight), old)), weight.path


def test_constants_go_back_to_where_they_began():
    layer = layers.BatchNormalization()
    single(layer, (4,))
    draw_anew(layer, np.random.default_rng(0))
    for weight, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
        np.testing.assert_array_equal(getattr(layer, weight), value)


def test_random_weights_have_the_spread_of_their_own_initialiser():
    layer = layers.Dense(400, kernel_initializer=keras.initializers.RandomNormal(mean=3.0, stddev=0.25))
    single(layer, (300,))
    draw_anew(layer, np.random.default_rng(0))
    assert np.mean(layer.kernel) == pytest.approx(3.0, abs=0.01)
    assert np.std(layer.kernel) == pytest.approx(0.25, abs=0.01)


def test_no_two_weights_begin_alike_though_they_share_an_initialiser_with_a_seed():
    layer = layers.MultiHeadAttention(2, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    single(layer, (4, 6))
    draw_anew(layer, np.random.default_rng(0))
    kernels = [np.array(dense.kernel) for dense in (layer.query_dense, layer.key_dense, layer.value_dense)]
    assert not np.isclose(kernels[0], kernels[1]).any()
    assert not np.isclose(kernels[1], kernels[2]).any()


def test_the_seed_decides():
    layer = layers.Dense(3)
    single(layer, (4,))
    drawn = []
    for seed in (1, 1, 2):
        draw_anew(layer, np.random.default_rng(seed))
        drawn.append(np.array(layer.kernel))
        layer.kernel.assign(layer.kernel * 0)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.isclose(drawn[0], drawn[2]).any()


def test_keras_own_random_numbers_are_left_alone():
    layer = layers.Dense(3)
    single(layer, (4,))
    draws = []
    for anew in (False, True):
        keras.utils.set_random_seed(3)
        if anew:
            draw_anew(layer, np.random.default_rng(0))
        draws.append((np.random.random(), np.array(keras.random.normal((2,)))))  # noqa: NPY002 - the global state
    assert draws[0][0] == draws[1][0]
    np.testing.assert_array_equal(draws[0][1], draws[1][1])


class Scaled(layers.Layer):
    """A layer that keeps no initialiser of its weight."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.scale


class Stuck(keras.initializers.Initializer):
    """It says that it is random, and always gives the same."""

    def __init__(self, seed=None):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 0.5, dtype)

    def get_config(self):
        return {"seed": self.seed}


def test_a_weight_without_initialiser_is_named():
    layer = Scaled(name="scaled")
    single(layer, (4,))
    with pytest.raises(ModelError, match=r"layer scaled: .*Received: scale of a Scaled"):
        draw_anew(layer, np.random.default_rng(0))


def test_a_random_initialiser_that_changes_nothing_is_found_out():
    layer = layers.Dense(3, kernel_initializer=Stuck(), name="stuck")
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.raises(ModelError, match="layer stuck: its initialiser drew the very kernel"):
        draw_anew(model.get_layer("stuck"), np.random.default_rng(0))


class TestModel:
    def test_layers_of_a_nested_model_take_its_place(self):
        inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="in1"), layers.Dense(3, name="in2")])
        outer = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="out1"), inner, layers.Dense(1, name="out2")])
        assert [layer.name for layer in weighted_layers(outer)] == ["out1", "in1", "in2", "out2"]

    def test_a_layer_that_is_used_twice_is_there_once(self):
        image, twice = keras.Input((4,)), layers.Dense(4, name="twice")
        assert [layer.name for layer in weighted_layers(keras.Model(image, twice(twice(image))))] == ["twice"]

    @pytest.mark.parametrize("which", ["model", "transformer"])
    def test_no_weight_of_our_models_is_outside_the_layers(self, which, request):
        model = request.getfixturevalue(which)
        found = {id(weight) for layer in weighted_layers(model) for weight in layer.weights}
        assert found == {id(weight) for weight in model.weights}

    @pytest.mark.parametrize("which", ["model", "transformer"])
    def test_weights_come_back_after_an_error(self, which, request):
        model = request.getfixturevalue(which)
        before = values(model)

        def spoil():
            with weights_kept(model):
                for layer in weighted_layers(model):
                    draw_anew(layer, np.random.default_rng(0))
                assert not np.array_equal(model.weights[0], before[0])
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            spoil()
        for weight, old in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(weight, old)

    def test_a_model_from_its_file_is_drawn_anew_too(self, transformer, tmp_path):
        """A file keeps the initialisers, not what they drew."""
        transformer.save(tmp_path / "model.keras")
        model = trained(keras.saving.load_model(tmp_path / "model.keras", compile=False))
        before = values(model)
        for layer in weighted_layers(model):
            draw_anew(layer, np.random.default_rng(0))
        assert all(not np.isclose(weight, old).any() for weight, old in zip(model.weights, before, strict=True))
