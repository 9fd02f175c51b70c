"""Whose MLflow run a stage logs into: that of the environment, before any other."""

import mlflow
import pytest

from galmorph import tracking


@pytest.fixture(autouse=True)
def _none_chosen(monkeypatch):
    """A component is a process of its own: no earlier stage has chosen an experiment in it."""
    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)


def other_run(store) -> str:
    """A run that somebody else started, and does not hold open here."""
    # Not `set_experiment`: that would choose for this whole process.
    known = store.get_experiment_by_name("of-a-pipeline")
    experiment = known.experiment_id if known else store.create_experiment("of-a-pipeline")
    return store.create_run(experiment, run_name="component").info.run_id


def test_the_run_that_the_environment_names_is_joined(tracking_store, monkeypatch):
    """As Kubeflow's launcher and `mlflow run` name it: in another experiment, with a name of its own."""
    given = other_run(tracking_store)
    before = len(tracking_store.search_experiments())
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    with tracking.run("vit_raw") as active:
        assert active.info.run_id == given
        mlflow.log_metric("loss", 0.5)
    run = tracking_store.get_run(given)
    assert run.data.metrics == {"loss": 0.5}
    assert run.info.run_name == "component"
    assert run.info.status == "FINISHED"
    assert len(tracking_store.search_experiments()) == before


def test_it_is_joined_in_the_place_of_the_run_that_a_model_names(tracking_store, monkeypatch):
    trained, given = other_run(tracking_store), other_run(tracking_store)
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    with tracking.run("vit_raw", trained) as active:
        assert active.info.run_id == given


def test_one_is_started_only_where_there_is_none(tracking_store):
    trained = other_run(tracking_store)
    with tracking.run("vit_raw", trained) as active:
        assert active.info.run_id == trained
    with tracking.run("vit_raw") as active:
        assert active.info.run_id != trained
        assert active.info.run_name == "vit_raw"
        assert mlflow.get_experiment(active.info.experiment_id).name == tracking.EXPERIMENT
