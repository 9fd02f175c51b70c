"""Grad-CAM and its kin against weights worked out by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from galmorph.errors import ModelError
from galmorph.explain.grad_cam import GradCam, GradCamPlusPlus, GradCamTv, total_variation_reduced
from galmorph.explain.graph import feature_layer
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.params import PreprocessParams


def hand_made(weight: float) -> keras.Model:
    """A 1×1 convolution that copies red and green; the logit is `weight` times mean red, less mean green."""
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(2, 1, use_bias=False, name="copy")(image)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, use_bias=False, name="logit")(pooled)), 1.0)
    made.get_layer("copy").set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)[None, None]])
    made.get_layer("logit").set_weights([np.array([[weight], [-1]], np.float32)])
    return made


def test_grad_cam_is_the_formula():
    """Channel weights are the mean gradients, here weight/64 and -1/64."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    expected = np.maximum(3.0 * image[..., 0] - image[..., 1], 0) / 64
    explainer = GradCam(hand_made(3.0), None, 1)
    np.testing.assert_allclose(explainer.explain(image, ["Elliptical"]), expected, atol=1e-4)
    opposite = np.maximum(image[..., 1] - 3.0 * image[..., 0], 0) / 64
    np.testing.assert_allclose(explainer.explain(image, ["Other"]), opposite, atol=1e-4)


def test_grad_cam_points_at_the_source_of_the_evidence():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[0, 2, 6, 0] = 200
    attribution = GradCam(hand_made(1.0), "copy", 1).explain(image, ["Elliptical"])[0]
    assert np.unravel_index(attribution.argmax(), (8, 8)) == (2, 6)


def test_nothing_for_the_class_is_an_empty_map():
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[..., 1] = 50
    assert not GradCam(hand_made(1.0), None, 1).explain(image, ["Elliptical"]).any()


def test_an_unknown_layer_lists_the_convolutions(model):
    with pytest.raises(ModelError, match=r"block1_conv, block2_conv.*'head_dense'"):
        GradCam(model, "head_dense", 1)


def test_a_model_without_convolution_is_refused():
    image = keras.Input((8, 8, 3))
    flat = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.Flatten()(image)))
    for explainer in (GradCam, GradCamPlusPlus):
        with pytest.raises(ModelError, match=r"no convolution.*Received: a model of .*Dense"):
            explainer(with_probability(flat, 1.0), None, 1)


def times(model: keras.Model, factor: float) -> keras.Model:
    """The same model with a logit so many times larger."""
    scaled = keras.models.clone_model(model)
    scaled.set_weights(model.get_weights())
    scaled.get_layer("logit").set_weights([factor * weight for weight in model.get_layer("logit").get_weights()])
    return scaled


@pytest.mark.parametrize("target", ["Elliptical", "Other"])
def test_a_saturated_answer_is_explained_as_any_other(model, galaxies, target):
    """The sigmoid is flat there, p is 0 or 1 exactly; the logit is not: the map only grows with it."""
    saturated = times(model, 1e4)
    assert set(np.unique(saturated.predict_on_batch(galaxies.astype(np.float32)))) <= {0.0, 1.0}
    before, after = (GradCam(each, None, 5).explain(galaxies, [target] * 5) for each in (model, saturated))
    assert before.any()
    np.testing.assert_allclose(after, 1e4 * before, rtol=1e-4, atol=1e-3 * after.max())


def test_grad_cam_takes_the_last_convolution_after_its_relu(model, params):
    """In resnet50 that is the output of the last block; a convolution that is named is taken as it is."""
    small = params.train.transfer.model_copy(update={"dense_units": 4, "weights": "none"})
    resnet = build("resnet50", PreprocessParams(crop=0.5, image_size=32), params.train.model_copy(
        update={"transfer": small}))  # fmt: skip
    assert feature_layer(resnet, None) == "conv5_block3_out"
    assert feature_layer(resnet, "conv5_block3_3_conv") == "conv5_block3_3_conv"
    assert feature_layer(resnet, "conv5_block3_2_relu") == "conv5_block3_2_relu"
    with pytest.raises(ModelError, match=r"conv1_relu.*Received: 'conv5_block3_3_bn'"):
        feature_layer(resnet, "conv5_block3_3_bn")
    assert feature_layer(model, None) == "block2_conv"


def test_grad_cam_plus_plus_is_the_formula(model, galaxies):
    """As the paper writes it, in float64, from the features and gradients of TensorFlow."""
    explainer = GradCamPlusPlus(model, None, 5)
    images = galaxies.astype(np.float32)
    both = keras.Model(model.input, [model.get_layer("block2_conv").output, model.get_layer("logit").output])
    for sign, target in ((1.0, "Elliptical"), (-1.0, "Other")):
        with tf.GradientTape() as tape:
            features, logit = both(images, training=False)
            score = sign * tf.reduce_sum(logit)
        g = tape.gradient(score, features).numpy().astype(np.float64)
        a = features.numpy().astype(np.float64)
        denominator = 2 * g**2 + a.sum((1, 2), keepdims=True) * g**3
        alpha = np.divide(g**2, denominator, out=np.zeros_like(g), where=denominator != 0)
        weights = (alpha * np.maximum(g, 0)).sum((1, 2), keepdims=True)
        coarse = np.maximum((weights * a).sum(-1), 0).astype(np.float32)
        expected = tf.image.resize(coarse[..., None], (24, 24))[..., 0].numpy()
        maps = explainer.explain(galaxies, [target] * 5)
        assert maps.any()
        np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())


def test_grad_cam_plus_plus_has_no_hole_where_gradients_are_tiny(model, galaxies):
    """Squares of gradients of 1e-25 underflow in float32; the weights must not."""
    faint = times(model, 1e-25)
    maps = GradCamPlusPlus(faint, None, 5).explain(galaxies, ["Elliptical"] * 5)
    larger = GradCamPlusPlus(times(model, 1e-20), None, 5).explain(galaxies, ["Elliptical"] * 5)
    assert maps.any()
    np.testing.assert_allclose(maps * 1e5, larger, rtol=1e-3, atol=1e-4 * larger.max())


def test_grad_cam_plus_plus_counts_each_place():
    """A small blob weighs what a large one does: alpha is smaller where a feature is found in more places."""
    image = np.zeros((2, 8, 8, 3), np.float32)
    image[0, 1, 1, 0] = 100
    image[1, :, :, 0] = 100
    one, all_over = GradCamPlusPlus(hand_made(64.0), None, 2).explain(image, ["Elliptical"] * 2)
    # g is 1 everywhere, the features' sum 100 and 6400: weights 64 / 102 and 64 / 6402.
    assert one.max() == pytest.approx(100 * 64 / 102, rel=1e-4)
    np.testing.assert_allclose(all_over, 100 * 64 / 6402, rtol=1e-4)


def test_grad_cam_plus_plus_looks_after_the_relu():
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(2, 3, name="conv")(image)
    features = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(features))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    made = with_probability(keras.Model(image, keras.layers.Dense(1, name="logit")(pooled)), 1.0)
    assert GradCamPlusPlus(made, "conv", 1).layer == "relu"
    assert GradCam(made, "conv", 1).layer == "conv"


def test_total_variation_is_reduced_in_the_units_of_the_map():
    """What is subtracted depends on the shape of the map alone, not on its scale."""
    noisy = np.random.default_rng(4).uniform(0, 1, (24, 24)).astype(np.float32)
    noisy[6:14, 6:14] += 3

    def variation(each):
        return np.abs(np.diff(each, axis=0)).sum() + np.abs(np.diff(each, axis=1)).sum()

    smooth = total_variation_reduced(noisy, 0.1)
    assert variation(smooth) < 0.7 * variation(noisy)
    assert smooth.dtype == np.float32
    assert smooth.min() >= 0
    assert smooth[6:14, 6:14].mean() > 3 * smooth[16:].mean(), "the edge of the bright square stays"
    np.testing.assert_allclose(total_variation_reduced(1e-6 * noisy, 0.1), 1e-6 * smooth, rtol=1e-4, atol=1e-10)
    assert variation(total_variation_reduced(noisy, 0.5)) < variation(smooth)


def test_an_empty_map_stays_empty():
    assert not total_variation_reduced(np.zeros((4, 4), np.float32), 0.1).any()


def test_the_denoised_map_is_grad_cams_denoised(model, galaxies):
    target = ["Elliptical", "Other"] * 2 + ["Other"]
    plain = GradCam(model, None, 5).explain(galaxies, target)
    denoised = GradCamTv(model, None, 0.1, 2).explain(galaxies, target)
    for one, other in zip(plain, denoised, strict=True):
        np.testing.assert_allclose(other, total_variation_reduced(one, 0.1), atol=1e-3 * max(1e-9, one.max()))
    assert not np.allclose(plain, denoised, atol=1e-2 * plain.max())


@pytest.mark.parametrize("explainer", [GradCam, GradCamPlusPlus])
def test_mixed_precision_is_explained_in_float32(params, galaxies, explainer):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        keras.utils.set_random_seed(1)
        small = params.train.cnn.model_copy(update={"filters": (4, 6), "dense_units": 8})
        mixed = with_probability(build("baseline_cnn", PreprocessParams(crop=0.5, image_size=24),
                                       params.train.model_copy(update={"cnn": small})), 1.0)  # fmt: skip
    finally:
        keras.config.set_dtype_policy("float32")
    single = keras.models.clone_model(mixed, clone_function=lambda layer: type(layer).from_config(
        {**layer.get_config(), "dtype": "float32"}))  # fmt: skip
    single.set_weights(mixed.get_weights())
    one, other = (explainer(each, None, 5).explain(galaxies, ["Elliptical"] * 5) for each in (mixed, single))
    assert one.dtype == np.float32
    assert np.abs(one - other).max() < 0.05 * other.max()
