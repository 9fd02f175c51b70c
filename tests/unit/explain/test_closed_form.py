"""Grad-CAM's closed form against its gradients, for every architecture with convolutions."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from galmorph.errors import ModelError
from galmorph.explain.class_map import class_map
from galmorph.explain.closed_form import class_weights, grad_cam_outputs
from galmorph.explain.grad_cam import GradCam
from galmorph.explain.graph import last_convolution
from galmorph.models.layers import with_probability
from tests.convolutional import CASES, made

CLASSES = ("Elliptical", "Other")


@pytest.fixture(scope="module", params=list(CASES))
def model(request, params):
    return made(params, request.param)


def images_of(model: keras.Model) -> np.ndarray:
    """Noise, and images of one colour, in which all positions tie."""
    side = model.input_shape[1]
    random = np.random.default_rng(7)
    noise = random.uniform(0, 255, (3, side, side, 3))
    return np.concatenate([noise, np.full((1, side, side, 3), 90), np.zeros((1, side, side, 3))]).astype(np.float32)


def both_ways(model: keras.Model, layer: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Maps in closed form and by gradients, `(classes, N, S, S)` each."""
    images = images_of(model)
    probability, coarse = grad_cam_outputs(model, layer).predict_on_batch(images)
    np.testing.assert_allclose(probability, model.predict_on_batch(images), atol=1e-6)
    ours = [class_map(coarse, np.full(len(images), sign), images.shape[1]) for sign in (1, -1)]
    explainer = GradCam(model, layer, 5)
    by_gradients = np.stack([explainer.explain(images, [name] * len(images)) for name in CLASSES])
    assert by_gradients.any((0, 2, 3)).all(), "a map that is empty for both classes equals any other"
    return np.stack(ours), by_gradients


def assert_equal_to_gradients(model: keras.Model, layer: str | None) -> None:
    ours, by_gradients = both_ways(model, layer)
    peak = np.maximum(ours, by_gradients).max((2, 3))
    assert (np.abs(ours - by_gradients).max((2, 3)) <= 1e-4 * peak).all()


def test_it_is_equal_to_gradients(model):
    assert_equal_to_gradients(model, None)


def test_it_is_equal_to_gradients_at_the_last_convolution_itself(model):
    """In resnet50 a batch normalisation, a sum and a ReLU come after it."""
    assert_equal_to_gradients(model, last_convolution(model))


def test_the_graph_has_no_gradient(model):
    """What OpenVINO is given: nothing but what the forward pass is made of, comparisons and sums."""
    graph = tf.function(grad_cam_outputs(model, None)).get_concrete_function(tf.TensorSpec((2, *model.input_shape[1:])))
    kinds = {node.op for node in graph.graph.as_graph_def().node}
    nested = {node.op for each in graph.graph.as_graph_def().library.function for node in each.node_def}
    assert {"MatMul", "Greater"} <= kinds | nested
    assert not [kind for kind in kinds | nested if "Grad" in kind or "PyFunc" in kind or "Switch" in kind]


@pytest.mark.parametrize("case", ["regularised", "resnet50"])
def test_it_follows_the_weights(params, case):
    """Batch normalisation after the convolution and in the head counts; the matrix is that of the model as it is."""
    model = made(params, case)
    before = class_weights(model, None).matrix
    model.get_layer("head_norm").set_weights([2 * value for value in model.get_layer("head_norm").get_weights()[:1]] +
                                             model.get_layer("head_norm").get_weights()[1:])  # fmt: skip
    np.testing.assert_allclose(class_weights(model, None).matrix, 2 * before, rtol=1e-6)


def test_the_gate_counts_positions(params):
    """Half the positions of a channel off: half its weight."""
    head = class_weights(made(params, "resnet50"), "conv5_block3_3_conv")
    assert head.gate == "conv5_block3_out"
    units = np.ones((1, head.matrix.shape[0]), np.float32)
    gate = np.ones((1, 2, 2, head.matrix.shape[1]), np.float32)
    half = gate.copy()
    half[:, 0] = 0
    full = head.channel_weights(units, gate)
    np.testing.assert_allclose(full[0], head.matrix.sum(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(head.channel_weights(units, half), full / 2, rtol=1e-6)


def test_weights_by_numpy_are_those_of_the_graph(params):
    model = made(params, "regularised")
    head = class_weights(model, None)
    both = keras.Model(model.input, [model.get_layer(head.layer).output, model.get_layer(head.units).output])
    images = images_of(model)
    features, units = both.predict_on_batch(images)
    by_hand = np.einsum("nhwc,nc->nhw", features, head.channel_weights(units, None))
    coarse = grad_cam_outputs(model, None).predict_on_batch(images)[1]
    np.testing.assert_allclose(coarse, by_hand, atol=1e-5 * np.abs(by_hand).max())
    wrong = replace(head, matrix=np.abs(head.matrix)).channel_weights(units, None)
    assert not np.allclose(np.einsum("nhwc,nc->nhw", features, wrong), by_hand, atol=1e-2 * np.abs(by_hand).max())


def test_at_resnets_last_block_the_map_adds_up_to_the_logit(params):
    """But for what the head would say of no features at all with the same units on: the map leaves nothing out."""
    model = made(params, "resnet50")
    images = images_of(model)
    dense, norm, last = (model.get_layer(name) for name in ("head_dense", "head_norm", "logit"))
    both = keras.Model(model.input, [dense.output, last.output])
    units, logit = both.predict_on_batch(images)
    at_rest = np.where(units > 0, dense.get_weights()[1], 0)
    without = last(norm(at_rest, training=False)).numpy()[:, 0]
    coarse = grad_cam_outputs(model, None).predict_on_batch(images)[1]
    np.testing.assert_allclose(coarse.sum((1, 2)), logit[:, 0] - without, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "case", ["regularised, border dropped", "vgg16", pytest.param("resnet50", marks=pytest.mark.slow)]
)
def test_mixed_precision_agrees_within_its_rounding(params, case):
    """bfloat16 keeps 8 bits: gradients that pass through it are rounded, the closed form is not."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = made(params, case)
    finally:
        keras.config.set_dtype_policy("float32")
    assert grad_cam_outputs(model, None).output[1].dtype == "float32"
    ours, by_gradients = both_ways(model, None)
    peak = by_gradients.max((0, 2, 3))  # of both classes: a map near zero is all rounding
    error = np.abs(ours - by_gradients).max((0, 2, 3)) / peak
    assert (error < 0.01).all()


def test_an_earlier_convolution_is_refused(params):
    with pytest.raises(ModelError, match=r"through block2_conv2 between block2_conv1 .* gradients.*Received: Conv2D"):
        class_weights(made(params, "regularised, two convolutions"), "block2_conv1")


def test_a_way_that_forks_is_refused(params):
    with pytest.raises(ModelError, match=r"one way.*2 layers after conv5_block2_out"):
        class_weights(made(params, "resnet50"), "conv5_block2_out")


def test_a_head_of_another_kind_is_refused():
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(2, 3, activation="relu", name="conv")(image)
    averaged = keras.layers.GlobalAveragePooling2D(name="average")(features)
    linear = with_probability(keras.Model(image, keras.layers.Dense(1, name="logit")(averaged)), 1.0)
    with pytest.raises(ModelError, match=r"one dense layer with a ReLU.*average, logit"):
        class_weights(linear, None)
