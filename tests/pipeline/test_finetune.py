"""`mlflow run . -e finetune`: one experiment, from its data to a challenger, beside the results of the pipeline."""

import json
import shutil

import pytest

from tests.project import Project


@pytest.fixture(scope="module")
def ran(finished, tmp_path_factory) -> Project:
    """A clone of the finished project without its models, in which finetune was run as the README says."""
    folder = tmp_path_factory.mktemp("finetune") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    project = Project.at(folder)
    shutil.rmtree(folder / "models")
    # What it needs of the data it makes itself, through DVC.
    (folder / "data/splits.parquet").unlink()
    project.run("mlflow", "run", ".", "-e", "finetune", "--env-manager", "local", "-P", "set=train.seed=4")
    return project


def made(project: Project) -> list:
    return sorted((project.folder / "runs").iterdir())


def test_it_makes_the_data_it_needs_and_leaves_the_pipeline_s_models_alone(ran):
    assert (ran.folder / "data/splits.parquet").exists()
    assert not (ran.folder / "models").exists()
    assert ran.git("status", "--porcelain").split() == ["??", "dvc.lock"]


def test_everything_about_it_is_in_its_folder(ran):
    (folder,) = made(ran)
    assert folder.name.startswith("resnet50_finetune_raw-"), "the first ResNet50 that is finetuned"
    for name in ("models/resnet50_finetune_raw/model.keras", "evaluation/leaderboard.html", "registration.json"):
        assert (folder / name).stat().st_size > 0
    metrics = json.loads((folder / "evaluation/resnet50_finetune_raw/metrics.json").read_text())
    assert metrics["scored_split"] == "test"


def test_a_challenger_is_registered_in_the_run_that_mlflow_began(ran, finished):
    (folder,) = made(ran)
    registration = json.loads((folder / "registration.json").read_text())
    before = json.loads((finished.folder / "registration.json").read_text())
    assert registration["alias"] == "challenger"
    assert registration["version"] == before["version"] + 1
    shown = ran.run("mlflow", "runs", "describe", "--run-id", registration["run_id"]).stdout
    run = json.loads(shown)
    assert run["info"]["status"] == "FINISHED"
    assert run["data"]["tags"]["mlflow.project.entryPoint"] == "finetune"
    assert run["data"]["params"]["train.seed"] == "4"
    assert "test_accuracy" in run["data"]["metrics"]


def test_another_experiment_goes_on_where_it_was_interrupted(ran):
    """By name; a stage that was finished is not run again."""
    arguments = ("finetune", "--experiment", "regularised_cnn_raw")
    stopped = ran.galmorph(*arguments, "--set", "explain.grad_cam.layer=nowhere", check=False)
    assert stopped.returncode == 1
    assert "explain.grad_cam.layer must be one of" in stopped.stderr
    assert "regularised_cnn_raw" in made(ran)[0].name
    again = ran.galmorph(*arguments)
    assert "train (1 of" not in again.stderr
    assert "explain (" in again.stderr
    assert "regularised_cnn_raw, MLflow run" in again.stdout


def test_data_that_dvc_would_not_make_is_refused(ran):
    done = ran.galmorph("finetune", "--set", "split.seed=99", check=False)
    assert done.returncode == 1
    assert "Change split there" in done.stderr
