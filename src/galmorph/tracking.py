"""MLflow runs: joined where the environment names one, started where it does not.

Whoever starts a stage (a shell, DVC, `mlflow run`, a pipeline) may name a run in `MLFLOW_RUN_ID`: the stage logs into
that one. Otherwise a run that the model's own file names is gone on with, and failing that a new one is started; under
`GALMORPH_PARENT_RUN` it becomes that run's child.
"""

import contextlib
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from galmorph.errors import TrackingError

#: The MLflow experiment, unless `MLFLOW_EXPERIMENT_NAME` or `MLFLOW_EXPERIMENT_ID` says otherwise.
EXPERIMENT = "galmorph"
#: MLflow stores no more of a data set's digest than this; tags hold the whole.
_DIGEST_LENGTH = 36


@contextlib.contextmanager
def run(name: str, run_id: str | None = None, *, system_metrics: bool = False) -> Iterator[Run]:
    """Join or start the MLflow run of this process.

    Parameters
    ----------
    name
        Of a run that is started.
    run_id
        A run to go on with, when the environment names none; passed over when the store does not know it.
    system_metrics
        Whether MLflow samples use of processor, memory, disk, network and, where `nvidia-ml-py` is, GPU in between:
        every ten seconds, or as `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` says.

    Yields
    ------
    mlflow.entities.Run
        The active run. It ends as FINISHED, or FAILED when the block raises.

    Raises
    ------
    TrackingError
        When the tracking store cannot be reached.
    """
    try:
        active = _start(name, run_id, system_metrics)
    except MlflowException as error:
        raise TrackingError(
            f"MLflow cannot be used at {mlflow.get_tracking_uri()}: check MLFLOW_TRACKING_URI and that the server "
            f"answers. Received: {error}"
        ) from error
    with active:
        commit = git_commit()
        if commit:
            mlflow.set_tags({MLFLOW_GIT_COMMIT: commit, "git_commit": commit})
        yield active


def _start(name: str, run_id: str | None, system_metrics: bool) -> Any:
    # False would overrule a user who asks MLflow for them by its own variable.
    sampled = {"log_system_metrics": system_metrics or None}
    # It says that it starts, that it finds no GPU, that it stops, and that it has stopped.
    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    if os.environ.get("MLFLOW_RUN_ID"):
        return mlflow.start_run(**sampled)
    if run_id is not None and run_exists(run_id):
        return mlflow.start_run(run_id=run_id, **sampled)
    if not (os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID")):
        mlflow.set_experiment(EXPERIMENT)
    parent = os.environ.get("GALMORPH_PARENT_RUN")
    return mlflow.start_run(run_name=name, tags={MLFLOW_PARENT_RUN_ID: parent} if parent else None, **sampled)


def run_exists(run_id: str) -> bool:
    """Whether the tracking store knows a run, and has not deleted it."""
    try:
        return bool(mlflow.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException:
        return False


def log_params(values: Mapping[str, Any]) -> None:
    """Log nested parameters under dotted names; a run that has them already (it was resumed) keeps them."""
    known = mlflow.get_run(mlflow.active_run().info.run_id).data.params
    mlflow.log_params({key: value for key, value in flattened(values).items() if key not in known})


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def log_dataset(galaxies: pd.DataFrame, variant: str, digest: str, source: Path) -> None:
    """Log the data set that the active run learns from, named by its digest.

    Parameters
    ----------
    galaxies
        `CATAID`, `label`, `split`.
    variant
        The data set's name.
    digest
        Its data digest.
    source
        The folder of its images.
    """
    with warnings.catch_warnings():
        # MLflow registers its reader of local folders twice and then wonders which one is meant.
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted", UserWarning)
        dataset = mlflow.data.from_pandas(
            galaxies, source=str(source), name=variant, targets="label", digest=digest[:_DIGEST_LENGTH]
        )
    mlflow.log_input(dataset, context="training")
    mlflow.set_tag("data_digest", digest)


def git_commit() -> str | None:
    """Return the working folder's git commit, with `-dirty` when tracked files differ from it.

    An image has no repository; the commit that it was built from is in `GALMORPH_GIT_COMMIT` there. None when neither
    is known.
    """
    if built_from := os.environ.get("GALMORPH_GIT_COMMIT"):
        return built_from
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
