"""The rehearsal: a registry on PostgreSQL is backed up, destroyed and restored, and its champion answers as before."""

import shutil
import subprocess
import sys

import mlflow
import pytest
from mlflow import MlflowClient

from tests import postgres, registered
from tests.mlflow_server import clean_environment, tracking_server
from tests.prometheus import free_port
from tests.service import running

SERVE = {"threads": 1, "precision": "f32"}
DATABASE = "mlflow"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return clean_environment(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def database():
    with postgres.running() as made:
        yield made


@pytest.fixture
def project(tmp_path, params, monkeypatch):
    """A folder with galaxies and a model that is not registered yet."""
    before = mlflow.get_tracking_uri()
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    yield registered.project(folder, params)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def galmorph(own, project, repository):
    """Run a command of galmorph in the project, told by variables alone."""

    def run(*arguments, **variables):
        environment = {**own, "PYTHONPATH": str(repository / "src"), **variables}
        command = [sys.executable, "-m", "galmorph", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    return run


def answers(folder, url, project):
    """What a service with an empty cache says of some galaxies, and of its model."""
    with running(folder, "models:/galmorph@champion", SERVE, MLFLOW_TRACKING_URI=url) as service:
        service.until_ready()
        paths = sorted((project / "data/raw/images").glob("*.png"))[:6]
        files = [("images", (path.name, path.read_bytes())) for path in paths]
        found = service.client.post("/v1/predictions", files=files)
        assert found.status_code == 200, found.text
        model = service.client.get("/v1/model").json()
        return found.json()["predictions"], {name: value for name, value in model.items() if name != "since"}


def registry():
    """What the registry says of every version, and the model card of the champion's run."""
    client = MlflowClient()
    versions = [
        (each.version, each.tags, each.description, each.run_id)
        for each in sorted(client.search_model_versions("name='galmorph'"), key=lambda each: int(each.version))
    ]
    model = client.get_registered_model("galmorph")
    run = client.get_model_version_by_alias("galmorph", "champion").run_id
    history = client.get_metric_history(run, "test_accuracy")
    return versions, model.aliases, model.tags, mlflow.artifacts.load_text(f"runs:/{run}/model_card.md"), [
        (each.step, each.value) for each in history
    ]  # fmt: skip


@pytest.mark.slow
def test_a_destroyed_registry_comes_back_and_its_champion_answers_as_before(
    tmp_path, own, database, project, galmorph, params, repository
):
    there = {**own, **database.environment}
    store = database.create(DATABASE)
    reach = {
        "PGHOST": "127.0.0.1", "PGPORT": str(database.port), "PGUSER": postgres.USER, "PGDATABASE": DATABASE,
        "GALMORPH_BACKUPS": str(tmp_path / "backups"), **database.environment,
    }  # fmt: skip
    old, new = tmp_path / "old", tmp_path / "new"
    promote = ("promote", "--params", str(repository / "params.yaml"))

    # The address stays: clients know where a run's artifacts are, and do not ask again.
    port = free_port()
    old.mkdir()
    with tracking_server(old, store, there, port) as url:
        mlflow.set_tracking_uri(url)
        registered.evaluate(project, params)
        assert registered.register(project, params)["version"] == 1
        assert galmorph(*promote, MLFLOW_TRACKING_URI=url).returncode == 0
        registered.retrain(project, shift=6.5)
        registered.evaluate(project, params)
        assert registered.register(project, params)["version"] == 2
        expected, known = answers(tmp_path / "before", url, project), registry()
        # With the server running, as a scheduler does it.
        done = galmorph("backup", **reach, GALMORPH_ARTIFACTS=str(old / "artifacts"))
        assert done.returncode == 0, done.stderr
        made = done.stdout.strip()
        refused = galmorph("restore", made, **reach, GALMORPH_ARTIFACTS=str(new / "artifacts"))
        assert refused.returncode == 1
        assert "the database mlflow is not empty" in refused.stderr
        assert not new.exists()

    shutil.rmtree(old)
    database.sql("postgres", f"DROP DATABASE {DATABASE}")
    lost = galmorph("restore", made, **reach, GALMORPH_ARTIFACTS=str(new / "artifacts"))
    assert lost.returncode == 1
    assert "Create it, empty" in lost.stderr

    database.create(DATABASE)
    done = galmorph("restore", made, **reach, GALMORPH_ARTIFACTS=str(new / "artifacts"))
    assert done.returncode == 0, done.stderr
    with tracking_server(new, store, there, port) as url:
        mlflow.set_tracking_uri(url)
        assert registry() == known
        assert answers(tmp_path / "after", url, project) == expected
        # It goes on from there: the gate reads what both versions answered.
        gate = galmorph(*promote, MLFLOW_TRACKING_URI=url)
        assert gate.returncode == 3, gate.stderr
        assert "against version 1" in gate.stdout
