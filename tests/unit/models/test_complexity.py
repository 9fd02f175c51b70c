"""Layers, parameters, operations and speed, against counts by hand and by TensorFlow's profiler."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from galmorph.errors import ModelError
from galmorph.models.architectures import build
from galmorph.models.complexity import complexity, images_per_second
from galmorph.models.layers import with_probability
from galmorph.models.vit import vit
from galmorph.params import PreprocessParams, VitParams

SMALL = PreprocessParams(crop=1, image_size=32)


@pytest.fixture(scope="module")
def tiny(params):
    """Two blocks of 3 and 5 filters on 8 pixels, 4 units in the head."""
    cnn = params.train.cnn.model_copy(update={"filters": (3, 5), "dense_units": 4})
    small = params.train.model_copy(update={"cnn": cnn})
    return with_probability(build("regularised_cnn", PreprocessParams(crop=1, image_size=8), small), 2.0)


def profiled(model) -> int:
    """Operations of one image by TensorFlow's profiler: products of matrices and convolutions."""
    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(lambda images: model(images, training=False)).get_concrete_function(spec)
    graph = convert_variables_to_constants_v2(function).graph
    options = (
        tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
        .with_node_names(start_name_regexes=[".*"])
        .with_empty_output()
        .build()
    )
    node = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    products = 0
    while True:  # a chain of operations, in which each one's total holds those that follow
        below = node.children[0].total_float_ops if node.children else 0
        if node.name in ("Conv2D", "MatMul", "BatchMatMulV2"):
            products += node.total_float_ops - below
        if not node.children:
            return products
        node = node.children[0]


def test_the_counts_are_those_by_hand(tiny):
    counted = complexity(tiny)
    assert counted["architecture"] == "regularised_cnn"
    assert counted["image_size"] == 8
    assert counted["layers"] == {
        "Activation": 1, "BatchNormalization": 3, "Conv2D": 2, "Dense": 2, "Dropout": 3, "Flatten": 1,
        "MaxPooling2D": 2, "Rescaling": 2,
    }  # fmt: skip
    convolutions = (9 * 3 * 3 + 3) + (9 * 3 * 5 + 5)
    normalisations = 4 * (3 + 5 + 4)
    dense = (2 * 2 * 5 * 4 + 4) + (4 + 1)
    assert counted["parameters"] == {
        "total": convolutions + normalisations + dense,
        "trainable": convolutions + normalisations // 2 + dense,
        "backbone": None,
    }
    assert counted["flops"] == 2 * (64 * 9 * 3 * 3 + 16 * 9 * 3 * 5 + 20 * 4 + 4)


def test_frozen_layers_count_as_trainable(tiny):
    before = complexity(tiny)
    tiny.get_layer("block1_conv").trainable = False
    try:
        assert complexity(tiny) == before
    finally:
        tiny.get_layer("block1_conv").trainable = True


@pytest.mark.parametrize("architecture", ["baseline_cnn", "vgg16", "resnet50"])
def test_the_profiler_of_tensorflow_counts_as_many(architecture, params):
    model = build(architecture, SMALL, params.train)
    assert complexity(model)["flops"] == profiled(model)


def test_a_backbone_has_its_parameters_counted_apart(params):
    """The numbers that keras-applications documents for its networks without their top."""
    for architecture, parameters, features in (("vgg16", 14_714_688, 512), ("resnet50", 23_587_712, 2048)):
        counted = complexity(build(architecture, SMALL, params.train))["parameters"]
        assert counted["backbone"] == parameters
        assert counted["total"] - parameters == (features * 512 + 512) + 4 * 512 + 513


def test_a_transformer_s_operations_are_those_by_hand():
    sizes = VitParams(patch=4, width=6, depth=2, heads=3, mlp=10, dropout=0.0)
    tokens, width = 17, 6
    embedding = tokens * 48 * width
    attention = 4 * tokens * width * width + 2 * tokens * tokens * width
    mlp = 2 * tokens * width * 10
    assert complexity(vit(16, sizes))["flops"] == 2 * (embedding + 2 * (attention + mlp) + width)


def test_the_published_operations_of_large_networks_come_out(params):
    """3.8 and 15.3 thousand million multiply-adds at 224 pixels (He et al. 2016), 1.3 (Touvron et al. 2021)."""
    for architecture, giga in (("resnet50", 3.86), ("vgg16", 15.36), ("vit", 1.25)):
        model = build(architecture, PreprocessParams(crop=1, image_size=224), params.train)
        assert complexity(model)["flops"] / 2e9 == pytest.approx(giga, abs=0.01)


def test_a_layer_that_cannot_be_counted_is_named():
    image = keras.Input((8, 8, 3))
    strange = keras.Model(image, keras.layers.DepthwiseConv2D(3, name="odd")(image))
    with pytest.raises(ModelError, match="layer odd: the operations of a DepthwiseConv2D are not known"):
        complexity(strange)


def test_the_counts_fit_into_json_and_change_nothing(tiny):
    before = tiny.get_weights()
    assert json.loads(json.dumps(complexity(tiny))) == complexity(tiny)
    images_per_second(tiny, 2, 0.0)
    for was, now in zip(before, tiny.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_speed_says_on_what_it_was_measured(tiny, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    measured = images_per_second(tiny, 4, 0.0)
    assert measured["images_per_second"] > 0
    assert measured["batch_size"] == 4
    assert measured["threads"] == 3
    assert measured["device"] == "CPU" or tf.config.list_physical_devices("GPU")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert 1 <= images_per_second(tiny, 4, 0.0)["threads"] <= (os.cpu_count() or 1)


def test_speed_is_that_of_the_model(params):
    """A network of four hundred times the operations is slower."""
    small = params.train.model_copy(update={"cnn": params.train.cnn.model_copy(update={"filters": (2,)})})
    fast = build("baseline_cnn", PreprocessParams(crop=1, image_size=16), small)
    slow = build("baseline_cnn", PreprocessParams(crop=1, image_size=96), params.train)
    assert complexity(slow)["flops"] > 400 * complexity(fast)["flops"]
    assert (
        images_per_second(fast, 8, 0.0)["images_per_second"] > 2 * images_per_second(slow, 8, 0.0)["images_per_second"]
    )
