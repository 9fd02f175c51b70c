"""`kill -9` in the middle of a training: no finished epoch is lost, and the end is the same."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.project import Project

EXPERIMENT = "regularised_cnn_raw"
COMMAND = [sys.executable, "-m", "galmorph", "train", EXPERIMENT, "--set", "train.scratch.epochs=5"]


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Project:
    """A project that is ready to train."""
    project = Project(tmp_path_factory.mktemp("killed"))
    for stage in ("acquire", "validate", "split"):
        project.galmorph(stage)
    return project


def test_a_killed_training_goes_on_after_its_last_epoch(ready):
    partial = ready.folder / "models" / f".{EXPERIMENT}.partial"
    with (ready.folder / "log").open("w") as log:
        training = subprocess.Popen(COMMAND, cwd=ready.folder, env=ready.environment, stdout=log, stderr=log)
        end = time.monotonic() + 240
        while not (partial / "epoch-0003.keras").exists():
            assert training.poll() is None, (ready.folder / "log").read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(training.pid, signal.SIGKILL)
        training.wait()
    assert not (ready.folder / "models" / EXPERIMENT).exists()

    resumed = ready.run(*COMMAND).stdout
    assert "Epoch 1/5" not in resumed
    history = ready.folder / "models" / EXPERIMENT / "history.csv"
    after_kill = pd.read_csv(history)
    assert after_kill["epoch"].tolist() == [1, 2, 3, 4, 5]

    (history.parent).rename(history.parent.with_name("killed"))
    ready.run(*COMMAND)
    # The optimiser, the order, the augmentation and the dropout seeds all go on where they were.
    pd.testing.assert_frame_equal(pd.read_csv(history), after_kill, rtol=1e-4)
