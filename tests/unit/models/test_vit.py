"""The vision transformer, and the attention that is read out of it."""

import keras
import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.explain.grad_cam import GradCam
from galmorph.models import saved
from galmorph.models.architectures import build
from galmorph.models.batch_norm import recalibrate
from galmorph.models.cnn import baseline_cnn
from galmorph.models.layers import with_probability
from galmorph.models.vit import Attention, vit
from galmorph.params import PreprocessParams, VitParams

SIZES = VitParams(patch=4, width=12, depth=3, heads=3, mlp=20, dropout=0.1)


@pytest.fixture(scope="module")
def model():
    """Weights far from their small beginnings, so that attention has preferences."""
    keras.utils.set_random_seed(4)
    model = with_probability(vit(16, SIZES), 1.0)
    rng = np.random.default_rng(1)
    model.set_weights([weight + rng.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (5, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(model, images):
    return Attention(model)(images, 2)


def outputs(model, name, images):
    return keras.Model(model.input, model.get_layer(name).output).predict_on_batch(images.astype(np.float32))


def test_the_default_is_about_five_million_parameters(params):
    model = build("vit", PreprocessParams(crop=1, image_size=64), params.train)
    assert 5e6 < model.count_params() < 6e6
    assert sum(isinstance(layer, keras.layers.MultiHeadAttention) for layer in model.layers) == params.train.vit.depth


def test_patches_are_squares_of_the_image(model, images):
    """Row by row; each patch's pixels in their own order, scaled to [-1, 1]."""
    patches = outputs(model, "patches", images)
    scaled = images.astype(np.float32) / 127.5 - 1
    assert patches.shape == (5, 16, 48)
    np.testing.assert_allclose(patches[:, 6], scaled[:, 4:8, 8:12].reshape(5, 48), atol=1e-6)


def test_the_class_token_is_learned_and_sees_no_pixel(model, images):
    embedded = outputs(model, "embedding", images)
    bias = np.asarray(model.get_layer("embedding").bias)
    assert embedded.shape == (5, 17, 12)
    np.testing.assert_allclose(embedded[:, 0], np.broadcast_to(bias[0], (5, 12)), atol=1e-6)
    kernel = np.asarray(model.get_layer("embedding").kernel)
    patch = outputs(model, "patches", images)[:, 3]
    np.testing.assert_allclose(embedded[:, 4], patch @ kernel + bias[4], atol=1e-4)


def test_positions_start_small_and_apart():
    bias = np.asarray(vit(64, SIZES.model_copy(update={"width": 48})).get_layer("embedding").bias)
    assert bias.shape == (257, 48)
    assert bias.std() == pytest.approx(0.02, rel=0.05)
    assert abs(bias.mean()) < 0.001


def test_its_first_answers_are_undecided(images):
    keras.utils.set_random_seed(6)
    untrained = vit(16, SIZES.model_copy(update={"width": 192}))
    assert 0 < np.abs(untrained.predict_on_batch(images.astype(np.float32))).max() < 1


def test_positions_matter(model, images):
    """With its patches in another order an image gets another answer."""
    moved = np.roll(images, 4, axis=1)
    assert np.abs(outputs(model, "logit", images) - outputs(model, "logit", moved)).max() > 1e-3


def test_attention_has_its_shape_and_its_rows_sum_to_one(weights):
    assert (weights.shape, weights.dtype) == ((5, 3, 3, 17, 17), np.float32)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert (weights >= 0).all()
    assert weights.max() > 0.5, "these weights shall have preferences"


@pytest.mark.parametrize("block", [1, 2, 3])
def test_attention_is_that_of_the_prediction(block, model, images, weights):
    """The weights, laid on the values of the tokens, give what the block's attention handed on in the prediction."""
    layer = model.get_layer(f"block{block}_attention")
    tokens = outputs(model, f"block{block}_attention_norm", images)
    kernel, bias = (np.asarray(weight) for weight in (layer.value_dense.kernel, layer.value_dense.bias))
    values = np.einsum("btd,dhe->bthe", tokens, kernel) + bias
    seen = np.einsum("bhts,bshe->bthe", weights[:, block - 1], values)
    kernel, bias = (np.asarray(weight) for weight in (layer.output_dense.kernel, layer.output_dense.bias))
    handed_on = np.einsum("bthe,hed->btd", seen, kernel) + bias
    np.testing.assert_allclose(handed_on, outputs(model, layer.name, images), atol=1e-4)


def test_reading_attention_leaves_the_model_as_it_is(model, images, tmp_path):
    before = outputs(model, "logit", images)
    Attention(model)(images, 5)
    np.testing.assert_array_equal(outputs(model, "logit", images), before)
    assert model.get_layer("block1_attention").output.shape == (None, 17, 12)  # has one output only, still


def test_a_loaded_model_s_attention_can_be_read(model, images, weights, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = saved.load_keras(tmp_path / "model.keras")
    np.testing.assert_allclose(Attention(loaded)(images, 3), weights, atol=1e-5)


def test_one_block_s_attention_can_be_read(images):
    single = Attention(vit(16, SIZES.model_copy(update={"depth": 1})))(images, 5)
    assert single.shape == (5, 1, 3, 17, 17)


def test_a_model_without_attention_and_images_of_another_size_are_refused(params, model, images):
    cnn = baseline_cnn(16, params.train.cnn.model_copy(update={"filters": (2,), "dense_units": 2}))
    with pytest.raises(ModelError, match="baseline_cnn has no attention"):
        Attention(cnn)(images, 2)
    with pytest.raises(ModelError, match=r"16, 16, 3.*Received: \(8, 8, 3\)"):
        Attention(model)(images[:, :8, :8], 2)


@pytest.mark.parametrize(("size", "near"), [(300, "288 or 304"), (8, "16"), (70, "64 or 80")])
def test_a_size_that_is_no_multiple_of_the_patch_is_refused(size, near, params):
    with pytest.raises(ModelError, match=rf"multiple of train\.vit\.patch, 16\. Choose {near}\. Received: {size}"):
        build("vit", PreprocessParams(crop=1, image_size=size), params.train)


def test_grad_cam_and_recalibration_know_what_to_make_of_it(model, images):
    with pytest.raises(ModelError, match="vit has no convolution"):
        GradCam(model, None, 4)
    before = model.get_weights()
    recalibrate(model, images, 5)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_it_learns():
    """Bright on the left or on the right: a question of positions."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(8)
    y = np.arange(64) % 2
    light = rng.uniform(0, 120, (64, 16, 16, 3)).astype(np.float32)
    light[y == 1, :, :8] += 100
    light[y == 0, :, 8:] += 100
    model = vit(16, SIZES)
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(light, y, batch_size=16, epochs=12, verbose=0)
    assert ((model.predict(light, verbose=0)[:, 0] > 0) == y).mean() > 0.95
