"""Small models with random weights, and random galaxies: what explanation methods are tried on."""

import keras
import numpy as np
import pytest

from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.params import PreprocessParams, merged

SIZE = PreprocessParams(crop=0.5, image_size=24)


def built(architecture, train):
    """A model of random weights, always the same, ended by its probability."""
    keras.utils.set_random_seed(1)
    return with_probability(build(architecture, SIZE, train), 1.0)


@pytest.fixture(scope="package")
def model(params):
    small = params.train.cnn.model_copy(update={"filters": (4, 6), "dense_units": 8})
    return built("baseline_cnn", params.train.model_copy(update={"cnn": small}))


@pytest.fixture(scope="package")
def transformer(params):
    small = params.train.vit.model_copy(update={"patch": 8, "width": 8, "depth": 2, "heads": 2, "mlp": 8})
    return built("vit", params.train.model_copy(update={"vit": small}))


@pytest.fixture(scope="package")
def galaxies():
    return np.random.default_rng(2).integers(0, 256, (5, 24, 24, 3), np.uint8)


@pytest.fixture(scope="package")
def explain_params(params):
    """The parameters of params.yaml with little to compute."""
    small = {
        "batch_size": 5,
        "integrated_gradients": {"steps": 8, "max_steps": 16},
        "smooth_grad": {"samples": 2},
        "lime": {"samples": 30, "annuli": 2, "sectors": 4},
        "occlusion": {"patch": 0.5, "stride": 0.25},
    }
    return type(params.explain).model_validate(merged(params.explain.model_dump(), small))
