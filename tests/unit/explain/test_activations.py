"""Activations filter by filter, dead filters, and the proof that dropout is off."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from galmorph.errors import InputError, ModelError
from galmorph.explain.activation_sheet import activation_sheet, dead_filters
from galmorph.explain.activations import Activity, View, activations, activity, dropout_check, views
from galmorph.explain.report import png
from galmorph.models.architectures import build
from galmorph.models.layers import image_input, logit, with_probability
from galmorph.params import ActivationsParams, PreprocessParams

FIRST = ActivationsParams(layers=(), first=12, last=3, filters=32)


def named(*layers):
    return FIRST.model_copy(update={"layers": layers})


@pytest.fixture(scope="module")
def regularised(params):
    keras.utils.set_random_seed(2)
    small = params.train.cnn.model_copy(update={"filters": (4, 5), "dense_units": 8, "convolutions": 2})
    train = params.train.model_copy(update={"cnn": small})
    return with_probability(build("regularised_cnn", PreprocessParams(crop=0.5, image_size=24), train), 1.0)


@pytest.fixture(scope="module")
def resnet(params):
    small = params.train.transfer.model_copy(update={"dense_units": 4, "weights": "none"})
    train = params.train.model_copy(update={"transfer": small})
    return with_probability(build("resnet50", PreprocessParams(crop=0.5, image_size=32), train), 1.0)


@pytest.fixture
def with_dead(model):
    """A copy in which filter 2 of the first convolution never answers, and filter 1 answers bright red alone."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernel, bias = copy.get_layer("block1_conv").get_weights()
    bias[2] = -1e6
    kernel[..., 1] = 0
    kernel[1, 1, 0, 1] = 1  # the red pixel itself, scaled to [0, 1]
    bias[1] = -0.9
    copy.get_layer("block1_conv").set_weights([kernel, bias])
    return copy


class TestViews:
    def test_the_first_twelve_and_the_last_three_convolutions(self, resnet):
        shown = views(resnet, FIRST)
        asked = [name for view in shown for name in view.shows]
        convolutions = [each.name for each in resnet.layers if isinstance(each, keras.layers.Conv2D)]
        assert sorted(asked) == sorted(convolutions[:12] + convolutions[-3:])

    def test_a_network_of_few_convolutions_is_shown_whole_and_once(self, regularised):
        assert [view.layer for view in views(regularised, FIRST)] == [
            "block1_conv1",
            "block1_conv2",
            "block2_conv1",
            "block2_conv2",
        ]

    def test_a_convolution_is_seen_after_the_relu_that_follows(self, resnet):
        by_name = {name: view for view in views(resnet, FIRST) for name in view.shows}
        assert by_name["conv1_conv"].layer == "conv1_relu"
        assert by_name["conv2_block1_2_conv"].layer == "conv2_block1_2_relu"
        assert by_name["conv2_block1_0_conv"] is by_name["conv2_block1_3_conv"], "one sum, one ReLU"
        assert by_name["conv2_block1_0_conv"].title == (
            "conv2_block1_0_conv, conv2_block1_3_conv, seen at conv2_block1_out"
        )

    def test_any_layer_with_positions_can_be_named(self, regularised):
        shown = views(regularised, named("block1_pool", "block1_norm2", "block1_pool"))
        assert shown == [View("block1_pool", ("block1_pool",)), View("block1_norm2", ("block1_norm2",))]

    @pytest.mark.parametrize("name", ["block9_conv", "head_dense"])
    def test_an_unknown_layer_lists_the_layers(self, regularised, name):
        with pytest.raises(ModelError, match=rf"scale, block1_conv1, .*block2_dropout\. Received: '{name}'"):
            views(regularised, named("block1_conv1", name))

    def test_a_model_without_convolution_is_refused(self, transformer):
        with pytest.raises(ModelError, match="no convolution"):
            views(transformer, FIRST)


class TestActivations:
    def test_they_are_what_the_layers_compute(self, model, galaxies):
        """The first convolution by hand: scaled pixels, weights, bias, ReLU."""
        shown = views(model, FIRST)
        parts = list(activations(model, galaxies, shown, 2))
        assert [part["block1_conv"].shape for part in parts] == [(2, 24, 24, 4), (2, 24, 24, 4), (1, 24, 24, 4)]
        assert [part["block2_conv"].shape[1:] for part in parts] == [(12, 12, 6)] * 3
        kernel, bias = model.get_layer("block1_conv").get_weights()
        expected = np.maximum(tf.nn.conv2d(galaxies.astype(np.float32) / 255, kernel, 1, "SAME") + bias, 0)
        found = np.concatenate([part["block1_conv"] for part in parts])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_batches_are_made_when_they_are_asked_for_of_the_weights_then(self, with_dead, galaxies):
        """Not all at once, which would not fit into memory."""
        stream = activations(with_dead, galaxies, views(with_dead, named("block1_conv")), 1)
        assert next(stream)["block1_conv"].any()
        layer = with_dead.get_layer("block1_conv")
        layer.set_weights([0 * weight for weight in layer.get_weights()])
        rest = [part["block1_conv"] for part in stream]
        assert len(rest) == 4
        assert not np.any(rest)

    def test_what_is_no_image_is_refused(self, model, galaxies):
        with pytest.raises(InputError, match=r"\[0, 255\]"):
            next(activations(model, galaxies - 300.0, views(model, FIRST), 2))

    def test_mixed_precision_gives_float32(self, params, galaxies):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            small = params.train.cnn.model_copy(update={"filters": (4,), "dense_units": 8})
            train = params.train.model_copy(update={"cnn": small})
            mixed = with_probability(build("regularised_cnn", PreprocessParams(crop=0.5, image_size=24), train), 1.0)
        finally:
            keras.config.set_dtype_policy("float32")
        maps = next(activations(mixed, galaxies, views(mixed, FIRST), 5))["block1_conv"]
        assert maps.dtype == np.float32
        assert dropout_check(mixed, galaxies, 2).off


class TestDeadFilters:
    def test_a_filter_is_dead_over_the_set_not_in_one_image(self, with_dead, galaxies):
        images = np.full((5, 24, 24, 3), 40, np.uint8)
        images[4, 3, 3, 0] = 255
        shown = views(with_dead, named("block1_conv"))
        (dark,) = activity(with_dead, images[:4], shown, 2)
        (all_five,) = activity(with_dead, images, shown, 2)
        assert {1, 2} <= set(dark.dead)
        assert 1 not in all_five.dead
        assert 2 in all_five.dead
        assert all_five.answering[1] == pytest.approx(0.2)
        assert all_five.peak[1] == pytest.approx(0.1, abs=1e-5)
        assert all_five.images == 5
        (noise,) = activity(with_dead, galaxies, shown, 3)
        assert noise.dead == (2,)

    def test_batches_do_not_matter(self, with_dead, galaxies):
        shown = views(with_dead, FIRST)
        for one, other in zip(*(activity(with_dead, galaxies, shown, size) for size in (1, 5)), strict=True):
            np.testing.assert_allclose(one.peak, other.peak, rtol=1e-5)
            np.testing.assert_array_equal(one.answering, other.answering)

    def test_they_are_counted_and_named(self):
        view = View("conv", ("conv",))
        none = Activity(view, 40, np.ones(3), np.ones(3))
        assert dead_filters(none) == "0 of 3 filters are dead over 40 images"
        some = Activity(view, 40, np.zeros(20), np.array([0.1] * 4 + [0] * 16))
        assert dead_filters(some) == "16 of 20 filters are dead over 40 images: 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, …"

    def test_no_image_tells_nothing(self, model, galaxies):
        with pytest.raises(InputError, match=r"at least one. Received: 0"):
            activity(model, galaxies[:0], views(model, FIRST), 2)


class AlwaysOn(keras.layers.Dropout):
    """What a model does whose dropout was left on."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


class TestDropoutCheck:
    def test_dropout_is_off(self, regularised, galaxies):
        check = dropout_check(regularised, galaxies, 2)
        assert check.layers == ("block1_dropout", "block2_dropout", "head_dropout")
        assert check.off
        assert check.changing == ()
        assert check.repeated == 0
        assert check.inference <= check.tolerance

    def test_dropout_that_is_left_on_is_caught_and_named(self, galaxies):
        image = image_input(24)
        features = AlwaysOn(0.5, name="left_on")(keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image))
        quiet = keras.layers.Dropout(0.5, name="quiet")(keras.layers.Flatten(name="flat")(features))
        check = dropout_check(with_probability(keras.Model(image, logit(quiet)), 1.0), galaxies, 2)
        assert not check.off
        assert check.changing == ("left_on",)
        assert check.repeated > check.tolerance

    def test_no_image_shows_nothing(self, regularised, galaxies):
        with pytest.raises(InputError, match=r"at least one. Received: 0"):
            dropout_check(regularised, galaxies[:0], 2)


class TestSheet:
    def test_filters_are_numbered_and_their_state_told(self, with_dead, galaxies):
        shown = views(with_dead, named("block1_conv"))
        dark = np.full((1, 24, 24, 3), 40, np.uint8)
        maps = next(activations(with_dead, dark, shown, 1))["block1_conv"][0]
        (over_all,) = activity(with_dead, galaxies, shown, 5)
        figure = activation_sheet(dark[0], maps, over_all, "viridis", 3)
        titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
        assert titles[0] == "what the model saw"
        assert titles[2:] == ["1: nothing here", "2: dead"]
        assert titles[1].startswith("0: ")
        assert "filters 0 to 2 of 4" in figure.get_suptitle()
        assert "1 of 4 filters are dead over 5 images: 2" in figure.get_suptitle()
        assert png(figure).startswith(b"\x89PNG")

    def test_each_filter_is_scaled_to_itself(self):
        maps = np.stack([np.array([[0.0, 4.0]]), np.array([[-2.0, 0.5]])], -1)
        told = Activity(View("norm", ("norm",)), 1, maps.max((0, 1)), np.ones(2))
        figure = activation_sheet(np.zeros((4, 4, 3), np.uint8), maps, told, "viridis", 8)
        limits = [axes.images[0].get_clim() for axes in figure.axes if axes.get_title()[:1].isdigit()]
        assert limits == [(0.0, 4.0), (-2.0, 0.5)]
        assert [axes.get_title() for axes in figure.axes][1:3] == ["0: 4", "1: -2 to 0.5"]
        assert "all 2 filters, 2 by 1 positions" in figure.get_suptitle()
