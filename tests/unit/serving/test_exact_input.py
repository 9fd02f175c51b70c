"""The first convolution without rounding."""

import keras
import numpy as np
import pytest

from galmorph.cpu import FACTS, cpu_has_bfloat16
from galmorph.models.architectures import build
from galmorph.params import PreprocessParams
from galmorph.quiet import openvino
from galmorph.serving.exact_input import with_exact_input
from galmorph.serving.export import write_graph
from galmorph.serving.exported import GRAPH
from tests.convolutional import galaxies, made


def first_convolution(model: keras.Model) -> keras.layers.Conv2D:
    return next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))


def rounded(values: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.cast(keras.ops.cast(np.asarray(values, np.float32), "bfloat16"), "float32"))


@pytest.mark.parametrize("case", ["baseline", "regularised", "vgg16", "resnet50"])
def test_it_answers_as_before(params, case):
    model = made(params, case)
    images, _ = galaxies(8, model.input_shape[1], 1)
    images = np.concatenate([images, np.full_like(images[:1], 255), np.zeros_like(images[:1])]).astype(np.float32)
    exact = with_exact_input(model)
    assert exact is not model
    before, after = model.predict_on_batch(images), exact.predict_on_batch(images)
    np.testing.assert_allclose(after, before, atol=2e-6)
    assert np.ptp(before) > 1e-3


@pytest.mark.parametrize("case", ["regularised", "vgg16", "resnet50"])
def test_what_the_first_convolution_gets_is_held_exactly(params, case):
    """Whole numbers of at most 8 bits, and weights that are a rounded value and a small rest."""
    exact = with_exact_input(made(params, case))
    images, _ = galaxies(4, exact.input_shape[1], 1)
    layer = first_convolution(exact)
    planes = keras.Model(exact.input, layer.input).predict_on_batch(images.astype(np.float32))
    assert planes.shape[-1] == 7
    np.testing.assert_array_equal(rounded(planes), planes)
    high, low = layer.kernel[:, :, :3].numpy(), layer.kernel[:, :, 3:6].numpy()
    np.testing.assert_array_equal(rounded(high), high)
    assert np.abs(rounded(low) - low).max() <= 2.0**-16 * np.abs(high).max()
    assert low.any()


def test_the_mean_is_taken_off_inside_the_padding_only(params):
    """resnet50 pads after scaling: an image of ImageNet's mean is zero all over, and stays so to the edge."""
    model = made(params, "resnet50")
    mean = np.array([123.68, 116.779, 103.939], np.float32)
    images = np.broadcast_to(mean, (1, *model.input_shape[1:])).copy()
    exact = with_exact_input(model)
    found = keras.Model(exact.input, first_convolution(exact).output).predict_on_batch(images)
    assert np.ptp(found, axis=(1, 2)).max() <= 1e-3 * np.abs(found).max()


def test_a_transformer_is_left_as_it_is(params):
    small = params.train.vit.model_copy(update={"patch": 8, "width": 8, "depth": 1, "heads": 2, "mlp": 8})
    model = build("vit", PreprocessParams(crop=0.5, image_size=24), params.train.model_copy(update={"vit": small}))
    assert with_exact_input(model) is model


@pytest.mark.skipif(not cpu_has_bfloat16(FACTS), reason="this CPU has no bfloat16 instructions")
def test_it_is_worth_it(params, tmp_path):
    """The normalised features of the first convolution at bf16, with and without."""
    model = made(params, "regularised")
    part = keras.Model(model.input, model.get_layer("block1_norm").output)
    images, _ = galaxies(16, model.input_shape[1], 1)
    expected = part.predict_on_batch(images.astype(np.float32))
    errors = {}
    for name, each in {"before": part, "after": with_exact_input(part)}.items():
        (tmp_path / name).mkdir()
        write_graph(each, tmp_path / name)
        options = {"INFERENCE_PRECISION_HINT": "bf16"}
        found = openvino().Core().compile_model(tmp_path / name / GRAPH, "CPU", options)(images)[0]
        errors[name] = float(np.sqrt(np.mean((found - expected) ** 2)))
    assert errors["before"] > 1e-5, "not computed in bf16"
    assert errors["after"] < errors["before"] / 100
