"""One trial inside a study: what it trains with, what it returns, and what stops the study."""

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from galmorph.edge import trials
from galmorph.edge.training_metrics import TrainingMonitor
from galmorph.errors import InputError, TrialError
from galmorph.params import Choices, Range
from galmorph.storage import image_path, write_image

RATE = "train.scratch.learning_rate"


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run in a store of its own."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
    client = MlflowClient()
    yield client.create_run(client.create_experiment("trials")).info.run_id
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Images of two variants: noise, brighter for Elliptical."""
    rng = np.random.default_rng(1)
    made = {}
    for variant in ("raw", "tv"):
        made[variant] = tmp_path_factory.mktemp(variant)
        for number in range(24):
            bright = 40 + 120 * (number % 2)
            write_image(
                image_path(made[variant], str(number)), rng.integers(bright, bright + 60, (16, 16, 3), np.uint8)
            )
    return made


@pytest.fixture
def galaxies() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "CATAID": [str(number) for number in range(24)],
            "label": ["Other", "Elliptical"] * 12,
            "split": ["train"] * 16 + ["validation"] * 8,
        }
    )


@pytest.fixture
def small(values):
    """Values of an experiment that trains in a second."""
    cnn = {**values["train"]["cnn"], "filters": [4], "dense_units": 4}
    scratch = {**values["train"]["scratch"], "epochs": 3}
    train = {**values["train"], "batch_size": 8, "augmentation": None, "cnn": cnn, "scratch": scratch}
    row = {"architecture": "baseline_cnn", "variant": "raw", "phases": ["scratch"], "overrides": {}}
    return {**values, "preprocess": {"crop": 1.0, "image_size": 8}, "train": train, "experiments": {"small": row}}


@pytest.fixture
def objective(small, galaxies, folders, parent, tmp_path):
    space = {
        RATE: Range(low=0.001, high=0.1, log=True),
        "experiment.variant": Choices(choices=("raw", "tv")),
        "train.batch_size": Choices(choices=(8, 100)),
    }
    return trials.Trials(small, "small", space, "accuracy", galaxies, folders, parent, tmp_path, TrainingMonitor())


def queued(*values: dict) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for each in values:
        study.enqueue_trial({RATE: 0.01, "experiment.variant": "raw", "train.batch_size": 8, **each})
    return study


def test_a_trial_returns_the_metric_of_the_epoch_that_would_be_kept(objective, parent):
    study = queued({})
    study.optimize(objective, n_trials=1)
    client = MlflowClient()
    run = client.get_run(study.trials[0].user_attrs["run_id"])
    assert run.data.tags["mlflow.parentRunId"] == parent
    loss, accuracy = (client.get_metric_history(run.info.run_id, f"val_{name}") for name in ("loss", "accuracy"))
    kept = int(np.argmin([point.value for point in loss]))
    assert study.best_value == pytest.approx(accuracy[kept].value)
    assert study.trials[0].intermediate_values == {
        epoch: pytest.approx(point.value) for epoch, point in enumerate(accuracy)
    }
    assert run.data.params["train.scratch.learning_rate"] == "0.01"


def test_images_are_read_once_for_each_variant(objective, monkeypatch):
    read, real = [], trials.read_training_data

    def counting(galaxies, images, params, cache):
        read.append(params.experiment.variant)
        return real(galaxies, images, params, cache)

    monkeypatch.setattr(trials, "read_training_data", counting)
    study = queued({}, {RATE: 0.02}, {"experiment.variant": "tv"}, {"experiment.variant": "tv", RATE: 0.03}, {})
    study.optimize(objective, n_trials=5)
    assert read == ["raw", "tv"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    # The same values give the same score, whatever was trained in between.
    assert study.trials[4].value == study.trials[0].value


def test_a_trials_own_failure_is_passed_over(objective):
    study = queued({"train.batch_size": 100}, {})
    study.optimize(objective, n_trials=2, catch=(TrialError,))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "train.batch_size must be at most" in study.trials[0].user_attrs["error"]


def test_what_would_fail_every_trial_stops_the_study(objective, folders):
    moved = image_path(folders["tv"], "3").rename(folders["tv"] / "away")
    study = queued({"experiment.variant": "tv"}, {})
    try:
        with pytest.raises(InputError, match=r"3\.png"):
            study.optimize(objective, n_trials=2, catch=(TrialError,))
    finally:
        moved.rename(image_path(folders["tv"], "3"))
    assert "error" not in study.trials[0].user_attrs
    run = MlflowClient().get_run(study.trials[0].user_attrs["run_id"])
    assert (run.info.status, run.data.tags["state"]) == ("FAILED", "FAIL")


def test_images_that_memory_is_too_small_for_are_held_in_a_file(small, galaxies, folders, parent, tmp_path):
    space = {RATE: Range(low=0.001, high=0.1, log=True)}
    scores = []
    for name, share in (("memory", 0.5), ("file", 1e-15)):
        given = {**small, "train": {**small["train"], "memory_share": share}}
        objective = trials.Trials(
            given, "small", space, "loss", galaxies, folders, parent, tmp_path / name, TrainingMonitor()
        )
        study = optuna.create_study()
        study.enqueue_trial({RATE: 0.01})
        study.optimize(objective, n_trials=1)
        scores.append(study.best_value)
    assert scores[0] == pytest.approx(scores[1])
    assert not (tmp_path / "memory").exists()
    assert list((tmp_path / "file/images").glob("*.npy"))
    assert [path.name for path in (tmp_path / "file").iterdir()] == ["images"]
