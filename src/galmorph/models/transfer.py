"""The two networks of the study that start from ImageNet: VGG16 and ResNet50 under a head of their own.

Every layer up to `features` is the backbone, built on the model's own input, so that each one can be reached by name;
what follows is the head. The weights are `galmorph.models.weights`'.
"""

from collections.abc import Callable

import keras

from galmorph.models.layers import FEATURES, image_input, logit
from galmorph.models.weights import load_backbone
from galmorph.params import TransferParams

#: What keras-applications takes off blue, green and red: the means of ImageNet, of 255.
_MEANS = (103.939, 116.779, 123.68)


def vgg16(image_size: int, params: TransferParams) -> keras.Model:
    """VGG16, flattened, then Dense → ReLU → BatchNorm → Dropout → logit.

    Parameters
    ----------
    image_size
        Side of the images in pixels, at least 32.
    params
        Weights and scaling of the backbone, units and dropout of the head.

    Returns
    -------
    keras.Model
        From `(N, image_size, image_size, 3)` float32 in [0, 255] to the `(N, 1)` logit for Elliptical.

    Raises
    ------
    ValueError
        From Keras, when the images are too small.
    ModelError
        When the weights cannot be had.

    References
    ----------
    Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556.
    """
    return _transfer("vgg16", keras.applications.VGG16, keras.layers.Flatten, image_size, params)


def resnet50(image_size: int, params: TransferParams) -> keras.Model:
    """ResNet50, averaged over the image, then the head of `vgg16`, whose parameters and errors are the same.

    References
    ----------
    He, Zhang, Ren & Sun 2016, "Deep Residual Learning for Image Recognition", CVPR, arXiv:1512.03385.
    """
    pooling = keras.layers.GlobalAveragePooling2D
    return _transfer("resnet50", keras.applications.ResNet50, pooling, image_size, params)


def caffe_scaled(image: keras.KerasTensor) -> keras.KerasTensor:
    """Scale as `preprocess_input` of VGG16 and ResNet50 does: RGB to BGR, ImageNet's means taken off.

    Keras has no layer that reverses channels, and a function called on the tensor would be stored under the name of a
    private module. Seen as channels-first, the last axis of an image is its width, and cropping takes one channel.

    Parameters
    ----------
    image
        `(N, S, S, 3)` RGB in [0, 255].

    Returns
    -------
    keras.KerasTensor
        `(N, S, S, 3)` float32 BGR.
    """
    # In float32 under any precision: the means differ from pixels by less than bfloat16 can tell.
    channels = [
        keras.layers.Cropping2D(
            ((0, 0), (left, 2 - left)), data_format="channels_first", dtype="float32", name=f"scale_{colour}"
        )(image)
        for left, colour in ((2, "blue"), (1, "green"), (0, "red"))
    ]
    bgr = keras.layers.Concatenate(dtype="float32", name="scale_bgr")(channels)
    return keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEANS], dtype="float32", name="scale")(bgr)


def _transfer(
    name: str,
    application: Callable[..., keras.Model],
    pooling: Callable[..., keras.Layer],
    image_size: int,
    params: TransferParams,
) -> keras.Model:
    layers = keras.layers
    image = image_input(image_size)
    scaled = caffe_scaled(image) if params.scaling == "backbone" else image
    # The shape is given too: Keras checks that, and not the tensor, against the smallest it allows.
    backbone = application(
        include_top=False, weights=None, input_tensor=scaled, input_shape=(image_size, image_size, 3)
    )
    load_backbone(backbone, name, params.weights)
    features = pooling(name=FEATURES)(backbone.output)
    head = layers.Dense(params.dense_units, activation="relu", name="head_dense")(features)
    head = layers.BatchNormalization(name="head_norm")(head)
    head = layers.Dropout(params.dropout, name="head_dropout")(head)
    return keras.Model(image, logit(head), name=name)
