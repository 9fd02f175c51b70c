"""Starts xplique_worker.py in xplique's own environment and talks to it; for explain.py and crosscheck_xplique.py."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import keras
import numpy as np

WORKER = Path(__file__).with_name("xplique_worker.py")


class Xplique:
    """xplique on a model and images of ours, in a process of its own; a context manager.

    Parameters
    ----------
    python
        The interpreter of an environment that has xplique; xplique_worker.py says how to make one.
    folder
        Where model and images are put for it.
    model
        A galmorph model; its logit is explained.
    images, signs
        `(N, S, S, 3)` in [0, 255], and `(N,)`: 1 for Elliptical, -1 for Other.
    """

    def __init__(self, python: Path, folder: Path, model: keras.Model, images: np.ndarray, signs: np.ndarray) -> None:
        keras.Model(model.input, model.get_layer("logit").output).save(folder / "model.keras")
        np.save(folder / "images.npy", images)
        np.save(folder / "signs.npy", signs)
        self.folder, self.count = folder, len(images)
        # An environment of its own: what PYTHONPATH adds for ours is not for it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._worker = subprocess.Popen(
            [python, WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.version = self._answer()["xplique"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._worker.stdin.close()
        self._worker.wait()

    def seconds(self, method: str, images: int, **settings: Any) -> float:
        """Explain the first so many images; the time it took, compilation left out."""
        return self._ask(method=method, images=images, maps=None, **settings)["seconds"]

    def maps(self, method: str, **settings: Any) -> np.ndarray:
        """Explain all images; `(N, S, S)` float32."""
        file = self.folder / "maps.npy"
        self._ask(method=method, images=self.count, maps=str(file), **settings)
        return np.load(file)

    def _ask(self, **asked: Any) -> dict[str, Any]:
        print(json.dumps(asked), file=self._worker.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._worker.stdout.readline()
        if not line:
            raise SystemExit("xplique's process ended; what it said is above")
        return json.loads(line)
