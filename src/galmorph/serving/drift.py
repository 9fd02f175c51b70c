"""Whether the images of the service are like those that the model was tested on."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from galmorph.evaluation.reference import QUANTITIES, Look, drift, look
from galmorph.params import DriftParams

_UNKNOWN = (float("nan"), float("nan"))


class DriftWatch:
    """Measures some of the images that are answered, and compares the last of them with the reference.

    `due` and `see` are called by several threads.
    """

    def __init__(self, params: DriftParams) -> None:
        self._params = params
        self._looks: deque[Look] = deque(maxlen=params.window)
        self._lock = threading.Lock()
        self._next = 0.0
        self._reference: Mapping[str, Any] | None = None

    def begin(self, reference: Mapping[str, Any] | None) -> None:
        """Compare with another model's reference from now on; None: it came without one."""
        with self._lock:
            self._reference = reference
            # The last model's scores are not this one's.
            self._looks.clear()

    def due(self) -> bool:
        """Whether an image may be measured now: `rate` of them a second, whatever the load."""
        with self._lock:
            now = time.monotonic()
            if self._reference is None or now < self._next:
                return False
            self._next = max(self._next, now - 1) + 1 / self._params.rate
            return True

    def see(self, prepared: np.ndarray, p_elliptical: float) -> None:
        """Measure an image, `(S, S, 3)` uint8 as the model saw it, and its answer."""
        seen = look(prepared, p_elliptical)
        with self._lock:
            self._looks.append(seen)

    def compare(self) -> tuple[dict[str, tuple[float, float]], int]:
        """Return each quantity's index and what it is by chance, NaN where too few images were seen; and how many."""
        with self._lock:
            looks, reference = list(self._looks), self._reference
        if reference is None or len(looks) < self._params.min_images:
            return dict.fromkeys(QUANTITIES, _UNKNOWN), len(looks)
        return drift(looks, reference), len(looks)
