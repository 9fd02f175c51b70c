"""The files behind `galmorph train`: checkpoints, the model file, and the MLflow run."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from galmorph import __version__, tracking
from galmorph.data.dataset import targets
from galmorph.edge.images import prepared_images
from galmorph.errors import TrainingError
from galmorph.models.architectures import build
from galmorph.models.calibration import fit_temperature
from galmorph.models.layers import with_probability
from galmorph.models.recipe import recipe
from galmorph.models.saved import ModelFacts, load_keras, save_model
from galmorph.models.train import HISTORY, TrainingData, TrainingState, check_trainable, train
from galmorph.params import TrainStageParams
from galmorph.storage import fingerprint, read_json, replacing, write_json, write_table

#: The model inside `models/<experiment>/`.
MODEL_FILE = "model.keras"
HISTORY_FILE = "history.csv"


class Checkpoints:
    """The last and the best model of a training that is under way, and its state.

    The state names the files it belongs to and is written last, in one rename: whenever the process dies, the state on
    disk and the models it names are whole and belong together.
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
        """Load the model after the last epoch, with its optimiser."""
        return load_keras(self._model(self.state().epoch), compile=True)

    def best(self) -> keras.Model:
        """Load the model after the best epoch of the last phase."""
        best = self.state().best_epoch
        if best is None:
            raise TrainingError(f"{self.folder}: no epoch has been finished. Run the training again.")
        return load_keras(self._model(best))

    def keep(self, model: keras.Model, state: TrainingState) -> None:
        """Keep model and state after an epoch, and drop the models that are no longer needed."""
        with replacing(self._model(state.epoch)) as temporary:
            model.save(temporary)
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


def read_training_data(galaxies: pd.DataFrame, images: Path, params: TrainStageParams) -> TrainingData:
    """Read the prepared images of the train and validation splits.

    Parameters
    ----------
    galaxies
        `CATAID`, `label`, `split`.
    images
        The folder of the variant's images.
    """
    rows = {name: galaxies[galaxies["split"] == name] for name in ("train", "validation")}
    # Looked at before any image is decoded: a wrong split should not cost minutes.
    empty = np.empty((0, params.preprocess.image_size, params.preprocess.image_size, 3), np.uint8)
    y = {name: targets(part["label"].tolist()) for name, part in rows.items()}
    check_trainable(TrainingData(empty, y["train"], empty, y["validation"]), params.train)
    pixels = {
        name: prepared_images(images, part["CATAID"], params.preprocess, f"reading {name} images")
        for name, part in rows.items()
    }
    return TrainingData(pixels["train"], y["train"], pixels["validation"], y["validation"])


def run_training(
    folder: Path, galaxies: pd.DataFrame, images: Path, digest: str, params: TrainStageParams, experiment: str
) -> None:
    """Train an experiment inside its MLflow run and leave `model.keras` and `history.csv` in `folder`.

    A `folder` with checkpoints in it is gone on with.
    """
    checkpoints = Checkpoints(folder)
    with tracking.run(experiment, checkpoints.run_id()) as active:
        checkpoints.keep_run_id(active.info.run_id)
        tracking.log_params(params.model_dump(mode="json"))
        tracking.log_dataset(galaxies[["CATAID", "label", "split"]], params.experiment.variant, digest, images)
        mlflow.set_tags({"experiment": experiment, "params_digest": fingerprint(params.model_dump(mode="json"))})
        data = read_training_data(galaxies, images, params)
        keras.utils.set_random_seed(params.train.seed)
        state = checkpoints.state()
        model = (
            checkpoints.last()
            if state.epoch
            else build(params.experiment.architecture, params.preprocess, params.train)
        )

        def after_epoch(model: keras.Model, state: TrainingState, seconds: float) -> None:
            checkpoints.keep(model, state)
            row = {key: value for key, value in state.history[-1].items() if key not in ("epoch", "phase")}
            mlflow.log_metrics({**row, "epoch_seconds": seconds}, step=state.epoch)

        state = train(model, data, params.train, params.experiment, state, after_epoch, checkpoints.best)
        best = checkpoints.best()
        logits = best.predict(data.validation_images.astype(np.float32), params.train.batch_size, verbose=0)[:, 0]
        temperature = fit_temperature(logits.astype(np.float64), data.validation_y)
        mlflow.log_metrics({"temperature": temperature, "best_epoch": float(state.best_epoch or 0)})
        facts = ModelFacts(
            galmorph=__version__,
            experiment=experiment,
            architecture=params.experiment.architecture,
            variant=params.experiment.variant,
            preprocess=params.preprocess,
            temperature=temperature,
            recipe=recipe(params, state.history),
            seed=params.train.seed,
            data_digest=digest,
            params_digest=fingerprint(params.model_dump(mode="json")),
            git_commit=tracking.git_commit(),
            run_id=active.info.run_id,
        )
        finished = with_probability(best, temperature)
        save_model(folder / MODEL_FILE, finished, facts)
        write_table(folder / HISTORY_FILE, pd.DataFrame(state.history, columns=list(HISTORY)))
        log_model(folder / MODEL_FILE, facts, data.validation_images[:2])
    checkpoints.remove()


def log_model(file: Path, facts: ModelFacts, example: np.ndarray) -> str:
    """Log a model file into the active run, with signature, input example and its facts as metadata.

    Parameters
    ----------
    file
        As `save_model` wrote it; it is kept byte for byte.
    facts
        Its facts.
    example
        `(n, S, S, 3)` uint8 prepared images.

    Returns
    -------
    str
        URI of the logged model.
    """
    size = facts.preprocess.image_size
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, size, size, 3))]),
        outputs=Schema([ColSpec("double", "p_elliptical"), ColSpec("string", "label")]),
    )
    logged = mlflow.pyfunc.log_model(
        name="model",
        # The file, not an object: models-from-code, so that nothing is pickled.
        python_model=str(Path(__file__).parents[1] / "models" / "pyfunc.py"),
        artifacts={"model": str(file)},
        signature=signature,
        input_example=example.astype(np.float32),
        # Named here: MLflow would otherwise load the model in a process of its own to find out.
        pip_requirements=[f"{name}=={version(name)}" for name in ("keras", "mlflow", "numpy", "pandas", "tensorflow")],
        metadata=facts.model_dump(mode="json"),
    )
    return str(logged.model_uri)
