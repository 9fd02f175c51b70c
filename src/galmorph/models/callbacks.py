"""What happens around each epoch: the state is kept, dropout is seeded, statistics are measured, NaN stops."""

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from galmorph.errors import TrainingError
from galmorph.models.batch_norm import recalibrate
from galmorph.models.state import TrainingState

_log = logging.getLogger(__name__)

#: What becomes of what was trained, in every message that names a value to change.
_KEPT = "other values start training over; until then the checkpoint of the epoch before it stays"

#: From the names that Keras gives an epoch's values to those of `HISTORY`.
_LOGGED = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_cross_entropy": "val_loss",
    "val_accuracy": "val_accuracy",
}


class Recorder(keras.callbacks.Callback):
    """Keeps the state, hands it on after each epoch, and ends the phase when validation stops getting better.

    Parameters
    ----------
    phase
        Its name.
    last
        The number of the phase's last epoch, counted from 1 over all phases.
    state
        Where the phase starts or goes on.
    patience
        Epochs without a better validation loss after which it ends.
    keep
        Called with the state and the epoch's length in seconds.
    """

    def __init__(
        self, phase: str, last: int, state: TrainingState, patience: int, keep: Callable[[TrainingState, float], None]
    ) -> None:
        super().__init__()
        self.phase, self.last, self.state, self.patience, self.keep = phase, last, state, patience, keep
        self.started = 0.0

    def enough(self) -> bool:
        """Whether the phase is over: its last epoch is done, or the best one lies `patience` epochs back."""
        best = self.state.best_epoch
        return self.state.epoch >= self.last or (best is not None and self.state.epoch - best >= self.patience)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102
        values = {name: float((logs or {})[key]) for key, name in _LOGGED.items()}
        _check_finite(self.model, values, epoch + 1)
        row = {"epoch": epoch + 1, "phase": self.phase, **values}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.state = self.state.after(row)
        seconds = time.monotonic() - self.started
        self.keep(self.state, seconds)
        if not sys.stdout.isatty():
            _log.info("%s", epoch_line(row, self.last, seconds))
        self.model.stop_training = self.enough()


def epoch_line(row: Mapping[str, Any], last: int, seconds: float) -> str:
    """Say in one line what an epoch came to."""
    return (
        f"{row['phase']}, epoch {row['epoch']} of {last}: loss {row['loss']:.4f}, accuracy {row['accuracy']:.3f}; "
        f"validation loss {row['val_loss']:.4f}, accuracy {row['val_accuracy']:.3f}; {seconds:.1f} s"
    )


def _check_finite(model: keras.Model, values: dict[str, float], epoch: int) -> None:
    """Refuse to keep an epoch that broke the model.

    The loss alone does not tell: TensorFlow's ReLU and max pooling may turn a NaN into 0 on the CPU, and the last batch
    of an epoch may break the weights after its own loss was taken.
    """
    broken = [
        weight.path for weight in model.trainable_variables if not np.isfinite(keras.ops.convert_to_numpy(weight)).all()
    ]
    if broken or not all(map(math.isfinite, values.values())):
        where = f"in the weights of {broken[0]}" if broken else "in the validation loss"
        raise TrainingError(
            f"epoch {epoch} left something that is not a number {where}. Lower the phase's learning_rate and run "
            f"again; {_KEPT}. Received: validation loss {values['val_loss']}"
        )


class EpochSeeds(keras.callbacks.Callback):
    """Gives dropout a state that depends on the seed, the epoch and the layer only.

    Keras does not save that state with a model: without this, a resumed run would drop other units.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        # Attention keeps its dropout in a layer inside it.
        for number, layer in enumerate(self.model._flatten_layers(include_self=False)):
            generator = getattr(layer, "seed_generator", None)  # a dropout of 0 has none
            if generator is not None:
                state = np.random.SeedSequence((self.seed, epoch, number)).generate_state(2)
                generator.state.assign(state.astype(generator.state.dtype))


class Recalibration(keras.callbacks.Callback):
    """Measures the batch normalisation statistics anew before each validation."""

    def __init__(self, inputs: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self.inputs, self.batch_size = inputs, batch_size

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        recalibrate(self.model, self.inputs, self.batch_size)


class Progress(keras.callbacks.Callback):
    """Tells after each batch how many images were learned from.

    Parameters
    ----------
    images, batch_size
        Of an epoch; its last batch is what is left.
    learned
        Called with the number of the batch's images.
    """

    def __init__(self, images: int, batch_size: int, learned: Callable[[int], None]) -> None:
        super().__init__()
        self.images, self.batch_size, self.learned = images, batch_size, learned

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        self.learned(min(self.batch_size, self.images - batch * self.batch_size))


class StopOnNan(keras.callbacks.Callback):
    """Ends training at the first loss that is not a number, and says where.

    Keras reports the mean over the epoch's batches so far. One that is not a number makes the mean none from then on,
    so the first such mean names its batch.
    """

    epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002, D102
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is not a number in epoch {self.epoch + 1}, batch {batch + 1}. Lower the "
                f"phase's learning_rate, or look at the images of that batch, and run again; {_KEPT}. "
                f"Received: loss {loss}"
            )
