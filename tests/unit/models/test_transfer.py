"""The transfer models: their scaling, their backbone and their head."""

import keras
import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.explain.graph import convolutions
from galmorph.models import saved
from galmorph.models.architectures import build
from galmorph.models.batch_norm import recalibrate
from galmorph.params import PreprocessParams

APPLICATIONS = {"vgg16": keras.applications.vgg16, "resnet50": keras.applications.resnet}
CONSTRUCTORS = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}
SMALL = PreprocessParams(crop=1, image_size=32)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).uniform(0, 255, (6, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def models(params):
    """A model of either architecture for each scaling."""
    return {
        (architecture, scaling): build(
            architecture,
            SMALL,
            params.train.model_copy(
                update={"transfer": params.train.transfer.model_copy(update={"weights": "none", "scaling": scaling})}
            ),
        )
        for architecture in APPLICATIONS
        for scaling in ("backbone", "none")
    }


@pytest.fixture(params=sorted(APPLICATIONS))
def architecture(request):
    return request.param


def test_the_scaling_inside_is_the_backbone_s_own(architecture, models, images):
    model = models[architecture, "backbone"]
    scaled = keras.Model(model.input, model.get_layer("scale").output).predict_on_batch(images)
    np.testing.assert_allclose(scaled, APPLICATIONS[architecture].preprocess_input(images.copy()), rtol=0, atol=1e-5)
    assert scaled.dtype == np.float32


def test_without_scaling_the_backbone_gets_raw_pixels(architecture, models, images):
    model = models[architecture, "none"]
    assert not [layer.name for layer in model.layers if layer.name.startswith("scale")]
    first = next(layer for layer in model.layers if layer.weights)
    source = keras.Model(model.input, first.input).predict_on_batch(images)
    trimmed = source[:, 3:-3, 3:-3] if architecture == "resnet50" else source  # its first layer pads with zeros
    np.testing.assert_array_equal(trimmed, images)


def test_the_backbone_is_keras_s(architecture, models, images):
    """The same layers under the same names, and with the same weights the same features."""
    model = models[architecture, "backbone"]
    pooling = "avg" if architecture == "resnet50" else None
    reference = CONSTRUCTORS[architecture](
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling=pooling, name="reference"
    )
    weighted = [layer for layer in reference.layers if layer.weights]
    for layer in weighted:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    head = {"head_dense", "head_norm", "logit"}
    assert [layer.name for layer in weighted] == [
        layer.name for layer in model.layers if layer.weights and layer.name not in head
    ]
    features = keras.Model(model.input, model.get_layer("features").output).predict_on_batch(images)
    expected = reference.predict_on_batch(APPLICATIONS[architecture].preprocess_input(images.copy()))
    np.testing.assert_allclose(features, expected.reshape(6, -1), rtol=1e-4, atol=1e-4)


def test_the_head_is_the_study_s(architecture, models, params):
    layers = models[architecture, "backbone"].layers[-5:]
    assert [layer.name for layer in layers] == ["features", "head_dense", "head_norm", "head_dropout", "logit"]
    kind = keras.layers.Flatten if architecture == "vgg16" else keras.layers.GlobalAveragePooling2D
    assert isinstance(layers[0], kind)
    assert (layers[1].units, layers[1].activation) == (512, keras.activations.relu)
    assert layers[3].rate == 0.5
    assert len(layers[0].output.shape) == 2


def test_features_keep_their_place_in_the_file(architecture, models, images, tmp_path, params):
    """Whoever splits backbone from head can do so with a loaded model."""
    model = models[architecture, "backbone"]
    model.save(tmp_path / "model.keras")
    loaded = saved.load_keras(tmp_path / "model.keras")
    backbone = keras.Model(loaded.input, loaded.get_layer("features").output)
    expected = keras.Model(model.input, model.get_layer("features").output)
    np.testing.assert_array_equal(backbone.predict_on_batch(images), expected.predict_on_batch(images))


@pytest.mark.parametrize(("size", "features"), [(32, 512), (50, 512), (64, 2048)])
def test_any_size_that_the_backbone_allows_can_be_had(size, features, params):
    model = build("vgg16", PreprocessParams(crop=1, image_size=size), params.train)
    assert model.get_layer("features").output.shape == (None, features)


def test_images_smaller_than_the_backbone_allows_are_refused(architecture, params):
    with pytest.raises(ModelError, match=rf"{architecture} .* 31 pixels; raise preprocess\.image_size.*32x32"):
        build(architecture, PreprocessParams(crop=1, image_size=31), params.train)


def test_grad_cam_sees_the_backbone_s_convolutions_only(architecture, models):
    names = convolutions(models[architecture, "backbone"])
    assert (len(names), names[0], names[-1]) == {
        "vgg16": (13, "block1_conv1", "block5_conv3"),
        "resnet50": (53, "conv1_conv", "conv5_block3_3_conv"),
    }[architecture]


def test_recalibration_reaches_the_normalisation_of_a_backbone(models, images):
    model = models["resnet50", "none"]
    frozen, trained = model.get_layer("conv1_bn"), model.get_layer("conv2_block1_1_bn")
    before = np.asarray(frozen.moving_mean).copy()
    frozen.trainable = False
    recalibrate(model, images, 3)
    np.testing.assert_array_equal(frozen.moving_mean, before)
    assert np.any(np.asarray(trained.moving_mean) != 0)
