import pytest


@pytest.fixture(scope="session")
def _store(tmp_path_factory):
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def tracking_store(_store, monkeypatch):
    """An MLflow store of its own; one for the whole session, since MLflow keeps the experiment that is active."""
    import mlflow

    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(_store)  # artifacts go below the working folder
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{_store / 'mlflow.db'}")
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)
