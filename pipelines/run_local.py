"""`python -m pipelines.run_local`: the whole of training and prediction on this machine, without Docker or a cluster.

The pipelines are those that a cluster runs; their components run one after another as processes of this environment.
"""

import argparse
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from kfp import local

from galmorph.cluster.values import carried
from galmorph.errors import GalmorphError
from galmorph.params import check, read_values
from galmorph.profile import apply_profile
from galmorph.quiet import settle
from galmorph.storage import write_bytes
from pipelines.prediction import prediction
from pipelines.settings import PARAMS_FILE
from pipelines.training import training

#: Below the folder of a run.
ARTIFACTS, IMAGES, STORE, LOGGED = "artifacts", "images", "mlflow.db", "mlartifacts"
#: Kubeflow Pipelines puts each run into a folder of its own: the pipeline's name and a time of so many numbers.
_TIME = 7


def train(values: dict[str, Any], folder: Path, workers: int) -> None:
    """Run the training pipeline.

    Parameters
    ----------
    values
        The content of a whole params.yaml, or several sections of it.
    folder
        Where artifacts and MLflow's store are put.
    workers
        How many search the values of `tune.experiment` first; 0: they are taken as they are.

    Raises
    ------
    RuntimeError
        When a component failed; its message is above.
    """
    _start(folder)
    _run(training, search=workers > 0, workers=max(1, workers), **carried(values))


def predict(values: dict[str, Any], folder: Path, shards: int) -> None:
    """Run the prediction pipeline on the galaxies that training acquired, with the model that it registered."""
    _start(folder)
    images = unpacked(folder)
    registered = values["register"]
    _run(
        prediction,
        model=f"models:/{registered['model']}@{registered['alias']}",
        images="images",
        catalogue="catalogue.csv",
        shards=shards,
        volume=str(images.resolve()),
        **carried({name: values[name] for name in ("predict", "serve", "acquire", "validate")}),
    )


def unpacked(folder: Path) -> Path:
    """Unpack the galaxies that the newest training acquired, in the place of those before, and return where."""
    images = folder / IMAGES
    if images.exists():
        shutil.rmtree(images)
    with tarfile.open(one_artifact(folder, "acquire", "raw")) as packed:
        packed.extractall(images, filter="data")
    return images


def artifacts(folder: Path, component: str, output: str) -> list[Path]:
    """Find an output of a component in the newest run of each pipeline, once for each time that the component ran."""
    newest = {run.name.rsplit("-", _TIME)[0]: run for run in sorted((folder / ARTIFACTS).glob("*"))}
    return sorted(path for run in newest.values() for path in run.glob(f"**/{component}/{output}"))


def one_artifact(folder: Path, component: str, output: str) -> Path:
    """Find an output of a component that runs once."""
    (found,) = artifacts(folder, component, output)
    return found


def _run(pipeline: Any, **arguments: Any) -> None:
    specification = pipeline.pipeline_spec
    for group in (specification.root, *specification.components.values()):
        for task in group.dag.tasks.values():
            # Nobody takes this machine away: what fails here fails again, after pauses that are meant for a cluster.
            task.ClearField("retry_policy")
    pipeline(**arguments)


def _start(folder: Path) -> None:
    settle()
    folder.mkdir(parents=True, exist_ok=True)
    # What the administrator's switch, or the ConfigMap, does in a cluster.
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / STORE).resolve()}")
    _make_experiment((folder / LOGGED).resolve())
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / ARTIFACTS))


def _make_experiment(logged: Path) -> None:
    """Let what components log be kept: else it would lie in their working folders, which are gone with them."""
    import mlflow

    from galmorph.tracking import EXPERIMENT

    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=logged.as_uri())


def main(arguments: list[str] | None = None) -> int:
    """Run both pipelines.

    Returns
    -------
    int
        0, or 1 after a message on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.run_local", description=__doc__)
    parser.add_argument("--params", type=Path, default=PARAMS_FILE, metavar="FILE")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="values that are laid over them")
    parser.add_argument("--folder", type=Path, default=Path("runs/local"), metavar="FOLDER")
    parser.add_argument("--shards", type=int, default=3, metavar="N")
    parser.add_argument("--search", type=int, default=0, metavar="WORKERS", help="let so many search the values first")
    options = parser.parse_args(arguments)
    try:
        values = _values(options.params, options.profile, options.folder)
        train(values, options.folder, options.search)
        predict(values, options.folder, options.shards)
    except GalmorphError as error:
        print(f"galmorph: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        # What Kubeflow Pipelines raises names the task; the component's own message is above it.
        print(
            f"galmorph: the run ended early; the failed component says why, above. Received: {error}", file=sys.stderr
        )
        return 1
    print(f"artifacts: {options.folder / ARTIFACTS}")
    return 0


def _values(params: Path, profile: Path | None, folder: Path) -> dict[str, Any]:
    """Read the values of the run, and leave them in its folder."""
    own = folder / PARAMS_FILE
    write_bytes(own, params.read_bytes())
    if profile:
        apply_profile(profile, own)
    values = read_values(own)
    check(values, str(own))
    return values


if __name__ == "__main__":
    sys.exit(main())
