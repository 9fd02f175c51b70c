"""The files behind `galmorph train`: the model file, its history, and the MLflow run."""

import logging
from functools import partial
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd

from galmorph import __version__, tracking
from galmorph.data.dataset import batches, targets
from galmorph.edge.checkpoints import Checkpoints, FeatureFiles
from galmorph.edge.denoising import denoiser_of
from galmorph.edge.images import cache_for, prepared_images, remove_cache
from galmorph.edge.training_metrics import served
from galmorph.errors import TrainingError
from galmorph.models.architectures import build
from galmorph.models.calibration import fit_temperature
from galmorph.models.curves import curves_figure
from galmorph.models.devices import choose_devices
from galmorph.models.layers import with_probability
from galmorph.models.memory import named_memory_errors
from galmorph.models.phases import planned_phases
from galmorph.models.planned import planned_epochs
from galmorph.models.recipe import recipe
from galmorph.models.saved import MODEL_FILE, ModelFacts, save_model
from galmorph.models.train import (
    HISTORY,
    TrainingData,
    TrainingState,
    check_trainable,
    memory_remedy,
    train,
)
from galmorph.models.weights import weights_identity
from galmorph.params import Fill, TrainStageParams
from galmorph.storage import fingerprint, read_json, replacing, write_table

_log = logging.getLogger(__name__)

#: Beside the model in `models/<experiment>/`.
HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"


def read_training_data(galaxies: pd.DataFrame, images: Path, params: TrainStageParams, cache: Path) -> TrainingData:
    """Read the prepared images of the train and validation splits, those to learn from with context for augmentation.

    Parameters
    ----------
    galaxies
        `CATAID`, `label`, `split`.
    images
        The folder of the variant's images.
    cache
        A folder for them, where they need more than `train.memory_share` of the free memory; see
        `images.remove_cache`.
    """
    rows = {name: galaxies[galaxies["split"] == name] for name in ("train", "validation")}
    # Looked at before any image is decoded: a wrong split should not cost minutes.
    empty = np.empty((0, params.preprocess.image_size, params.preprocess.image_size, 3), np.uint8)
    y = {name: targets(part["label"].tolist()) for name, part in rows.items()}
    check_trainable(TrainingData(empty, y["train"], empty, y["validation"]), params.train)

    def prepared(name: str, context: float, fill: Fill) -> np.ndarray:
        cataids = rows[name]["CATAID"]
        return prepared_images(
            images,
            cataids,
            params.preprocess,
            f"reading {name} images",
            context=context,
            fill=fill,
            cache=cache_for(cache, len(cataids), params.preprocess, context, params.train.memory_share),
        )

    transforms = params.train.transforms
    learned = prepared("train", transforms.context, transforms.fill) if transforms else prepared("train", 1.0, "black")
    return TrainingData(learned, y["train"], prepared("validation", 1.0, "black"), y["validation"])


def run_training(
    folder: Path, galaxies: pd.DataFrame, images: Path, card: Path, params: TrainStageParams, experiment: str
) -> None:
    """Train an experiment inside its MLflow run and leave `model.keras`, `history.csv` and `curves.png` in `folder`.

    A `folder` with checkpoints in it is gone on with. `card` is that of the variant in `images`.
    """
    digest = read_json(card)["digest"]
    checkpoints = Checkpoints(folder)
    features = FeatureFiles(folder, params.train.memory_share)
    devices = choose_devices(params.train.precision)
    with (
        tracking.run(experiment, checkpoints.run_id(), system_metrics=True) as active,
        served() as monitor,
        named_memory_errors(memory_remedy(params.train, params.preprocess.image_size)),
    ):
        checkpoints.keep_run_id(active.info.run_id)
        tracking.log_params(params.model_dump(mode="json"))
        tracking.log_dataset(galaxies[["CATAID", "label", "split"]], params.experiment.variant, digest, images)
        mlflow.set_tags(
            {
                "experiment": experiment,
                "params_digest": params_digest(params),
                "weights": starting_weights(params) or "random",
                "precision": devices.policy,
                "devices": devices.summary,
            }
        )
        keras.utils.set_random_seed(params.train.seed)
        state = checkpoints.state()
        model = (
            checkpoints.last()
            if state.epoch
            else build(params.experiment.architecture, params.preprocess, params.train)
        )
        _name_skipped_phases(model, params, experiment)
        planned = planned_epochs(params.train, params.experiment)
        data = read_training_data(galaxies, images, params, folder)

        def after_epoch(model: keras.Model, state: TrainingState, seconds: float) -> None:
            checkpoints.keep(model, state)
            if state.history[-1]["phase"] != "frozen":
                features.remove()
            row = {key: value for key, value in state.history[-1].items() if key not in ("epoch", "phase")}
            mlflow.log_metrics({**row, "epoch_seconds": seconds}, step=state.epoch)
            monitor.kept(experiment)
            monitor.epoch_done(
                experiment, state.history[-1], planned=planned, best_epoch=state.best_epoch, seconds=seconds
            )

        state = train(
            model,
            data,
            params.train,
            params.experiment,
            state,
            after_epoch,
            checkpoints.best,
            optimiser=checkpoints.optimiser(),
            keep_features=features.keep,
            devices=devices,
            after_batch=partial(monitor.learned, experiment),
        )
        facts = _facts(params, state, card, experiment, active.info.run_id)
        _finish(folder, checkpoints.best(), data, state, params, facts)
    features.remove()
    remove_cache(folder)
    checkpoints.remove()


def _finish(
    folder: Path,
    best: keras.Model,
    data: TrainingData,
    state: TrainingState,
    params: TrainStageParams,
    facts: ModelFacts,
) -> None:
    """Calibrate the best model, and write and log it with its history."""
    logits = best.predict(
        batches(data.validation_images, data.validation_y, params.train.batch_size).map(lambda image, _: image),
        verbose=0,
    )[:, 0]
    temperature = fit_temperature(logits.astype(np.float64), data.validation_y)
    best_epoch = state.best_epoch or 0
    mlflow.log_metrics({"temperature": temperature, "best_epoch": float(best_epoch)})
    facts = facts.model_copy(update={"temperature": temperature})
    save_model(folder / MODEL_FILE, with_probability(best, temperature), facts)
    write_table(folder / HISTORY_FILE, pd.DataFrame(state.history, columns=list(HISTORY)))
    with replacing(folder / CURVES_FILE) as temporary:
        curves_figure(state.history, best_epoch, facts.experiment).savefig(temporary, dpi=120)
    mlflow.log_artifact(str(folder / CURVES_FILE), "training")
    # The file alone: what makes it a registered model is register's to add, for the one that is chosen.
    mlflow.log_artifact(str(folder / MODEL_FILE), "training")


def starting_weights(params: TrainStageParams) -> str | None:
    """Say which weights the backbone starts from, by content; None for random ones."""
    return weights_identity(params.experiment.architecture, params.train.transfer)


def params_digest(params: TrainStageParams) -> str:
    """Digest of the values, and of the weights that they name: a path says nothing of what lies there."""
    return fingerprint(params.model_dump(mode="json"), starting_weights(params))


def _facts(params: TrainStageParams, state: TrainingState, card: Path, experiment: str, run_id: str) -> ModelFacts:
    """Say what the model is made of; its temperature is not known yet."""
    return ModelFacts(
        galmorph=__version__,
        experiment=experiment,
        architecture=params.experiment.architecture,
        variant=params.experiment.variant,
        preprocess=params.preprocess,
        denoiser=denoiser_of(card),
        temperature=1.0,
        recipe=recipe(params, state.history),
        seed=params.train.seed,
        data_digest=read_json(card)["digest"],
        params_digest=params_digest(params),
        git_commit=tracking.git_commit(),
        run_id=run_id,
    )


def _name_skipped_phases(model: keras.Model, params: TrainStageParams, experiment: str) -> None:
    """Say in the log and in the run which phases are passed over, and refuse those that cannot be run."""
    try:
        planned = planned_phases(params.train, params.experiment, model)
    except TrainingError as error:
        raise TrainingError(f"experiments.{experiment}: {error}") from error
    skipped = [name for name, run in planned if not run]
    if skipped:
        _log.warning(
            "experiments.%s: the phase %s is passed over, as train.transfer.weights is none: a random backbone has no "
            "features to learn from",
            experiment,
            ", ".join(skipped),
        )
    mlflow.set_tag("skipped_phases", ", ".join(skipped) or "none")
