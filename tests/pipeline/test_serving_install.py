"""The serving install as a user has it: no TensorFlow, no whole MLflow; a model from a folder and from a server."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from mlflow import MlflowClient

from galmorph.edge.exporting import export_version
from galmorph.models.saved import save_model
from tests.convolutional import galaxies, made
from tests.exported import cutout, png
from tests.exporting import exported, facts_of
from tests.predicted import write_cutouts
from tests.service import running

pytestmark = pytest.mark.slow

#: What the environment must not hold.
ABSENT = ["keras", "matplotlib", "mlflow", "scikit-learn", "sqlalchemy", "tensorflow"]
SCRIPT = """
import json, sys
from importlib.metadata import distributions
from pathlib import Path
import numpy as np
from galmorph.serving.runtime import load
runtime = load(sys.argv[1], Path("cache"))
answers = runtime.answer(np.load("images.npy"), maps=True)
installed = sorted(each.name.lower() for each in distributions())
print(json.dumps([runtime.facts.name, answers.p_elliptical.tolist(), list(answers.maps.shape), installed]))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory, repository):
    """The interpreter of a fresh environment with the locked serving requirements and galmorph."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "-r", str(repository / "requirements/serve.txt")], check=True)
    subprocess.run([*install, "--no-deps", str(repository)], check=True)
    return python


@pytest.fixture(scope="module")
def model(params):
    return made(params, "regularised")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a real MLflow server that keeps artifacts in a folder of its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 150
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(python, folder, source: str, **environment: str) -> list:
    """Answer three galaxies in the environment, in an empty folder, where no other galmorph is to be found."""
    np.save(folder / "images.npy", galaxies(3, 24, 4)[0])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))}
    done = subprocess.run(
        [str(python), "-c", SCRIPT, source],
        cwd=folder, env={**kept, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(1200)
def test_it_answers_from_a_folder(python, model, tmp_path):
    exported(model, tmp_path / "model")
    name, found, shape, installed = ask(python, tmp_path, str(tmp_path / "model"))
    assert name == "galmorph/3"
    assert shape[0] == 3
    assert not set(ABSENT) & set(installed)
    expected = model.predict(galaxies(3, 24, 4)[0].astype(np.float32), verbose=0)[:, 0]
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.timeout(1200)
def test_it_answers_from_a_server(python, model, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    file = tmp_path / "model.keras"
    save_model(file, model, facts_of(model))
    client = MlflowClient(server, server)
    run = client.create_run("0")
    client.create_registered_model("galmorph")
    version = client.create_model_version("galmorph", run.info.artifact_uri, run_id=run.info.run_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("galmorph.edge.exporting.MlflowClient", lambda: client)
        export_version(version, file, None, tmp_path, tmp_path, None, (), ())
    client.set_registered_model_alias("galmorph", "champion", version.version)
    name, found, _, _ = ask(python, tmp_path, "models:/galmorph@champion", MLFLOW_TRACKING_URI=server)
    assert name == "galmorph/1"
    expected = model.predict(galaxies(3, 24, 4)[0].astype(np.float32), verbose=0)[:, 0]
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.timeout(1200)
def test_it_serves(python, exported_model, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)  # no other galmorph is to be found
    with running(tmp_path / "service", str(exported_model), {"threads": 1}, python=str(python)) as service:
        service.until_ready()
        found = service.client.post("/v1/explanations", files={"image": ("a.png", png(cutout(1)))})
        assert found.status_code == 200, found.text
        assert found.json()["model"]["name"] == "galmorph/1"
        assert found.json()["reason"]
        assert found.json()["heat_map"]["available"]
        assert service.client.get("/").status_code == 200  # the page's files were installed
        assert service.metric("galmorph_predictions_total") == 1
        assert service.stop() == 0


@pytest.mark.timeout(1200)
def test_it_predicts_a_catalogue(python, model, tmp_path, repository):
    exported(model, tmp_path / "model")
    ids = write_cutouts(tmp_path / "images", 5)
    catalogue = tmp_path / "mine.fits"
    Table({"CATAID": ids[:3]}).write(catalogue)
    command = [
        str(python), "-m", "galmorph", "predict", "--model", "model", "--images", "images", "--catalogue", "mine.fits",
        "--params", str(repository / "params.yaml"), "--heat-maps", "--export", "out.fits", "--export", "out.vot",
        "--output", "out.parquet",
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))}
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "3 galaxies answered" in done.stdout
    assert pd.read_parquet(tmp_path / "out.parquet")["CATAID"].tolist() == ids[:3]
    assert [len(Table.read(tmp_path / name)) for name in ("out.fits", "out.vot")] == [3, 3]
    assert len(pd.read_parquet(tmp_path / "out.heat_maps.parquet")) == 3
