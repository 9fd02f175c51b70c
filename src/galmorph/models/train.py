"""Training: phases of epochs over one model, resumable after any epoch."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from galmorph.data.dataset import batches, training_batches
from galmorph.errors import TrainingError
from galmorph.models.batch_norm import recalibrate
from galmorph.params import ExperimentParams, PhaseParams, TrainParams

#: Columns of history.csv.
HISTORY = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@dataclass(frozen=True)
class TrainingData:
    """Prepared images `(N, S, S, 3)` uint8 and targets `(N,)` float32 in {0, 1}, to learn from and to watch."""

    images: np.ndarray
    y: np.ndarray
    validation_images: np.ndarray
    validation_y: np.ndarray


@dataclass(frozen=True)
class TrainingState:
    """Where training stands after an epoch; JSON can hold it.

    Attributes
    ----------
    history
        A row of `HISTORY` for each epoch finished, over all phases.
    phase
        Index of the phase that the last epoch belonged to.
    best_epoch, best_loss
        The epoch of this phase with the lowest validation loss; None before the first.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    phase: int = 0
    best_epoch: int | None = None
    best_loss: float | None = None

    @property
    def epoch(self) -> int:
        """Number of epochs finished."""
        return len(self.history)

    def epochs_in_phase(self, phase: str) -> int:
        """Count the finished epochs of a phase."""
        return sum(row["phase"] == phase for row in self.history)

    def after(self, row: dict[str, Any]) -> "TrainingState":
        """Return the state after one more epoch."""
        loss = row["val_loss"]
        better = self.best_loss is None or loss < self.best_loss
        return replace(
            self,
            history=[*self.history, row],
            best_epoch=row["epoch"] if better else self.best_epoch,
            best_loss=loss if better else self.best_loss,
        )


#: Called after each epoch with the model, the state, and the epoch's length in seconds.
AfterEpoch = Callable[[keras.Model, TrainingState, float], None]


def check_trainable(data: TrainingData, params: TrainParams) -> None:
    """Refuse data that cannot be learned from.

    Raises
    ------
    TrainingError
        When a class is missing in a split, or one batch would hold more than all galaxies.
    """
    for name, y in (("train", data.y), ("validation", data.validation_y)):
        if len(np.unique(y)) < 2:
            raise TrainingError(
                f"the {name} split must hold galaxies of both classes. Give more galaxies, or change split.seed. "
                f"Received: {len(y)} galaxies, {int(y.sum())} of them Elliptical"
            )
    if params.batch_size > len(data.y):
        raise TrainingError(
            f"train.batch_size must be at most the number of training galaxies, {len(data.y)}. "
            f"Received: {params.batch_size}"
        )


def balanced_weights(y: np.ndarray) -> dict[int, float]:
    """Class weights `N / (2 · count)`, as scikit-learn's `class_weight="balanced"`."""
    return {value: len(y) / (2 * int((y == value).sum())) for value in (0, 1)}


def learning_rate(phase: PhaseParams, epoch: int) -> float:
    """Return the learning rate of an epoch of a phase, counted from 0.

    `cosine` falls from the phase's learning rate to nearly 0 over its epochs (Loshchilov & Hutter 2017,
    arXiv:1608.03983, without restarts). It depends on the epoch's number only, so that a resumed run follows it too.
    """
    if phase.schedule == "constant":
        return phase.learning_rate
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / phase.epochs))


def compile_for(model: keras.Model, phase: PhaseParams) -> None:
    """Give the model its loss and optimiser for a phase."""
    model.compile(
        optimizer=keras.optimizers.Adam(phase.learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )


def train(
    model: keras.Model,
    data: TrainingData,
    params: TrainParams,
    experiment: ExperimentParams,
    state: TrainingState,
    after_epoch: AfterEpoch,
    best_model: Callable[[], keras.Model],
) -> TrainingState:
    """Train through the experiment's phases, going on from `state`.

    Parameters
    ----------
    model
        Ends in its logit; compiled with its optimiser's state when `state` is not the beginning.
    data, params, experiment
        What to learn, and how.
    state
        Where to go on.
    after_epoch
        Keeps what must not be lost: the model and the state.
    best_model
        Returns the model as it was after `state.best_epoch`; asked at the end of each phase.

    Returns
    -------
    TrainingState
        After the last epoch. The best model of the last phase is what `best_model` returns.

    Raises
    ------
    TrainingError
        When the loss is not a number.
    """
    check_trainable(data, params)
    for number, name in enumerate(experiment.phases):
        if number < state.phase:
            continue
        if number > state.phase:
            model = best_model()
            state = replace(state, phase=number, best_epoch=None, best_loss=None)
        phase: PhaseParams = getattr(params, name)
        if state.epochs_in_phase(name) == 0:
            compile_for(model, phase)
        state = _run_phase(model, data, params, name, phase, state, after_epoch)
    return state


def _run_phase(
    model: keras.Model,
    data: TrainingData,
    params: TrainParams,
    name: str,
    phase: PhaseParams,
    state: TrainingState,
    after_epoch: AfterEpoch,
) -> TrainingState:
    last = state.epoch - state.epochs_in_phase(name) + phase.epochs
    recorder = _Recorder(name, state, params.early_stopping, after_epoch)
    if recorder.enough() or state.epoch >= last:
        return state
    model.fit(
        training_batches(
            data.images, data.y, params.batch_size, params.seed, params.transforms, range(state.epoch, last)
        ),
        initial_epoch=state.epoch,
        epochs=last,
        steps_per_epoch=math.ceil(len(data.y) / params.batch_size),
        validation_data=batches(data.validation_images, data.validation_y, params.batch_size),
        class_weight=balanced_weights(data.y) if params.class_weights else None,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch, _: learning_rate(phase, epoch - last + phase.epochs)),
            _EpochSeeds(params.seed),
            _StopOnNan(),
            _Recalibration(data.images[: params.batch_norm_images], params.batch_size),
            recorder,
        ],
        shuffle=False,  # the data set has its own order, the same after a resume
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return recorder.state


class _Recorder(keras.callbacks.Callback):
    """Keeps the state, hands it on after each epoch, and ends the phase when validation stops getting better."""

    def __init__(self, phase: str, state: TrainingState, patience: int, after_epoch: AfterEpoch) -> None:
        super().__init__()
        self.phase, self.state, self.patience, self.after_epoch = phase, state, patience, after_epoch
        self.started = 0.0

    def enough(self) -> bool:
        """Whether the best epoch lies `patience` epochs back."""
        return self.state.best_epoch is not None and self.state.epoch - self.state.best_epoch >= self.patience

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        row = {"epoch": epoch + 1, "phase": self.phase, **{key: values[key] for key in HISTORY[2:6]}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        self.state = self.state.after(row)
        self.after_epoch(self.model, self.state, time.monotonic() - self.started)
        self.model.stop_training = self.enough()


class _EpochSeeds(keras.callbacks.Callback):
    """Gives dropout a state that depends on the seed, the epoch and the layer only.

    Keras does not save that state with a model: without this, a resumed run would drop other units.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        for number, layer in enumerate(self.model.layers):
            if isinstance(layer, keras.layers.Dropout):
                state = np.random.SeedSequence((self.seed, epoch, number)).generate_state(2)
                layer.seed_generator.state.assign(state.astype(layer.seed_generator.state.dtype))


class _Recalibration(keras.callbacks.Callback):
    """Measures the batch normalisation statistics anew before each validation."""

    def __init__(self, images: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self.images, self.batch_size = images, batch_size

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        recalibrate(self.model, self.images, self.batch_size)


class _StopOnNan(keras.callbacks.Callback):
    """Ends training at the first loss that is not a number, and says where."""

    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is not a number in epoch {self.epoch + 1}, batch {batch + 1}. Lower the "
                f"phase's learning_rate, or look at the images of that batch, and run again. Received: loss {loss}"
            )
