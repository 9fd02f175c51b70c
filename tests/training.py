"""A training small enough for a test: galaxies that a few numbers draw, and a network of a backbone and a head."""

import keras
import numpy as np
import pytest

from galmorph.models.layers import image_input, logit
from galmorph.models.saved import uncompiled
from galmorph.models.state import HISTORY, TrainingData, TrainingState
from galmorph.models.train import train
from galmorph.params import ExperimentParams, TrainParams

SIDE = 16


def galaxies(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Round spots for 1, flat streaks for 0, under noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    y = (np.arange(count) % 2).astype(np.float32)
    width = np.where(y, 3.0, 1.0)[:, None, None]
    light = 150 * np.exp(-(rows**2 / width**2 + columns**2 / 9) / 2) + rng.normal(20, 5, (count, SIDE, SIDE))
    return np.repeat(light.clip(0, 255)[..., None], 3, -1).astype(np.uint8), y


def training_data(train: int = 64, validation: int = 32) -> TrainingData:
    """Balanced galaxies to learn from and to watch."""
    return TrainingData(*galaxies(train, 1), *galaxies(validation, 2))


def toy(seed: int = 0, dropout: float = 0.5) -> keras.Model:
    """Two convolutions with batch normalisation, `features`, and the head of a transfer model."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = image_input(SIDE)
    features = layers.Rescaling(1 / 255, name="scale")(image)
    for number in (1, 2):
        features = layers.Conv2D(6, 3, strides=2, activation="relu", name=f"conv{number}")(features)
        features = layers.BatchNormalization(name=f"norm{number}")(features)
    features = layers.GlobalAveragePooling2D(name="features")(features)
    head = layers.Dense(8, activation="relu", name="head_dense")(features)
    head = layers.BatchNormalization(name="head_norm")(head)
    head = layers.Dropout(dropout, name="head_dropout")(head)
    return keras.Model(image, logit(head), name="toy")


def small(params: TrainParams, weights: str = "given.weights.h5", **changes: object) -> TrainParams:
    """The values of params.yaml at the size of a test, a given backbone's normalisation frozen; `changes` by name."""
    values = params.model_dump()
    values |= {"batch_size": 16, "augmentation": None, "batch_norm_images": 64}
    values["cnn"] |= {"filters": (4, 4), "dense_units": 8}
    values["transfer"] |= {"weights": weights}
    for phase, rate in (("scratch", 0.01), ("frozen", 0.01), ("finetune", 0.001)):
        epochs = 4 if phase == "scratch" else 2
        values[phase] |= {"epochs": epochs, "learning_rate": rate, "schedule": "constant", "warmup": 0}
    values["finetune"] |= {"unfrozen": "all", "batch_norm": "frozen"}
    for name, value in changes.items():
        *path, key = name.split("__")
        section = values
        for part in path:
            section = section[part]
        section[key] = value
    return TrainParams.model_validate(values)


def phases(*names: str, architecture: str = "resnet50") -> ExperimentParams:
    """An experiment of some phases."""
    return ExperimentParams(architecture=architecture, variant="raw", phases=names, overrides={})


def copied(model: keras.Model) -> keras.Model:
    """A model of its own with the same weights."""
    copy = keras.models.clone_model(uncompiled(model))
    copy.set_weights(model.get_weights())
    return copy


class Kept:
    """Keeps models in memory as the checkpoints keep them on disk."""

    def __init__(self):
        self.models, self.states, self.optimisers = {}, [], {}

    def __call__(self, model, state, seconds):
        self.models[state.epoch] = copied(model)
        self.optimisers[state.epoch] = [np.array(variable) for variable in model.optimizer.variables]
        self.states.append(state)

    def best(self):
        return copied(self.models[self.states[-1].best_epoch])


def run(model, data, params, experiment, **options):
    """Train from the beginning, and return the last state and what was kept."""
    kept = Kept()
    return train(model, data, params, experiment, TrainingState(), kept, kept.best, **options), kept


def assert_same_history(history, expected, rel):
    """Every column of every epoch, numbers to a relative difference."""
    assert [(row["epoch"], row["phase"]) for row in history] == [(row["epoch"], row["phase"]) for row in expected]
    for row, other in zip(history, expected, strict=True):
        assert [row[name] for name in HISTORY[2:]] == pytest.approx([other[name] for name in HISTORY[2:]], rel=rel)
