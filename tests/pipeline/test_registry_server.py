"""The registry as a team has it: MLflow's server on PostgreSQL with its own artifact folder, and a served champion."""

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from galmorph.storage import read_image
from tests import postgres, registered
from tests.mlflow_server import clean_environment, running, tracking_server
from tests.prometheus import free_port


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """An environment that names no store and no run."""
    return clean_environment(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, own):
    """URL of a tracking server; what it stores is out of reach but through it."""
    folder = tmp_path_factory.mktemp("server")
    with postgres.running() as database:
        store = database.create("mlflow")
        with tracking_server(folder, store, {**own, **database.environment}) as url:
            yield url, folder


@pytest.fixture(scope="module")
def project(server, tmp_path_factory, params):
    """Two versions: one is champion, the other was refused."""
    url, _ = server
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("project")
        patch.setenv("GALMORPH_WORKERS", "1")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        mlflow.set_tracking_uri(url)
        registered.project(folder, params)
        registered.evaluate(folder, params)
        assert registered.register(folder, params)["version"] == 1
        yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def galmorph(server, own, project, repository):
    """Run a command of galmorph against the server, from a folder that has the galaxies."""

    def run(*arguments):
        environment = {**own, "MLFLOW_TRACKING_URI": server[0], "PYTHONPATH": str(repository / "src")}
        command = [sys.executable, "-m", "galmorph", *arguments, "--params", str(repository / "params.yaml")]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return run


def champion():
    return MlflowClient().get_model_version_by_alias("galmorph", "champion").version


def test_a_version_becomes_champion_a_worse_one_does_not_and_force_is_taken_back(galmorph, project, params):
    first = galmorph("promote")
    assert first.returncode == 0, first.stdout + first.stderr
    registered.retrain(project, shift=6.5)
    registered.evaluate(project, params)
    assert registered.register(project, params)["version"] == 2
    refused = galmorph("promote")
    assert refused.returncode == 3, refused.stderr
    assert "against version 1 on 120 of 120 galaxies (120 by stored answers, 0 asked now)" in refused.stdout
    assert champion() == "1"
    assert galmorph("promote", "--force", "--reason", "to see it go").returncode == 0
    assert champion() == "2"
    back = galmorph("rollback")
    assert back.returncode == 0, back.stderr
    assert champion() == "1"


def test_the_server_holds_reports_card_and_reasons(galmorph, server):
    galmorph("promote", "--version", "1")
    version = MlflowClient().get_model_version("galmorph", "1")
    kept = {path.relative_to(server[1]).as_posix() for path in (server[1] / "artifacts").rglob("*") if path.is_file()}
    found = {name.partition(f"{version.run_id}/artifacts/")[2] for name in kept if version.run_id in name}
    assert {"model_card.md", "evaluation/metrics.json", "promotion/scored.parquet", "best.json"} <= found
    assert any(name.startswith("promotion/decisions/") for name in found)
    assert len(version.description) <= 5000
    assert version.description.startswith("# small")


def test_the_served_champion_answers_bytes_and_arrays_and_reads_no_path(galmorph, server, own, project):
    galmorph("promote", "--version", "1")
    port = free_port()
    command = [
        *("mlflow", "models", "serve", "-m", "models:/galmorph@champion", "--env-manager", "local"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    environment = {**own, "MLFLOW_TRACKING_URI": server[0]}
    url = f"http://127.0.0.1:{port}"

    def ask(**request):
        content = json.dumps(request).encode()
        posted = urllib.request.Request(f"{url}/invocations", content, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(posted, timeout=60) as answer:
                return answer.status, json.load(answer)["predictions"]
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    paths = [project / f"data/raw/images/{number:04d}.png" for number in (0, 1)]
    with running(command, project, environment, f"{url}/ping", project / "serve.log"):
        status, answers = ask(inputs=[base64.b64encode(path.read_bytes()).decode() for path in paths])
        assert status == 200, answers
        assert [answer["label"] for answer in answers] == ["Elliptical", "Other"]
        arrays = [read_image(path).tolist() for path in paths]
        status, same = ask(inputs=arrays, params={"heat_map": "png"})
        assert status == 200, same
        given = [answer["p_elliptical"] for answer in answers]
        np.testing.assert_allclose([answer["p_elliptical"] for answer in same], given, rtol=1e-6)
        assert "no live heat map" in same[0]["note"], "the model of this test has no convolution"
        for request in (
            {"inputs": [str(paths[0])]},
            {"inputs": [str(paths[0])], "params": {"allow_paths": True}},
            {"inputs": [f"file://{paths[0]}"], "params": {"model_config": {"allow_paths": True}}},
        ):
            status, said = ask(**request)
            assert status == 400, request
            assert "must be the base64 of an image file" in said
        assert ask(inputs=[base64.b64encode(paths[0].read_bytes()).decode()])[0] == 200, "still alive"
