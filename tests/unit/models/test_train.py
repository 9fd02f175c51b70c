"""The training engine on galaxies that a few numbers draw."""

import logging

import keras
import numpy as np
import pytest

from galmorph.errors import OutOfMemoryError, TrainingError
from galmorph.models.architectures import build
from galmorph.models.objective import learning_rate
from galmorph.models.train import TrainingData, TrainingState, check_trainable, train
from galmorph.params import PreprocessParams
from tests.training import SIDE, Kept, phases, small, toy, training_data
from tests.training import run as run_model

EXPERIMENT = phases("scratch", architecture="regularised_cnn")


@pytest.fixture(scope="module")
def data():
    return training_data()


@pytest.fixture(scope="module")
def train_params(params):
    return small(params.train)


def network(params, architecture="regularised_cnn"):
    keras.utils.set_random_seed(params.seed)
    return build(architecture, PreprocessParams(crop=1, image_size=SIDE), params)


def run(data, params, experiment=EXPERIMENT):
    return run_model(network(params), data, params, experiment)


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


def test_training_stops_when_validation_gets_no_better(data, params):
    still = small(params.train, early_stopping=2, scratch__epochs=30, scratch__learning_rate=0.5)
    state, _ = run(data, still)
    assert len(state.history) < 30
    assert len(state.history) - state.best_epoch == 2


def test_a_second_phase_starts_from_the_best_of_the_first(data, params):
    two = phases("scratch", "finetune", architecture="regularised_cnn")
    state, kept = run(data, small(params.train, finetune__learning_rate=1e-9), two)
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


@pytest.mark.parametrize(
    ("loss", "optimiser"),
    [("cross_entropy", "adam"), ("generalised_cross_entropy", "adamw")],
)
def test_the_validation_loss_is_the_plain_cross_entropy_whatever_is_minimised(data, params, loss, optimiser):
    values = small(
        params.train, loss={"name": loss, "q": 0.7, "label_smoothing": 0.1}, optimiser__name=optimiser,
        optimiser__weight_decay=0.01, scratch__epochs=2,
    )  # fmt: skip
    state, kept = run(data, values)
    logits = kept.models[2].predict(data.validation_images.astype(np.float32), verbose=0)[:, 0].astype(float)
    right = np.where(data.validation_y == 1, logits, -logits)
    assert state.history[1]["val_loss"] == pytest.approx(np.mean(np.log1p(np.exp(-right))), rel=1e-4)


def test_a_loss_that_is_not_a_number_stops_with_its_place(data, train_params):
    def poisoned(model, state, seconds):
        model.get_layer("logit").bias.assign([np.nan])

    model = network(train_params, "baseline_cnn")
    with pytest.raises(TrainingError, match="epoch 2, batch 1"):
        train(model, data, train_params, EXPERIMENT, TrainingState(), poisoned, lambda: model)


def test_a_nan_that_a_relu_hides_from_the_loss_is_found_and_not_kept(data, train_params):
    """On the CPU max(NaN, 0) may be 0: the loss stays a number, and the broken model would be kept."""
    kept = Kept()

    def poisoned(model, state, seconds):
        kept(model, state, seconds)
        kernel = model.get_layer("block1_conv").kernel
        kernel.assign(np.full(kernel.shape, np.nan))

    model = network(train_params, "baseline_cnn")
    with pytest.raises(
        TrainingError, match=r"epoch 2.*(batch 1|weights of block1_conv/kernel).*before it stays.*Received"
    ):
        train(model, data, train_params, EXPERIMENT, TrainingState(), poisoned, lambda: model)
    assert list(kept.models) == [1]


def test_out_of_memory_names_what_to_lower(data, train_params):
    """A layer whose output has 100 terabytes: TensorFlow's own allocator refuses."""
    image = keras.Input((SIDE, SIDE, 3))
    vast = keras.layers.ZeroPadding2D(400_000, name="vast")(image)
    model = keras.Model(image, keras.layers.Dense(1, name="logit")(keras.layers.GlobalMaxPooling2D()(vast)))
    with pytest.raises(
        OutOfMemoryError, match=r"batch_size \(now 16\) or preprocess.image_size \(now 16\).*Received: OOM "
    ):
        train(model, data, train_params, phases("scratch"), TrainingState(), Kept(), lambda: model)


def test_one_class_only_is_refused(data, train_params):
    single = TrainingData(data.images, np.ones(64, np.float32), data.validation_images, data.validation_y)
    with pytest.raises(TrainingError, match="train split must hold galaxies of both classes"):
        check_trainable(single, train_params)


def test_a_batch_larger_than_the_data_is_refused(data, train_params):
    with pytest.raises(TrainingError, match=r"batch_size must be at most .* 64.*Received: 65"):
        check_trainable(data, train_params.model_copy(update={"batch_size": 65}))


def test_the_history_tells_the_learning_rate(data, params):
    falling = small(params.train, scratch__schedule="cosine", scratch__warmup=1)
    state, _ = run(data, falling)
    assert [row["learning_rate"] for row in state.history] == pytest.approx(
        [learning_rate(falling.scratch, epoch) for epoch in range(4)], rel=1e-5
    )


def test_each_epoch_is_one_line_that_names_its_phase(data, train_params, caplog, capsys):
    with caplog.at_level(logging.INFO, "galmorph"):
        run_model(toy(), data, train_params, phases("frozen", "finetune"))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("galmorph")]
    assert [line.partition(":")[0] for line in lines] == [
        "frozen, epoch 1 of 2", "frozen, epoch 2 of 2", "finetune, epoch 3 of 4", "finetune, epoch 4 of 4",
    ]  # fmt: skip
    assert "validation loss" in lines[0]
    assert capsys.readouterr().out == ""


def test_each_batch_is_told_with_its_phase_and_the_last_one_is_what_is_left(data, params):
    told = []
    uneven = small(params.train, batch_size=24)
    run_model(toy(), data, uneven, phases("frozen", "finetune"), after_batch=lambda *batch: told.append(batch))
    assert len(data.y) == 64
    epoch = (24, 24, 16)
    assert told == [(phase, images) for phase in ("frozen", "finetune") for images in epoch * 2]
