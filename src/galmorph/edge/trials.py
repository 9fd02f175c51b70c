"""One trial: its values, its training as in the train stage, its MLflow run.

All that tuning knows of training is in `_fit`.
"""

import gc
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import optuna
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState
from optuna_integration import KerasPruningCallback

from galmorph import tracking
from galmorph.edge.checkpoints import FeatureFiles
from galmorph.edge.study import TRIAL_RUN_ID, WORKER, end_run, worker_name
from galmorph.edge.study_work import trial_scratch
from galmorph.edge.training import read_training_data
from galmorph.edge.training_metrics import TrainingMonitor
from galmorph.errors import GalmorphError, InputError, StorageError, TrackingError, TrialError
from galmorph.models.architectures import build
from galmorph.models.planned import planned_epochs
from galmorph.models.sampler import ERROR, SeededTPE
from galmorph.models.train import TrainingData, TrainingState, train
from galmorph.models.tune import suggested, trial_params
from galmorph.params import Search, TrainStageParams
from galmorph.storage import fingerprint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trials:
    """The objective of a study: called with a trial, it trains and returns the metric.

    Attributes
    ----------
    values
        The content of a whole params.yaml.
    experiment
        The row of `experiments` to start from.
    space
        What is searched.
    metric
        `loss` or `accuracy`, of validation.
    galaxies
        `CATAID`, `label`, `split`.
    images
        The folder of each variant's images.
    parent
        The MLflow run that trials become children of.
    scratch
        A folder for arrays that memory is too small for.
    monitor
        Is told how each trial gets on, under the experiment's name.
    """

    values: Mapping[str, Any]
    experiment: str
    space: Mapping[str, Search]
    metric: str
    galaxies: pd.DataFrame
    images: Mapping[str, Path]
    parent: str
    scratch: Path
    monitor: TrainingMonitor
    _read: dict[str, TrainingData] = field(default_factory=dict)

    def __call__(self, trial: optuna.Trial) -> float:
        """Train with the trial's values.

        Raises
        ------
        optuna.TrialPruned
            When the pruner gives it up.
        TrialError
            When these values cannot be trained with; what would fail every trial is raised as it is.
        """
        chosen = suggested(trial, self.space)
        trial.set_user_attr(WORKER, worker_name())
        if isinstance(trial.study.sampler, SeededTPE):
            trial.set_user_attr("sampler_seed", trial.study.sampler.trial_seed)
        run_id = self._begin_run(trial)
        state = TrialState.FAIL
        try:
            with mlflow.start_run(run_id=run_id, nested=True):
                value = self._attempt(trial, chosen)
                mlflow.log_metric("objective", value)
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
            raise
        except MlflowException as error:
            raise TrackingError(
                f"trial {trial.number}: MLflow stopped answering. Check MLFLOW_TRACKING_URI and the server, and run "
                f"the same command again. Received: {error}"
            ) from error
        finally:
            end_run(run_id, state)
            keras.backend.clear_session()
            gc.collect()
        return value

    def _attempt(self, trial: optuna.Trial, chosen: Mapping[str, Any]) -> float:
        try:
            params = trial_params(self.values, self.experiment, chosen, f"trial {trial.number}")
            tracking.log_params(params.model_dump(mode="json"))
            return self._fit(trial, params)
        except (optuna.TrialPruned, InputError, StorageError, MlflowException, UpdateFinishedTrialError):
            raise
        except Exception as error:
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
            mlflow.set_tag("error", str(error)[:4000])
            known = isinstance(error, GalmorphError)
            log.warning("trial %d failed and is passed over: %s", trial.number, error, exc_info=not known)
            raise TrialError(f"trial {trial.number}: {error}") from error

    def _begin_run(self, trial: optuna.Trial) -> str:
        client = MlflowClient()
        commit = tracking.git_commit()
        tags = {
            MLFLOW_PARENT_RUN_ID: self.parent,
            "study": trial.study.study_name,
            "trial": str(trial.number),
            "tuned_experiment": self.experiment,
            "state": TrialState.RUNNING.name,
            **({"git_commit": commit} if commit else {}),
        }
        # By its id and not as the active run's child: a worker has no active run, and MLFLOW_RUN_ID is the study's.
        child = client.create_run(
            client.get_run(self.parent).info.experiment_id,
            tags=tags,
            run_name=f"{trial.study.study_name} {trial.number}",
        )
        trial.set_user_attr(TRIAL_RUN_ID, child.info.run_id)
        return str(child.info.run_id)

    def _data(self, params: TrainStageParams) -> TrainingData:
        """Read images once for each variant and each way to prepare them."""
        variant, transforms = params.experiment.variant, params.train.transforms
        around = transforms and (transforms.context, transforms.fill)
        key = fingerprint(variant, params.preprocess.model_dump(), around)
        if key not in self._read:
            self._read[key] = read_training_data(self.galaxies, self.images[variant], params, self.scratch / "images")
        return self._read[key]

    def _fit(self, trial: optuna.Trial, params: TrainStageParams) -> float:
        data = self._data(params)
        keras.utils.set_random_seed(params.train.seed)
        model = build(params.experiment.architecture, params.preprocess, params.train)
        best = _BestWeights(model)
        planned = planned_epochs(params.train, params.experiment)
        # Not among the callbacks of `fit`: training has a fit for each phase, and its own record of epochs, which is
        # handed on after each. The callback sees that record, and its `TrialPruned` ends the fit from there.
        pruning = KerasPruningCallback(trial, f"val_{self.metric}")

        def after_epoch(model: keras.Model, state: TrainingState, seconds: float) -> None:
            row = {key: value for key, value in state.history[-1].items() if key not in ("epoch", "phase")}
            mlflow.log_metrics({**row, "epoch_seconds": seconds}, step=state.epoch)
            best.keep(model, state)
            self.monitor.epoch_done(
                self.experiment, state.history[-1], planned=planned, best_epoch=state.best_epoch, seconds=seconds
            )
            pruning.on_epoch_end(state.epoch - 1, row)

        features = FeatureFiles(trial_scratch(self.scratch, trial.number), params.train.memory_share)
        try:
            state = train(
                model,
                data,
                params.train,
                params.experiment,
                TrainingState(),
                after_epoch,
                best.model,
                keep_features=features.keep,
                after_batch=partial(self.monitor.learned, self.experiment),
            )
        finally:
            shutil.rmtree(features.folder, ignore_errors=True)
        kept = state.history[(state.best_epoch or state.epoch) - 1]
        return float(kept[f"val_{self.metric}"])


class _BestWeights:
    """The weights after the best epoch, in memory: a trial leaves no model."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._weights: list[np.ndarray] = model.get_weights()

    def keep(self, model: keras.Model, state: TrainingState) -> None:
        """Keep the weights when this epoch is the best of its phase."""
        if state.best_epoch == state.epoch:
            self._model, self._weights = model, model.get_weights()

    def model(self) -> keras.Model:
        """Return the model with its best weights."""
        self._model.set_weights(self._weights)
        return self._model
