"""The training engine on galaxies that a few numbers draw."""

import keras
import numpy as np
import pytest

from galmorph.errors import TrainingError
from galmorph.models.architectures import build
from galmorph.models.train import TrainingData, TrainingState, balanced_weights, check_trainable, learning_rate, train
from galmorph.params import ExperimentParams, PreprocessParams

SIZE = PreprocessParams(crop=1, image_size=16)
EXPERIMENT = ExperimentParams(architecture="regularised_cnn", variant="raw", phases=("scratch",), overrides={})


def galaxies(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Round spots for 1, flat streaks for 0, under noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16] - 7.5
    y = (np.arange(count) % 2).astype(np.float32)
    width = np.where(y, 3.0, 1.0)[:, None, None]
    light = 150 * np.exp(-(rows**2 / width**2 + columns**2 / 9) / 2) + rng.normal(20, 5, (count, 16, 16))
    return np.repeat(light.clip(0, 255)[..., None], 3, -1).astype(np.uint8), y


@pytest.fixture(scope="module")
def data():
    return TrainingData(*galaxies(64, 1), *galaxies(32, 2))


@pytest.fixture(scope="module")
def train_params(params):
    return params.train.model_copy(
        update={
            "cnn": params.train.cnn.model_copy(update={"filters": (4, 4), "dense_units": 8}),
            "batch_size": 16,
            "augmentation": None,
            "batch_norm_images": 64,
            "scratch": params.train.scratch.model_copy(update={"epochs": 4, "learning_rate": 0.01}),
        }
    )


class Kept:
    """Keeps models in memory as the checkpoints keep them on disk."""

    def __init__(self):
        self.models, self.states = {}, []

    def __call__(self, model, state, seconds):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        self.models[state.epoch] = copy
        self.states.append(state)

    def best(self):
        return self.models[self.states[-1].best_epoch]


def run(data, params, experiment=EXPERIMENT):
    keras.utils.set_random_seed(params.seed)
    kept = Kept()
    model = build(experiment.architecture, SIZE, params)
    return train(model, data, params, experiment, TrainingState(), kept, kept.best), kept


def test_it_learns_and_the_best_epoch_is_that_of_the_lowest_loss(data, train_params):
    state, kept = run(data, train_params)
    losses = [row["val_loss"] for row in state.history]
    assert [row["epoch"] for row in state.history] == [1, 2, 3, 4]
    assert state.best_epoch == int(np.argmin(losses)) + 1
    assert state.best_loss == min(losses)
    assert max(row["val_accuracy"] for row in state.history) > 0.9
    assert len(kept.states) == 4


def test_the_same_seed_gives_the_same_metrics(data, train_params):
    assert run(data, train_params)[0].history == run(data, train_params)[0].history


def test_training_stops_when_validation_gets_no_better(data, train_params):
    still = train_params.model_copy(
        update={
            "early_stopping": 2,
            "scratch": train_params.scratch.model_copy(update={"epochs": 30, "learning_rate": 0.5}),
        }
    )
    state, _ = run(data, still)
    assert len(state.history) < 30
    assert len(state.history) - state.best_epoch == 2


def test_a_second_phase_starts_from_the_best_of_the_first(data, train_params):
    two = EXPERIMENT.model_copy(update={"phases": ("scratch", "finetune")})
    params = train_params.model_copy(
        update={"finetune": train_params.finetune.model_copy(update={"epochs": 2, "learning_rate": 1e-9})}
    )
    state, kept = run(data, params, two)
    assert [row["phase"] for row in state.history] == ["scratch"] * 4 + ["finetune"] * 2
    best = min(row["val_loss"] for row in state.history[:4])
    assert state.history[4]["val_loss"] == pytest.approx(best, rel=0.02)
    assert state.history[4]["learning_rate"] == pytest.approx(1e-9)
    assert state.best_epoch in (5, 6)
    assert kept.states[-1].phase == 1


def test_a_finished_training_is_left_alone(data, train_params):
    state, kept = run(data, train_params)
    again = train(kept.models[4], data, train_params, EXPERIMENT, state, kept, kept.best)
    assert again == state


def test_a_loss_that_is_not_a_number_stops_with_its_place(data, train_params):
    def poisoned(model, state, seconds):
        model.get_layer("logit").bias.assign([np.nan])

    model = build("baseline_cnn", SIZE, train_params)
    with pytest.raises(TrainingError, match="epoch 2, batch 1"):
        train(model, data, train_params, EXPERIMENT, TrainingState(), poisoned, lambda: model)


def test_one_class_only_is_refused(data, train_params):
    single = TrainingData(data.images, np.ones(64, np.float32), data.validation_images, data.validation_y)
    with pytest.raises(TrainingError, match="train split must hold galaxies of both classes"):
        check_trainable(single, train_params)


def test_a_batch_larger_than_the_data_is_refused(data, train_params):
    with pytest.raises(TrainingError, match=r"batch_size must be at most .* 64.*Received: 65"):
        check_trainable(data, train_params.model_copy(update={"batch_size": 65}))


def test_balanced_weights_give_both_classes_the_same_say():
    y = np.array([1, 0, 0, 0], np.float32)
    weights = balanced_weights(y)
    assert weights == {0: pytest.approx(4 / 6), 1: pytest.approx(2.0)}


def test_a_cosine_falls_and_a_constant_stays(train_params):
    cosine = train_params.scratch.model_copy(update={"schedule": "cosine", "epochs": 4, "learning_rate": 0.01})
    rates = [learning_rate(cosine, epoch) for epoch in range(4)]
    np.testing.assert_allclose(rates, [0.01, 0.01 * (1 + 0.5**0.5) / 2, 0.005, 0.01 * (1 - 0.5**0.5) / 2])
    assert learning_rate(cosine.model_copy(update={"schedule": "constant"}), 3) == 0.01


def test_the_history_tells_the_learning_rate(data, train_params):
    falling = train_params.model_copy(
        update={"scratch": train_params.scratch.model_copy(update={"schedule": "cosine"})}
    )
    state, _ = run(data, falling)
    assert [row["learning_rate"] for row in state.history] == pytest.approx(
        [learning_rate(falling.scratch, epoch) for epoch in range(4)], rel=1e-5
    )
