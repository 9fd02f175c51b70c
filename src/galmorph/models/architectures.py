"""The architectures by name: a new one is a function here."""

import re
from collections.abc import Callable

import keras

from galmorph.errors import ModelError
from galmorph.models.cnn import baseline_cnn, regularised_cnn
from galmorph.models.transfer import resnet50, vgg16
from galmorph.models.vit import vit
from galmorph.params import PreprocessParams, TrainParams

#: From the side of the images and the training parameters to a model that ends in its logit.
ARCHITECTURES: dict[str, Callable[[int, TrainParams], keras.Model]] = {
    "baseline_cnn": lambda image_size, params: baseline_cnn(image_size, params.cnn),
    "regularised_cnn": lambda image_size, params: regularised_cnn(image_size, params.cnn),
    "vgg16": lambda image_size, params: vgg16(image_size, params.transfer),
    "resnet50": lambda image_size, params: resnet50(image_size, params.transfer),
    "vit": lambda image_size, params: vit(image_size, params.vit),
}


def build(architecture: str, preprocess: PreprocessParams, params: TrainParams) -> keras.Model:
    """Build an architecture, with fresh weights or, in a backbone, those that `train.transfer.weights` names.

    Raises
    ------
    ModelError
        When the architecture is not known, the images are too small for it, or the weights cannot be had.
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
            f"preprocess.image_size. Received from Keras: {_plain(error)}"
        ) from error


def _plain(error: ValueError) -> str:
    """Return what Keras says, without the colours of a terminal and the arguments that it lists."""
    said = re.sub(r"\x1b\[\d*m", "", str(error)).split("\n\nArguments received by")[0]
    return " ".join(said.split())
