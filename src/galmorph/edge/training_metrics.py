"""What Prometheus sees of a training or a study that is under way, where `GALMORPH_METRICS_PORT` asks for it.

It is an environment variable and no value of params.yaml: whether somebody watches changes nothing of what is trained,
and must not make DVC train again.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

_log = logging.getLogger(__name__)

#: Names the port; unset or empty: nothing is served.
PORT = "GALMORPH_METRICS_PORT"
#: From the columns of an epoch's row to the split that they are of.
_SPLITS = {"train": "", "validation": "val_"}


class TrainingMonitor:
    """The metrics of one process that trains.

    Attributes
    ----------
    registry
        They are in. What has not happened yet is not there: a gauge at 0 would be read as a loss of 0.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        into: dict[str, Any] = {"registry": self.registry, "namespace": "galmorph", "subsystem": "training"}
        each = ("experiment",)
        self.phase = Gauge("phase", "1 for the phase that is under way, 0 for those before.", (*each, "phase"), **into)
        self.epoch = Gauge("epoch", "Epochs finished, over all phases.", each, **into)
        self.planned = Gauge("epochs_planned", "Epochs that it comes to if no phase ends early.", each, **into)
        self.best_epoch = Gauge("best_epoch", "The epoch of this phase with the lowest validation loss.", each, **into)
        self.loss = Gauge("loss", "Of the last epoch: what is minimised; of validation the cross entropy.",
                          (*each, "split"), **into)  # fmt: skip
        self.accuracy = Gauge("accuracy", "Of the last epoch.", (*each, "split"), **into)
        self.learning_rate = Gauge("learning_rate", "Of the last epoch.", each, **into)
        self.epoch_seconds = Gauge("epoch_seconds", "How long the last epoch took, validation included.", each, **into)
        self.images = Counter("images", "Images, or their features, learned from.", each, **into)
        self.checkpoint = Gauge("checkpoint_timestamp_seconds", "When the last epoch was kept.", each, **into)
        into["subsystem"] = "tuning"
        self.trials = Gauge("trials", "Trials of the study, of all workers.", ("study", "state"), **into)
        self.best_value = Gauge("best_value", "What the best trial reached.", ("study", "metric"), **into)
        self._phases: dict[str, str] = {}

    def learned(self, experiment: str, phase: str, images: int) -> None:
        """Note a batch, and which phase it belongs to."""
        before = self._phases.get(experiment)
        if before != phase:
            if before is not None:
                self.phase.labels(experiment, before).set(0)
            self.phase.labels(experiment, phase).set(1)
            self._phases[experiment] = phase
        self.images.labels(experiment).inc(images)

    def epoch_done(
        self, experiment: str, row: Mapping[str, Any], *, planned: int, best_epoch: int | None, seconds: float
    ) -> None:
        """Note what an epoch came to.

        Parameters
        ----------
        experiment
            Which one.
        row
            By the columns of `models.state.HISTORY`.
        planned
            Epochs of all its phases.
        best_epoch
            Of this phase.
        seconds
            How long the epoch took.
        """
        self.epoch.labels(experiment).set(row["epoch"])
        self.planned.labels(experiment).set(planned)
        if best_epoch is not None:
            self.best_epoch.labels(experiment).set(best_epoch)
        for split, prefix in _SPLITS.items():
            self.loss.labels(experiment, split).set(row[f"{prefix}loss"])
            self.accuracy.labels(experiment, split).set(row[f"{prefix}accuracy"])
        self.learning_rate.labels(experiment).set(row["learning_rate"])
        self.epoch_seconds.labels(experiment).set(seconds)

    def kept(self, experiment: str) -> None:
        """Note that what was trained until now is safe."""
        self.checkpoint.labels(experiment).set(time.time())

    def studied(self, study: str, counts: Mapping[str, int], metric: str, best: float | None) -> None:
        """Note how many trials of a study are in which state, and what the best one reached."""
        for state, count in counts.items():
            self.trials.labels(study, state).set(count)
        if best is not None:
            self.best_value.labels(study, metric).set(best)


@contextlib.contextmanager
def served() -> Iterator[TrainingMonitor]:
    """Yield a monitor; while the block runs it is served at `/metrics` where `GALMORPH_METRICS_PORT` says so.

    A port that cannot be used is a warning: nobody loses a training because another process was there first.
    """
    monitor = TrainingMonitor()
    asked = os.environ.get(PORT, "").strip()
    if not asked:
        yield monitor
        return
    try:
        server, thread = start_http_server(int(asked), registry=monitor.registry)
    except (ValueError, OverflowError, OSError) as error:
        _log.warning(
            "%s: no metrics are served, training goes on without. Name a free port from 1 to 65535. Received: %r (%s)",
            PORT, asked, error,
        )  # fmt: skip
        yield monitor
        return
    _log.info("metrics of this training: port %d, /metrics", server.server_port)
    try:
        yield monitor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
