"""A training component whose pod is taken away: the next one goes on from the volume, and the end is the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from galmorph.cluster.artifacts import deliver
from galmorph.cluster.process import CHECKPOINTS, RUN
from tests.project import ONE_THREAD
from tests.unit.cluster.test_artifacts import Handed

EXPERIMENT = "regularised_cnn_raw"
#: The body of the component, on artifacts as the launcher leaves them; its own epochs, so that there is time to kill.
SCRIPT = f"""
import json, sys
from pathlib import Path
from kfp import dsl
import components
from galmorph.cluster.values import carried
from galmorph.params import merged, read_values

store = sys.argv[1]
values = carried(merged(read_values(Path("params.yaml")), {{"train": {{"scratch": {{"epochs": 4}}}}}}))

def handed(kind, name):
    return kind(name=name, uri=f"{{store}}/{{name}}", metadata=json.load(open(f"{{store}}/{{name}}.json")))

components.train.python_func(
    splits=handed(dsl.Dataset, "splits"),
    raw=handed(dsl.Dataset, "raw"),
    variants=handed(dsl.Dataset, "variants"),
    model=dsl.Model(name="model", uri=sys.argv[2], metadata={{}}),
    preprocess_params=values["preprocess"],
    train_params=values["train"],
    experiments_params=values["experiments"],
    experiment="{EXPERIMENT}",
    variant="raw",
)
"""


@pytest.fixture
def store(finished, tmp_path, monkeypatch) -> Path:
    """What the components before it made, as artifacts."""
    import json

    monkeypatch.chdir(finished.folder)
    for name, place in {"splits": "data/splits.parquet", "raw": "data/raw", "variants": "data/variants"}.items():
        artifact = Handed(str(tmp_path / "store" / name))
        deliver(Path(place), artifact)
        (tmp_path / "store" / f"{name}.json").write_text(json.dumps(artifact.metadata))
    return tmp_path / "store"


def pod(finished, store: Path, model: Path, run: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **finished.environment,
        "PYTHONPATH": os.pathsep.join([str(finished.folder / "src"), str(finished.folder)]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store / 'mlflow.db'}",
        **ONE_THREAD,
        CHECKPOINTS: str(store / "volume"),
        RUN: run,
    }
    with log.open("wb") as opened:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(store), str(model)],
            cwd=finished.folder, env=environment, stdout=opened, stderr=opened,
        )  # fmt: skip


@pytest.mark.slow
def test_the_next_pod_goes_on_and_the_end_is_the_same(finished, store, tmp_path):
    log = tmp_path / "log"
    first = pod(finished, store, tmp_path / "model", "run-1", log)
    kept = store / "volume/run-1/train" / EXPERIMENT / "models" / f".{EXPERIMENT}.partial" / "epoch-0002.keras"
    end = time.monotonic() + 400
    while not kept.exists():
        assert first.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "model").exists()

    assert pod(finished, store, tmp_path / "model", "run-1", log).wait(400) == 0, log.read_text()[-3000:]
    assert "epoch 1 of 4" not in log.read_text()
    assert "epoch 4 of 4" in log.read_text()
    assert not kept.parents[2].exists(), "what was kept is removed when it is finished"

    # Another run does not take it up, and comes to the same model.
    assert pod(finished, store, tmp_path / "whole", "run-2", log).wait(400) == 0, log.read_text()[-3000:]
    assert "epoch 1 of 4" in log.read_text()
    resumed, whole = (pd.read_csv(tmp_path / name / "history.csv") for name in ("model", "whole"))
    pd.testing.assert_frame_equal(resumed, whole, rtol=1e-4)
