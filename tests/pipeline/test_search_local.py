"""The branches of the training pipeline that a plain run does not take.

Workers search at the same time on one PostgreSQL study; a version that passes the gate becomes the champion.
"""

import json

import mlflow
import pytest
import yaml

from galmorph import params as p
from pipelines.run_local import STORE, artifacts, one_artifact
from tests import postgres
from tests.project import Project

#: The first test waits for the whole run.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TRIALS = 3
EXPERIMENT = "regularised_cnn_raw"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a local run that searched first, and its values."""
    project = Project(tmp_path_factory.mktemp("search"))
    values = p.read_values(project.folder / "params.yaml")
    with postgres.running() as server:
        profile = project.folder / "search.yaml"
        profile.write_text(
            yaml.safe_dump(
                {
                    "experiments": {EXPERIMENT: values["experiments"][EXPERIMENT]},
                    "register": {"architecture": "any"},
                    "explain": {"methods": ["grad_cam"]},
                    "promote": {
                        "min_accuracy": 0.0, "max_calibration_error": 1.0, "slices": {"exempt": [], "max_gap": 1.0},
                        "explanations": {"methods": ["grad_cam"], "checks": []},
                    },
                    "tune": {
                        "experiment": EXPERIMENT, "trials": TRIALS, "startup_trials": 2,
                        "storage": server.create("study"), "heartbeat": {"interval": 5, "grace": 60},
                    },
                }
            )
        )  # fmt: skip
        project.run(
            "python", "-m", "pipelines.run_local", "--profile", str(profile), "--folder", "runs/local", "--search", "2",
            **server.environment,
        )  # fmt: skip
    return project.folder / "runs" / "local", values


def test_workers_share_the_trials_and_the_best_is_trained(searched):
    folder, values = searched
    found = one_artifact(folder, "finish-study", "found")
    trials = (found / "trials.csv").read_text().splitlines()
    assert len(trials) == 1 + TRIALS
    assert len(artifacts(folder, "join-study", "executor_output.json")) == 2
    best = p.read_values(found / "best.yaml")["experiments"][EXPERIMENT]
    assert best != values["experiments"][EXPERIMENT]
    # What was trained had the best values, not those that the run was given.
    output = json.loads(one_artifact(folder, "list-experiments", "executor_output.json").read_text())
    (row,) = output["parameterValues"]["Output"]
    assert row["experiments"][EXPERIMENT] == best
    assert artifacts(folder, "register", "registration")


def test_what_passes_the_gate_becomes_the_champion(searched):
    folder, _ = searched
    assert "version 1 is the champion" in one_artifact(folder, "promote", "decision").read_text()
    store = mlflow.MlflowClient(f"sqlite:///{(folder / STORE).resolve()}")
    assert str(store.get_model_version_by_alias("galmorph", "champion").version) == "1"


def test_what_was_not_asked_for_was_not_run(searched):
    assert not artifacts(searched[0], "keep-experiments", "executor_output.json")
