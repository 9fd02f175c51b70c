"""What a training that is under way keeps on disk, so that it can be killed at any time and gone on with."""

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from galmorph.edge.memory import free_memory
from galmorph.errors import TrainingError
from galmorph.models.features import in_memory
from galmorph.models.objective import optimiser_values
from galmorph.models.saved import load_keras, uncompiled
from galmorph.models.state import TrainingState
from galmorph.storage import read_json, replacing, write_json

#: The member of a checkpoint's archive that holds the optimiser's values; Keras passes over it.
_OPTIMISER_MEMBER = "optimiser.npz"


class Checkpoints:
    """The last and the best model of a training that is under way, and its state.

    The state names the files it belongs to and is written last, in one rename: whenever the process dies, the state on
    disk and the models it names are whole and belong together. A checkpoint is a plain `.keras` file without loss and
    optimiser, which would be objects of ours; the optimiser's values lie beside Keras's members as arrays.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "state.json"

    def state(self) -> TrainingState:
        """Return the state after the last epoch that was kept; the beginning when there is none."""
        return TrainingState(**read_json(self._state)["training"]) if self._state.exists() else TrainingState()

    def run_id(self) -> str | None:
        """Return the MLflow run that was under way."""
        path = self.folder / "run.json"
        return read_json(path)["run_id"] if path.exists() else None

    def keep_run_id(self, run_id: str) -> None:
        """Remember the MLflow run, for a later process to go on with."""
        write_json(self.folder / "run.json", {"run_id": run_id})

    def last(self) -> keras.Model:
        """Load the model after the last epoch."""
        return load_keras(self._model(self.state().epoch))

    def optimiser(self) -> list[np.ndarray]:
        """Read the optimiser's values after the last epoch; none before the first."""
        state = self.state()
        if not state.epoch:
            return []
        with zipfile.ZipFile(self._model(state.epoch)) as archive:
            values = np.load(io.BytesIO(archive.read(_OPTIMISER_MEMBER)), allow_pickle=False)
        return [values[name] for name in values.files]

    def best(self) -> keras.Model:
        """Load the model after the best epoch of the last phase."""
        best = self.state().best_epoch
        if best is None:
            raise TrainingError(f"{self.folder}: no epoch has been finished. Run the training again.")
        return load_keras(self._model(best))

    def keep(self, model: keras.Model, state: TrainingState) -> None:
        """Keep model, optimiser and state after an epoch, and drop the models that are no longer needed."""
        with replacing(self._model(state.epoch)) as temporary:
            uncompiled(model).save(temporary)
            with (
                zipfile.ZipFile(temporary, "a") as archive,
                archive.open(_OPTIMISER_MEMBER, "w", force_zip64=True) as member,
            ):
                np.savez(member, *optimiser_values(model.optimizer))
        write_json(self._state, {"training": asdict(state)})
        needed = {self._model(state.epoch), self._model(state.best_epoch or state.epoch)}
        for path in set(self.folder.glob("epoch-*.keras")) - needed:
            path.unlink()

    def remove(self) -> None:
        """Drop everything: the training is finished."""
        for path in [*self.folder.glob("epoch-*.keras"), self._state, self.folder / "run.json"]:
            path.unlink(missing_ok=True)

    def _model(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.keras"


class FeatureFiles:
    """Keeps the features of a frozen backbone: in memory, or on disk where they need more than a share of it.

    A file is written under a temporary name and renamed: one that is there is whole. A training that is gone on with
    reads it again; features in memory are computed again.

    Parameters
    ----------
    folder
        Where the files are.
    memory_share
        Of the memory that is free: what needs more goes to disk.
    """

    def __init__(self, folder: Path, memory_share: float) -> None:
        self.folder, self.memory_share = folder, memory_share

    def keep(self, name: str, shape: tuple[int, int, int], parts: Iterator[np.ndarray]) -> np.ndarray:
        """Hand out the features of a name, computed once; see `models.features.KeepFeatures`."""
        path = self.folder / f"features-{name}.npy"
        if not path.exists():
            needed = math.prod(shape) * np.dtype(np.float32).itemsize
            if needed <= self.memory_share * free_memory():
                return in_memory(name, shape, parts)
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
            # Not through a memory map: on a full disk that ends the process instead of raising an error.
            with replacing(path) as temporary, temporary.open("wb") as content:
                np.lib.format.write_array_header_2_0(content, header)
                for part in parts:
                    content.write(part.astype("<f4").tobytes())
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))

    def remove(self) -> None:
        """Drop the files."""
        for path in self.folder.glob("features-*.npy"):
            path.unlink()
