"""What Prometheus sees of the service.

With several worker processes each writes its numbers to files of a folder (`PROMETHEUS_MULTIPROC_DIR`), and whichever
of them is scraped adds them up. So everything here is a counter, a histogram or a gauge that is set.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

#: Where the processes of one service leave their numbers; set by `galmorph serve` when there are several.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))


class Monitor:
    """The service's metrics.

    Attributes
    ----------
    registry
        They are in; one of its own for every service, so that several may live in a process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        into: dict[str, Any] = {"registry": self.registry, "namespace": "galmorph"}
        counted: dict[str, Any] = {**into, "multiprocess_mode": "livesum"}
        latest: dict[str, Any] = {**into, "multiprocess_mode": "livemostrecent"}
        self.seconds = Histogram(
            "request_seconds",
            "Time from a request's headers to the end of its answer.",
            ("route", "method", "code"),
            buckets=_SECONDS,
            **into,
        )
        self.batch_size = Histogram("batch_size", "Images answered together.", buckets=_SIZES, **into)
        self.queue_depth = Gauge("queue_depth", "Images that wait for a batch.", **counted)
        self.in_flight = Gauge("in_flight_requests", "Requests under way.", **counted)
        self.predictions = Counter("predictions", "Answers, by label and model.", ("label", "model"), **into)
        self.near = Counter("predictions_near_threshold", "Answers that a person should look at.", ("model",), **into)
        self.p_elliptical = Histogram("p_elliptical", "Calibrated probabilities answered.", buckets=_TENTHS, **into)
        self.rejected = Counter("rejected", "Requests and images turned away, by reason.", ("reason",), **into)
        self.errors = Counter("internal_errors", "Requests that failed by our own fault.", **into)
        self.on_galaxy = Histogram(
            "heat_map_galaxy_share",
            "Share of a heat map that lies on the galaxy itself.",
            buckets=_TENTHS,
            **into,
        )
        self.empty_maps = Counter("heat_maps_empty", "Heat maps with nothing that speaks for the class.", **into)
        self.psi = Gauge("drift_psi", "Population stability index against the test galaxies.", ("quantity",), **latest)
        self.expected_psi = Gauge(
            "drift_psi_expected", "What the index is on average without any drift.", ("quantity",), **latest
        )
        self.drift_images = Gauge("drift_images", "Images that the index is taken over.", **latest)
        self.ready = Gauge(
            "ready", "1 while there is a model to answer with.", **{**into, "multiprocess_mode": "livemin"}
        )
        self.model = Gauge("model_info", "1 for the model that answers.", ("model", "experiment", "data"), **latest)
        self.created = Gauge("model_created_timestamp_seconds", "When the model was registered.", **latest)
        self.loaded = Gauge("model_loaded_timestamp_seconds", "When this model took over.", **latest)
        self.registry_up = Gauge("registry_up", "1 when the registry could be asked last time, else 0.", **latest)
        self.load_failures = Counter(
            "model_load_failures", "Looks that found no model, or one that could not be loaded.", **into
        )
        self._shown: tuple[str, ...] | None = None
        if SHARED not in os.environ:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)

    def batch(self, size: int) -> None:
        """Count a batch of `size` images."""
        self.batch_size.observe(size)

    def depth(self, images: int) -> None:
        """Note how many images wait."""
        self.queue_depth.set(images)

    def answered(self, model: str, label: str, p_elliptical: float, near: bool) -> None:
        """Count an answer."""
        self.predictions.labels(label, model).inc()
        self.p_elliptical.observe(p_elliptical)
        if near:
            self.near.labels(model).inc()

    def mapped(self, empty: bool, on_galaxy: float | None) -> None:
        """Count a heat map; `on_galaxy` is None where it cannot be said."""
        if empty:
            self.empty_maps.inc()
        elif on_galaxy is not None:
            self.on_galaxy.observe(on_galaxy)

    def took_over(self, model: str, experiment: str, data_digest: str, created: float) -> None:
        """Note which model answers from now on; `created` is seconds since 1970."""
        if self._shown is not None:
            self.model.labels(*self._shown).set(0)
        self._shown = (model, experiment, data_digest)
        self.model.labels(*self._shown).set(1)
        self.created.set(created)
        self.loaded.set(time.time())
        self.ready.set(1)

    def drifted(self, drift: Mapping[str, tuple[float, float]], images: int) -> None:
        """Note how far images are from the reference; NaN for every quantity where too few were seen."""
        self.drift_images.set(images)
        for quantity, (psi, expected) in drift.items():
            self.psi.labels(quantity).set(psi)
            self.expected_psi.labels(quantity).set(expected)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format, those of the other worker processes included."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def forget_the_dead() -> None:
    """Take the gauges of worker processes that are gone out of the sums."""
    if SHARED not in os.environ:
        return
    for file in Path(os.environ[SHARED]).glob("gauge_live*_*.db"):
        process = file.stem.rpartition("_")[2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            mark_process_dead(int(process))  # type: ignore[no-untyped-call]
