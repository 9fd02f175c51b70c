"""What training starts from, and where it stands after an epoch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from galmorph.errors import TrainingError
from galmorph.params import TrainParams

#: Columns of history.csv. `loss` is what training minimises; `val_loss` is the plain cross entropy, whatever that is.
HISTORY = ("epoch", "phase", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@dataclass(frozen=True)
class TrainingData:
    """Prepared images `(N, S, S, 3)` uint8 and targets `(N,)` float32 in {0, 1}, to learn from and to watch.

    Images to learn from may have context around them: see `data.dataset.prepare`. Either may be memory-mapped.
    """

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
        Index of the phase that the last epoch belonged to, among those that are run.
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


#: Called after each epoch with the model, the state, and the epoch's length in seconds. The model is in float32 and
#: its `optimizer` is the one that training goes on with.
AfterEpoch = Callable[[keras.Model, TrainingState, float], None]

#: Called after each batch with the phase's name and how many images were learned from.
AfterBatch = Callable[[str, int], None]


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
