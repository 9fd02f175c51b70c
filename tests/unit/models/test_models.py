"""Architectures, the model file, calibration and prediction."""

import zipfile
from functools import cache
from typing import get_args

import keras
import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.models import saved
from galmorph.models.architectures import ARCHITECTURES, build
from galmorph.models.batch_norm import recalibrate
from galmorph.models.calibration import fit_temperature, log_loss
from galmorph.models.cnn import baseline_cnn, regularised_cnn
from galmorph.models.layers import with_probability
from galmorph.models.predict import predict_logits
from galmorph.models.recipe import Recipe
from galmorph.params import Architecture, CnnParams, PreprocessParams, VitParams

RECIPE = Recipe(weights="none", phases=("scratch",), epochs=(2,), augmentation=None, class_weights=True)
SMALL = PreprocessParams(crop=0.5, image_size=32)


@pytest.fixture(scope="module")
def small_params(params):
    return params.train.model_copy(
        update={
            "cnn": params.train.cnn.model_copy(update={"filters": (4, 6, 8), "dense_units": 10}),
            "transfer": params.train.transfer.model_copy(update={"weights": "none", "dense_units": 10}),
            "vit": VitParams(patch=16, width=8, depth=2, heads=2, mlp=16, dropout=0.1),
        }
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).integers(0, 256, (9, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def built(small_params):
    """One small model of each architecture, asked for several times."""
    return cache(lambda architecture: with_probability(build(architecture, SMALL, small_params), 2.0))


@pytest.fixture
def facts(params):
    return saved.ModelFacts(
        galmorph="0", experiment="e", architecture="regularised_cnn", variant="raw", preprocess=SMALL,
        denoiser=None, temperature=1.5, recipe=RECIPE, seed=1, data_digest="d", params_digest="p", git_commit=None,
        run_id=None,
    )  # fmt: skip


def test_every_architecture_that_params_names_can_be_built():
    assert set(ARCHITECTURES) == set(get_args(Architecture))


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_keeps_the_contract(architecture, built, images):
    model = built(architecture)
    assert model.name == architecture
    assert model.input_shape == (None, 32, 32, 3)
    assert [layer.name for layer in model.layers[-3:]] == ["logit", "temperature", "p_elliptical"]
    assert model.get_layer("logit").output.dtype == "float32"
    assert not any(isinstance(layer, keras.Model) for layer in model.layers), "a nested backbone hides its layers"
    logit, p_elliptical = predict_logits(model, images, 4)
    assert logit.shape == p_elliptical.shape == (9,)
    assert np.ptp(logit) > 0
    np.testing.assert_allclose(p_elliptical, 1 / (1 + np.exp(-logit / 2)), atol=1e-6)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_layer_is_keras_s_own_and_named_the_same_each_time(architecture, built, small_params):
    layers = built(architecture).layers
    assert all(type(layer).__module__.startswith("keras.") for layer in layers)
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in layers)
    # An operation that is no layer would be saved under a private name of Keras.
    assert len(built(architecture).operations) == len(layers)
    again = with_probability(build(architecture, SMALL, small_params), 2.0)
    assert [layer.name for layer in again.layers] == [layer.name for layer in layers]


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_s_file_loads_with_keras_alone(architecture, built, images, facts, tmp_path):
    saved.save_model(tmp_path / "model.keras", built(architecture), facts)
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(
        predict_logits(loaded, images, 9)[0], predict_logits(built(architecture), images, 9)[0]
    )


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_refuses_images_that_are_too_small(architecture, small_params):
    deep = small_params.model_copy(
        update={"cnn": small_params.cnn.model_copy(update={"filters": (2,) * 5, "convolutions": 1})}
    )
    with pytest.raises(ModelError, match=r"preprocess\.image_size.*Received.*\d") as refusal:
        build(architecture, PreprocessParams(crop=1, image_size=8), deep)
    assert not set("\n\x1b") & set(str(refusal.value)), "one line, without the colours of a terminal"


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_mixed_precision_leaves_scaling_and_logit_in_float32(architecture, small_params):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build(architecture, SMALL, small_params)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.get_layer("scale").output.dtype == model.output.dtype == "float32"
    weighted = [layer for layer in model.layers if layer.weights and layer.name != "logit"]
    assert {layer.compute_dtype for layer in weighted} == {"bfloat16"}


def test_the_regularised_network_is_the_published_one(params):
    """Three blocks, and 17 layers as the study counts them (convolution, normalisation, pooling, dropout, ...)."""
    model = build("regularised_cnn", SMALL, params.train)
    kinds = [type(layer).__name__ for layer in model.layers if type(layer).__name__ not in ("InputLayer", "Rescaling")]
    block = ["Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout"]
    assert kinds == [*block, *block, *block, "Flatten", "Dense", "BatchNormalization", "Dropout", "Dense"]
    assert len(kinds) == 17
    assert [model.get_layer(f"block{i}_conv").filters for i in (1, 2, 3)] == [32, 64, 128]
    assert all(model.get_layer(f"block{i}_conv").kernel_size == (3, 3) for i in (1, 2, 3))
    assert [model.get_layer(f"block{i}_dropout").rate for i in (1, 2, 3)] == [0.25] * 3
    assert (model.get_layer("head_dense").units, model.get_layer("head_dropout").rate) == (512, 0.5)


def test_the_baseline_has_neither_normalisation_nor_dropout_in_its_blocks(params):
    model = build("baseline_cnn", SMALL, params.train)
    kinds = [type(layer).__name__ for layer in model.layers[2:]]
    assert kinds == ["Conv2D", "MaxPooling2D"] * 3 + ["Flatten", "Dense", "Dropout", "Dense"]


def test_blocks_of_several_convolutions_normalise_each(params):
    model = regularised_cnn(32, two_convolutions(params.train.cnn))
    assert [layer.name for layer in model.layers[2:8]] == [
        "block1_conv1", "block1_norm1", "block1_conv2", "block1_norm2", "block1_pool", "block1_dropout",
    ]  # fmt: skip
    assert model.get_layer("average").output.shape == (None, 5)
    assert "flatten" not in [layer.name for layer in model.layers]
    plain = [layer.name for layer in baseline_cnn(32, two_convolutions(params.train.cnn)).layers]
    assert plain[2:5] == ["block1_conv1", "block1_conv2", "block1_pool"]


def two_convolutions(cnn: CnnParams) -> CnnParams:
    return cnn.model_copy(update={"filters": (3, 5), "convolutions": 2, "pooling": "average", "dense_units": 6})


def test_batch_size_does_not_change_an_answer(small_params, images):
    model = with_probability(build("regularised_cnn", SMALL, small_params), 1.0)
    np.testing.assert_allclose(predict_logits(model, images, 9)[0], predict_logits(model, images, 2)[0], atol=1e-5)


def test_images_of_another_size_are_refused(small_params):
    model = with_probability(build("baseline_cnn", SMALL, small_params), 1.0)
    with pytest.raises(ModelError, match=r"32, 32, 3.*Received: \(8, 8, 3\)"):
        predict_logits(model, np.zeros((1, 8, 8, 3), np.uint8), 1)


def test_an_unknown_architecture_lists_the_known(params):
    with pytest.raises(ModelError, match=r"baseline_cnn, regularised_cnn, resnet50, vgg16, vit.*Received: 'alexnet'"):
        build("alexnet", SMALL, params.train)


def test_a_saved_model_says_all_of_itself(tmp_path, small_params, images, facts):
    model = with_probability(build("regularised_cnn", SMALL, small_params), facts.temperature)
    saved.save_model(tmp_path / "model.keras", model, facts)
    loaded, read = saved.load_model(tmp_path / "model.keras")
    assert read == facts
    np.testing.assert_allclose(predict_logits(loaded, images, 9)[1], predict_logits(model, images, 9)[1], atol=1e-6)


def test_broken_and_foreign_model_files_are_refused(tmp_path, small_params):
    path = tmp_path / "model.keras"
    with pytest.raises(ModelError, match="no such model file"):
        saved.load_model(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="broken"):
        saved.load_model(path)
    build("baseline_cnn", SMALL, small_params).save(path)
    with pytest.raises(ModelError, match=r"galmorph\.json is missing"):
        saved.load_model(path)


def test_a_truncated_model_file_is_refused(tmp_path, small_params, facts):
    path = tmp_path / "model.keras"
    saved.save_model(path, build("baseline_cnn", SMALL, small_params), facts)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"model\.keras"):
        saved.load_model(path)


def test_code_in_a_model_file_is_refused(tmp_path, facts):
    """A Lambda layer carries Python code; loading must not run it."""
    image = keras.Input((4, 4, 3))
    poisoned = keras.Model(image, keras.layers.Lambda(lambda x: x * 2, output_shape=(4, 4, 3))(image))
    poisoned.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        archive.writestr(saved.FACTS_MEMBER, facts.model_dump_json())
    with pytest.raises(ModelError, match="safe mode"):
        saved.load_model(tmp_path / "model.keras")


def test_the_temperature_that_made_the_labels_is_found():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, 20_000)
    y = (rng.uniform(size=20_000) < 1 / (1 + np.exp(-logits / 2.5))).astype(float)
    temperature = fit_temperature(logits, y)
    assert temperature == pytest.approx(2.5, rel=0.05)
    assert log_loss(logits / temperature, y) < log_loss(logits, y)


def test_a_perfect_model_s_temperature_stays_finite():
    assert 0.04 < fit_temperature(np.array([5.0, -5.0]), np.array([1.0, 0.0])) < 21
    assert np.isfinite(log_loss(np.array([1e6, -1e6]), np.array([0.0, 1.0])))


def test_recalibrated_statistics_are_those_of_inference(small_params):
    """After recalibration the first normalisation holds exactly the mean and variance of what it sees, dropout off."""
    model = build("regularised_cnn", SMALL, small_params)
    sky = np.full((64, 32, 32, 3), 9, np.uint8)
    sky[:, 8:16, 8:16] = np.random.default_rng(1).integers(0, 256, (64, 8, 8, 3))
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    recalibrate(model, sky, 32)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == rates
    assert model.get_layer("block1_norm").momentum == small_params.cnn.batch_norm_momentum
    for name, source in (("block1_norm", "block1_conv"), ("head_norm", "head_dense")):
        seen = keras.Model(model.input, model.get_layer(source).output).predict_on_batch(sky.astype(np.float32))
        axes = tuple(range(seen.ndim - 1))
        layer = model.get_layer(name)
        # Later layers see batches that were normalised by their own statistics, hence the few percent.
        scale = seen.std(axes).max()
        np.testing.assert_allclose(layer.moving_mean, seen.mean(axes), atol=0.03 * scale)
        spread = seen.reshape(2, -1, seen.shape[-1]).var(1).mean(0)  # averaged over the two batches
        np.testing.assert_allclose(layer.moving_variance, spread, atol=0.03 * scale**2)


def test_frozen_normalisation_keeps_its_statistics(small_params, images):
    model = build("regularised_cnn", SMALL, small_params)
    model.get_layer("block1_norm").trainable = False
    recalibrate(model, images, 9)
    np.testing.assert_array_equal(model.get_layer("block1_norm").moving_mean, 0)
    assert np.any(np.asarray(model.get_layer("block2_norm").moving_mean) != 0)
