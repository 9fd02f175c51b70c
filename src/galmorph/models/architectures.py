"""The architectures by name: a new one is a function here."""

from collections.abc import Callable

import keras

from galmorph.errors import ModelError
from galmorph.models.cnn import baseline_cnn, regularised_cnn
from galmorph.params import PreprocessParams, TrainParams

#: From the side of the images and the training parameters to a model that ends in its logit.
ARCHITECTURES: dict[str, Callable[[int, TrainParams], keras.Model]] = {
    "baseline_cnn": lambda image_size, params: baseline_cnn(image_size, params.cnn),
    "regularised_cnn": lambda image_size, params: regularised_cnn(image_size, params.cnn),
}


def build(architecture: str, preprocess: PreprocessParams, params: TrainParams) -> keras.Model:
    """Build an architecture with fresh weights.

    Raises
    ------
    ModelError
        When the architecture is not known, or the images are too small for it.
    """
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"experiments.*.architecture must be one of {', '.join(sorted(ARCHITECTURES))}. Received: {architecture!r}"
        )
    try:
        return ARCHITECTURES[architecture](preprocess.image_size, params)
    except ValueError as error:
        raise ModelError(
            f"{architecture} cannot be built for images of {preprocess.image_size} pixels; raise "
            f"preprocess.image_size. Received from Keras: {error}"
        ) from error
