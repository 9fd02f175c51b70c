"""`kill -9` in the middle of a training: no finished epoch is lost, and the end is the same."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.project import Project

#: Without a kill, test_checkpoints.py asks the same of a training that is stopped after each epoch.
pytestmark = pytest.mark.slow

SCRATCH = "regularised_cnn_raw"
TRANSFER = "resnet50_finetune_raw"


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Project:
    """A project that is ready to train, with weights to start from and an experiment of two phases."""
    project = Project(tmp_path_factory.mktemp("killed"))
    project.run(
        sys.executable,
        "-c",
        "import keras; keras.applications.ResNet50(weights=None, include_top=False).save_weights('given.weights.h5')",
    )
    common = {"variant": "raw", "overrides": {}}
    table = {
        SCRATCH: {"architecture": "regularised_cnn", "phases": ["scratch"], **common},
        TRANSFER: {"architecture": "resnet50", "phases": ["frozen", "finetune"], **common},
    }
    (project.folder / "table.json").write_text(json.dumps({"experiments": table}))  # JSON is YAML
    project.galmorph("profile", "table.json")
    for stage in ("acquire", "validate", "split"):
        project.galmorph(stage)
    return project


def kill_after(project: Project, command: list[str], experiment: str, epoch: int) -> None:
    """Start a training and kill it in the epoch that follows `epoch`."""
    # Written after the epoch's model: what it says is finished.
    state = project.folder / "models" / f".{experiment}.partial" / "state.json"
    with (project.folder / "log").open("w") as log:
        training = subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=log, stderr=log)
        end = time.monotonic() + 400
        while not state.exists() or len(json.loads(state.read_text())["training"]["history"]) < epoch:
            assert training.poll() is None, (project.folder / "log").read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(training.pid, signal.SIGKILL)
        training.wait()
    assert not (project.folder / "models" / experiment).exists()


def finished(project: Project, command: list[str], experiment: str) -> tuple[pd.DataFrame, str]:
    """Run a training to its end; its history, and what it said."""
    said = project.run(*command).stderr
    folder = project.folder / "models" / experiment
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "history.csv", "model.keras"]
    history = pd.read_csv(folder / "history.csv")
    folder.rename(folder.with_name(f"{len(list(folder.parent.iterdir()))}"))
    return history, said


def command_for(experiment: str, *values: str) -> list[str]:
    overrides = [part for value in values for part in ("--set", value)]
    return [sys.executable, "-m", "galmorph", "train", experiment, *overrides]


def test_a_killed_training_goes_on_after_its_last_epoch(ready):
    command = command_for(SCRATCH, "train.scratch.epochs=5")
    kill_after(ready, command, SCRATCH, 2)
    after_kill, said = finished(ready, command, SCRATCH)
    assert re.findall(r"epoch (\d) of 5", said) == ["3", "4", "5"]
    assert after_kill["epoch"].tolist() == [1, 2, 3, 4, 5]
    # The optimiser, the order, the augmentation and the dropout seeds all go on where they were, and so the epoch that
    # is kept is the same, with the same scores.
    whole, _ = finished(ready, command, SCRATCH)
    pd.testing.assert_frame_equal(whole, after_kill, rtol=1e-4)
    assert whole["val_loss"].idxmin() == after_kill["val_loss"].idxmin()


def test_a_training_that_is_killed_in_each_phase_goes_on_from_given_weights(ready):
    command = command_for(
        TRANSFER,
        "train.transfer.weights=given.weights.h5",
        "train.frozen.epochs=3",
        "train.finetune.epochs=3",
        "train.memory_share=1.0e-12",  # features on disk
    )
    kill_after(ready, command, TRANSFER, 2)
    partial = ready.folder / "models" / f".{TRANSFER}.partial"
    assert sorted(path.name for path in partial.glob("features-*.npy")) == [
        "features-0-calibration.npy",
        "features-0-train.npy",
        "features-0-validation.npy",
    ]
    kill_after(ready, command, TRANSFER, 4)
    assert "features of train images" not in (ready.folder / "log").read_text(), "computed again"
    after_kills, said = finished(ready, command, TRANSFER)
    assert "frozen" not in said
    assert after_kills["phase"].tolist() == ["frozen"] * 3 + ["finetune"] * 3
    whole, _ = finished(ready, command, TRANSFER)
    pd.testing.assert_frame_equal(whole, after_kills, rtol=1e-3)


def test_other_weights_under_the_same_name_start_anew(ready):
    """What was trained from other weights is other work, though no value has changed."""
    command = command_for(
        TRANSFER, "train.transfer.weights=given.weights.h5", "train.frozen.epochs=3", "train.finetune.epochs=1"
    )
    kill_after(ready, command, TRANSFER, 1)
    ready.run(
        sys.executable,
        "-c",
        "import keras; keras.utils.set_random_seed(99);"
        "keras.applications.ResNet50(weights=None, include_top=False).save_weights('given.weights.h5')",
    )
    _, said = finished(ready, command, TRANSFER)
    assert "frozen, epoch 1 of 3" in said
