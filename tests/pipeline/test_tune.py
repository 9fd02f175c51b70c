"""`galmorph tune`: studies with failed, pruned and killed trials, on SQLite and by two workers on PostgreSQL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from ruamel.yaml import YAML
from sqlalchemy.pool import NullPool

from galmorph.edge import study as studies
from galmorph.params import check, read_values
from tests import postgres
from tests.project import Project

EXPERIMENT = "regularised_cnn_raw"
RATE, DENSE = "train.scratch.learning_rate", "train.cnn.dense_units"
#: Small, and with a value that no trial of 60 galaxies can have.
SPACE = {
    RATE: {"low": 0.0001, "high": 10.0, "log": True},
    DENSE: {"low": 4, "high": 16, "log": False},
    "train.batch_size": {"choices": [16, 1000]},
}
PROFILE = {
    "tune": {
        "startup_trials": 1,
        "pruner": {"median": {"startup_trials": 1, "warmup": 0}},
        "heartbeat": {"interval": 1, "grace": 10},
    }
}
BATCH = {"train.batch_size": 16}


@pytest.fixture(scope="module")
def project(tmp_path_factory, values) -> Project:
    """A project that tunes something small."""
    made = Project(tmp_path_factory.mktemp("tune"))
    profile = {"tune": {**PROFILE["tune"], "space": {**dict.fromkeys(values["tune"]["space"]), **SPACE}}}
    YAML(typ="safe").dump(profile, made.folder / "small_tune.yaml")
    made.galmorph("profile", "small_tune.yaml")
    made.commit("Tune something small")
    return made


def opened(url: str) -> optuna.Study:
    storage = optuna.storages.RDBStorage(
        studies.database(url).render_as_string(), engine_kwargs={"poolclass": NullPool}
    )
    return optuna.load_study(study_name="galmorph", storage=storage)


def tune(project: Project, *arguments: str, **environment: str) -> subprocess.Popen:
    with (project.folder / "log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "galmorph", "tune", *arguments],
            cwd=project.folder, env={**project.environment, **environment}, stdout=log, stderr=log,
        )  # fmt: skip


def wait_for(what: Callable[[], object], process: subprocess.Popen, project: Project, seconds: float = 240) -> None:
    """Wait until something is true while a process runs; a study that is not there yet is not true."""
    end = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except (KeyError, optuna.exceptions.StorageInternalError, RuntimeError):
            pass
        log = (project.folder / "log").read_text()[-4000:]
        assert process.poll() is None, log
        assert time.monotonic() < end, log
        time.sleep(0.05)


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def client(project: Project) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def sqlite(project) -> str:
    return f"sqlite:///{project.folder / 'tuning/study.db'}"


@pytest.fixture(scope="module")
def three(project, sqlite) -> optuna.Study:
    """A study whose trials are completed, failed and pruned."""
    said = project.galmorph("tune", "--trials", "0").stdout
    assert "is ready in sqlite:///tuning/study.db" in said
    study = opened(sqlite)
    study.enqueue_trial({RATE: 0.001, DENSE: 8, "train.batch_size": 1000})
    study.enqueue_trial({RATE: 10.0, DENSE: 8, **BATCH})
    project.galmorph("tune", "--trials", "3")
    return opened(sqlite)


def test_failed_trials_are_recorded_and_hopeless_ones_pruned(three):
    assert states(three) == ["COMPLETE", "FAIL", "PRUNED"]
    completed, failed, pruned = three.trials
    assert "train.batch_size must be at most" in failed.user_attrs["error"]
    assert pruned.last_step == 0
    assert completed.last_step == 1
    assert completed.value == min(completed.intermediate_values.values())


def test_the_first_trial_is_the_experiment_as_it_is(three, project):
    train = check(read_values(project.folder / "params.yaml"), "params.yaml").train
    first = three.trials[0].params
    assert first[RATE] == train.scratch.learning_rate
    assert first[DENSE] == train.cnn.dense_units
    assert first["train.batch_size"] == train.batch_size


def test_every_trial_is_a_child_of_the_studys_run(three, project):
    store = client(project)
    parent = store.get_run(three.user_attrs["run_id"])
    children = store.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", order_by=["start_time"]
    )
    assert [child.data.tags["state"] for child in children] == ["COMPLETE", "FAIL", "PRUNED"]
    assert [child.info.status for child in children] == ["FINISHED", "FAILED", "KILLED"]
    assert [child.data.tags["trial"] for child in children] == ["0", "1", "2"]
    assert [child.data.params["train.batch_size"] for child in children] == ["16", "1000", "16"]
    completed, _, pruned = children
    history = store.get_metric_history(completed.info.run_id, "val_loss")
    assert [point.value for point in history] == pytest.approx(list(three.trials[0].intermediate_values.values()))
    assert len(store.get_metric_history(pruned.info.run_id, "val_loss")) == 1
    assert completed.data.metrics["objective"] == pytest.approx(three.trials[0].value)
    assert parent.data.metrics["trials_pruned"] == 1
    assert parent.info.status == "FINISHED"
    names = {Path(item.path).name for item in store.list_artifacts(parent.info.run_id, "tuning")}
    assert names >= {"history.png", "parallel_coordinates.png", "trials.csv", "best.yaml"}


def test_the_trials_are_a_table(three, project):
    table = pd.read_csv(project.folder / "tuning/trials.csv")
    assert table["state"].tolist() == ["COMPLETE", "FAIL", "PRUNED"]
    assert table["train.batch_size"].tolist() == [16, 1000, 16]
    assert table["error"].notna().tolist() == [False, True, False]
    assert table["sampler_seed"].nunique() == 3


def test_no_model_is_kept(three, project):
    assert not list(project.folder.rglob("*.keras"))


def test_the_best_are_a_profile(three, project):
    target = project.folder / "tried.yaml"
    target.write_text((project.folder / "params.yaml").read_text())
    text = (project.folder / "tuning/best.yaml").read_text()
    assert "trial 0, the best of 1 completed and 3 begun trials" in text
    assert "it is not the test" in text
    project.galmorph("profile", "tuning/best.yaml", "--params", "tried.yaml")
    before, after = (read_values(project.folder / name)["experiments"] for name in ("params.yaml", "tried.yaml"))
    assert list(after) == list(before)
    best = three.best_params
    assert after[EXPERIMENT]["overrides"]["train"] == {
        "batch_size": 16, "cnn": {"dense_units": best[DENSE]}, "scratch": {"learning_rate": best[RATE]},
    }  # fmt: skip


def test_another_space_is_another_study(three, project, sqlite):
    refused = project.galmorph("tune", "--set", f"tune.space.{DENSE}=null", check=False)
    assert refused.returncode == 1
    assert f"space.{DENSE}: " in refused.stderr
    assert "tune.study" in refused.stderr
    assert states(opened(sqlite)) == ["COMPLETE", "FAIL", "PRUNED"]


def test_a_wrong_key_stops_before_anything_starts(project, three):
    refused = project.galmorph("tune", "--set", "'tune.space.train.scratch.rate={choices: [1, 2]}'", check=False)
    assert refused.returncode == 1
    assert "rate: unknown key" in refused.stderr
    assert "Running stage" not in refused.stderr


@pytest.mark.slow
def test_a_killed_study_goes_on_and_runs_the_trial_again(three, project, sqlite):
    three.enqueue_trial({RATE: 0.002, DENSE: 6, **BATCH})
    process = tune(project, "--trials", "4")
    # Its run in MLflow begins last of what comes before the training.
    wait_for(lambda: opened(sqlite).trials[3].state == TrialState.RUNNING
             and "run_id" in opened(sqlite).trials[3].user_attrs, process, project)  # fmt: skip
    process.send_signal(signal.SIGSTOP)  # in the middle of its trial
    busy = project.galmorph("tune", "--trials", "4", check=False)
    assert "one worker at a time" in busy.stderr
    kill(process)
    project.galmorph("tune", "--trials", "4")
    study = opened(sqlite)
    assert states(study)[3] == "FAIL"
    assert study.trials[4].state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert study.trials[4].params == study.trials[3].params
    assert len(study.trials) == 5
    assert study.user_attrs["run_id"] == three.user_attrs["run_id"]
    dead = client(project).get_run(study.trials[3].user_attrs["run_id"])
    assert (dead.info.status, dead.data.tags["state"]) == ("FAILED", "FAIL")


@pytest.mark.slow
def test_two_workers_share_a_study_and_one_is_killed(project):
    with postgres.running() as server:
        url = server.create("study")
        os.environ.update(server.environment)
        try:
            _share_a_study(project, url, server.environment)
        finally:
            for name in server.environment:
                del os.environ[name]


def _share_a_study(project: Project, url: str, environment: dict[str, str]) -> None:
    arguments = ("--storage", url, "--trials", "4", "--set", "'tune.space.train.batch_size={choices: [8, 16]}'",
                 "--set", "tune.pruner.name=none")  # fmt: skip
    early = project.run(sys.executable, "-m", "galmorph", "tune", *arguments, "--worker", check=False, **environment)
    assert early.returncode == 1
    assert "start `galmorph tune`" in early.stderr

    first = tune(project, *arguments, **environment)
    wait_for(lambda: opened(url).user_attrs["run_id"], first, project)
    worker = tune(project, *arguments, "--worker", **environment)
    second = project.run(sys.executable, "-m", "galmorph", "tune", *arguments, check=False, **environment)
    assert "Join it with --worker" in second.stderr
    study = opened(url)

    def own() -> list[optuna.trial.FrozenTrial]:
        return [t for t in study.trials if t.user_attrs.get("worker", "").endswith(f":{worker.pid}")
                and t.state == TrialState.RUNNING and "run_id" in t.user_attrs]  # fmt: skip

    wait_for(own, worker, project)
    (dead,) = own()
    kill(worker)
    assert study.trials[dead.number].state == TrialState.RUNNING
    assert first.wait(240) == 0, (project.folder / "log").read_text()[-4000:]

    trials = study.trials
    assert trials[dead.number].state == TrialState.FAIL
    assert [trial.state for trial in trials if trial.number != dead.number] == [TrialState.COMPLETE] * 4
    (again,) = [trial for trial in trials if trial.user_attrs.get("attempt") == 2]
    assert again.params == dead.params
    assert len({trial.user_attrs["sampler_seed"] for trial in trials}) >= 4
    assert {trial.user_attrs["worker"].endswith(f":{first.pid}") for trial in trials} == {True, False}
    run = client(project).get_run(dead.user_attrs["run_id"])
    assert (run.info.status, run.data.tags["state"]) == ("FAILED", "FAIL")
    assert run.data.tags["mlflow.parentRunId"] == study.user_attrs["run_id"]
    # Several trials are completed: what makes them differ is drawn.
    drawn = {
        Path(item.path).name for item in client(project).list_artifacts(run.data.tags["mlflow.parentRunId"], "tuning")
    }
    assert "importances.png" in drawn
    log = (project.folder / "log").read_text()
    assert postgres.PASSWORD not in log
    assert "was cut short and is marked FAIL; it is run again" in log
