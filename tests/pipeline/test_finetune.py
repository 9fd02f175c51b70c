"""`mlflow run . -e finetune`: one experiment, from its data to a challenger, beside the results of the pipeline."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from galmorph.storage import digest_file
from tests.project import Project

NAME = "resnet50_finetune_raw"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Weights to start from, made here: what a pretrained backbone's file is, but for what it learned."""
    file = tmp_path_factory.mktemp("weights") / "given.weights.h5"
    made = "import sys, keras; keras.applications.ResNet50(weights=None, include_top=False).save_weights(sys.argv[1])"
    subprocess.run([sys.executable, "-c", made, file], check=True)
    return file


@pytest.fixture(scope="module")
def ran(finished, tmp_path_factory, weights) -> Project:
    """A clone of the finished project without its models, in which finetune was run from given weights."""
    folder = tmp_path_factory.mktemp("finetune") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    project = Project.at(folder)
    shutil.rmtree(folder / "models")
    # What it needs of the data it makes itself, through DVC.
    (folder / "data/splits.parquet").unlink()
    project.run(
        "mlflow", "run", ".", "-e", "finetune", "--env-manager", "local", "-P", f"experiment={NAME}",
        "-P", f"set=train.seed=4 train.frozen.epochs=2 train.transfer.weights={weights}",
    )  # fmt: skip
    return project


def made(project: Project) -> list:
    return sorted((project.folder / "runs").iterdir())


def test_it_makes_the_data_it_needs_and_leaves_the_pipeline_s_models_alone(ran):
    assert (ran.folder / "data/splits.parquet").exists()
    assert not (ran.folder / "models").exists()
    assert ran.git("status", "--porcelain").split() == ["??", "dvc.lock"]


def test_everything_about_it_is_in_its_folder(ran):
    (folder,) = made(ran)
    assert folder.name.startswith(f"{NAME}-")
    for name in (f"models/{NAME}/model.keras", "evaluation/leaderboard.html", "registration.json"):
        assert (folder / name).stat().st_size > 0
    metrics = json.loads((folder / f"evaluation/{NAME}/metrics.json").read_text())
    assert metrics["scored_split"] == "test"


def test_the_head_learns_on_the_given_backbone_and_then_both_do(ran, weights):
    (folder,) = made(ran)
    history = pd.read_csv(folder / f"models/{NAME}/history.csv")
    assert history["phase"].tolist() == ["frozen", "frozen", "finetune"]
    registration = json.loads((folder / "registration.json").read_text())
    tags = json.loads(ran.run("mlflow", "runs", "describe", "--run-id", registration["run_id"]).stdout)["data"]["tags"]
    assert tags["weights"] == f"sha256:{digest_file(weights)}"
    assert tags["skipped_phases"] == "none"


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


@pytest.mark.slow
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
