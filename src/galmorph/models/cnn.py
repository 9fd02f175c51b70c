"""The two convolutional networks of the study, trained from scratch."""

import keras

from galmorph.models.layers import image_input, logit
from galmorph.params import CnnParams


def regularised_cnn(image_size: int, params: CnnParams) -> keras.Model:
    """Blocks of Conv 3×3 → ReLU → BatchNorm → max pooling → Dropout, then Dense → ReLU → BatchNorm → Dropout → logit.

    Parameters
    ----------
    image_size
        Side of the images in pixels.
    params
        Filters and number of convolutions of each block, each with its ReLU and normalisation; what stands between
        blocks and head; units of the dense layer, dropout.

    Returns
    -------
    keras.Model
        From `(N, image_size, image_size, 3)` float32 in [0, 255] to the `(N, 1)` logit for Elliptical.
    """
    return _cnn("regularised_cnn", image_size, params, regularised=True)


def baseline_cnn(image_size: int, params: CnnParams) -> keras.Model:
    """`regularised_cnn` without batch normalisation and without dropout in the blocks."""
    return _cnn("baseline_cnn", image_size, params, regularised=False)


def _cnn(name: str, image_size: int, params: CnnParams, regularised: bool) -> keras.Model:
    layers = keras.layers

    def normalised(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if not regularised:
            return features
        return layers.BatchNormalization(momentum=params.batch_norm_momentum, name=name)(features)

    image = image_input(image_size)
    features = layers.Rescaling(1 / 255, dtype="float32", name="scale")(image)
    for i, filters in enumerate(params.filters, 1):
        for number in _numbers(params.convolutions):
            features = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{i}_conv{number}")(
                features
            )
            features = normalised(features, f"block{i}_norm{number}")
        features = layers.MaxPooling2D(2, name=f"block{i}_pool")(features)
        if regularised:
            features = layers.Dropout(params.block_dropout, name=f"block{i}_dropout")(features)
    if params.pooling == "flatten":
        features = layers.Flatten(name="flatten")(features)
    else:
        features = layers.GlobalAveragePooling2D(name="average")(features)
    features = layers.Dense(params.dense_units, activation="relu", name="head_dense")(features)
    features = normalised(features, "head_norm")
    features = layers.Dropout(params.head_dropout, name="head_dropout")(features)
    return keras.Model(image, logit(features), name=name)


def _numbers(convolutions: int) -> list[str]:
    """Return what tells a block's convolutions apart: nothing where there is one, as in the published networks."""
    return [""] if convolutions == 1 else [str(number) for number in range(1, convolutions + 1)]
