"""A registered version's export: made once, found again, and fetched whole or not at all."""

import asyncio
import shutil

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from galmorph.edge.exporting import export_version
from galmorph.errors import ModelError, TrackingError
from galmorph.models.saved import save_model
from galmorph.serving.champion import ChampionWatch
from galmorph.serving.monitoring import Monitor
from galmorph.serving.runtime import Runtime, load
from galmorph.serving.source import EXPORT_DIGEST_TAG, EXPORT_TAG, fetched, resolve
from galmorph.storage import read_json, write_image, write_json, write_text
from tests.convolutional import galaxies, made
from tests.exporting import facts_of
from tests.prometheus import free_port


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of its own, where MLflow is whole."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.chdir(folder)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        yield MlflowClient()
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def model(params):
    return made(params, "regularised")


@pytest.fixture(scope="module")
def project(model, tmp_path_factory):
    """A model file and its reports."""
    folder = tmp_path_factory.mktemp("project")
    save_model(folder / "model.keras", model, facts_of(model))
    write_text(folder / "explanations/report.html", "<p>report")
    write_json(folder / "evaluation/metrics.json", {"scored_split": "test", "test": {"accuracy": {"value": 0.9}}})
    for number, cutout in enumerate(galaxies(2, 40, 1)[0], 1):
        write_image(folder / f"{number}.png", cutout)
    return folder


@pytest.fixture
def version(store):
    """A version without an export, `models:/galmorph@champion`."""
    run = store.create_run("0")
    if not store.search_registered_models():
        store.create_registered_model("galmorph")
    made = store.create_model_version("galmorph", run.info.artifact_uri, run_id=run.info.run_id)
    store.set_registered_model_alias("galmorph", "champion", made.version)
    return made


def export(project, version):
    return export_version(
        version, project / "model.keras", None, project / "evaluation", project / "explanations", "# Card\n",
        [project / "1.png"], [project / "2.png"],
    )  # fmt: skip


def test_a_version_carries_its_export(store, version, project, model, tmp_path):
    tags = export(project, version)
    assert tags.items() <= store.get_model_version("galmorph", version.version).tags.items()
    runtime = load("models:/galmorph@champion", tmp_path)
    assert runtime.facts.name == f"galmorph/{version.version}"
    assert runtime.facts.created.endswith("+00:00")
    images, _ = galaxies(4, 24, 1)
    expected = model.predict(images.astype(np.float32), verbose=0)[:, 0]
    found = Runtime(fetched("models:/galmorph@champion", tmp_path), "f32", 1).answer(images, maps=False)
    np.testing.assert_allclose(found.p_elliptical, expected, atol=1e-5)
    folder = fetched(f"models:/galmorph/{version.version}", tmp_path)
    assert set(read_json(folder / "digests.json")) == {
        "examples/1.png", "facts.json", "metrics.json", "model.bin", "model.xml", "model_card.md",
        "probes/2.png", "report.html",
    }  # fmt: skip
    assert (folder / "model_card.md").read_text() == "# Card\n"


def test_it_is_made_once(store, version, project, monkeypatch):
    tags = export(project, version)
    again = store.get_model_version("galmorph", version.version)
    monkeypatch.setattr("galmorph.edge.exporting.export", lambda *_: pytest.fail("exported again"))
    assert export(project, again) == tags


def test_a_report_that_changed_makes_another_beside_the_old_one(store, version, project, tmp_path):
    first = export(project, version)
    (project / "explanations/report.html").write_text(f"<p>report of version {version.version}")
    second = export(project, store.get_model_version("galmorph", version.version))
    assert first[EXPORT_DIGEST_TAG] != second[EXPORT_DIGEST_TAG]
    assert {item.path for item in store.list_artifacts(version.run_id, "export")} == {
        first[EXPORT_TAG],
        second[EXPORT_TAG],
    }
    folder = fetched("models:/galmorph@champion", tmp_path)
    assert f"version {version.version}" in (folder / "report.html").read_text()


class TestWatching:
    """What the service's metrics say of a registry without a model to serve."""

    @pytest.fixture
    def watch(self, params, version, project, tmp_path):
        """A watch that has a champion."""
        export(project, version)
        changes = {"cache": str(tmp_path), "model": "models:/galmorph@champion", "precision": "f32", "threads": 1}
        watch = ChampionWatch(params.serve.model_copy(update=changes), Monitor(), lambda _: None)
        asyncio.run(watch.look())
        assert watch.problem == ""
        assert self.said(watch) == (1, 0)
        return watch

    def said(self, watch):
        """Look, and return whether the registry could be asked and how often loading failed."""
        asyncio.run(watch.look())
        registry = watch._monitor.registry
        return tuple(
            registry.get_sample_value(f"galmorph_{name}") for name in ("registry_up", "model_load_failures_total")
        )

    def test_artifacts_that_are_gone_are_a_load_failure(self, watch, store, project):
        answering = watch.current
        run = store.create_run("0")
        gone = store.create_model_version("galmorph", run.info.artifact_uri, run_id=run.info.run_id)
        export(project, gone)
        shutil.rmtree(run.info.artifact_uri.removeprefix("file://"))
        store.set_registered_model_alias("galmorph", "champion", gone.version)
        assert self.said(watch) == (1, 1)
        assert self.said(watch) == (1, 2)
        assert "its export cannot be fetched" in watch.problem
        assert watch.current is answering

    def test_an_alias_that_is_gone_is_one_too_and_promotion_is_named(self, watch, store):
        answering = watch.current
        store.delete_registered_model_alias("galmorph", "champion")
        assert self.said(watch) == (1, 1)
        assert "galmorph promote" in watch.problem
        assert watch.current is answering

    def test_a_registry_that_does_not_answer_is_not(self, watch, monkeypatch):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"http://127.0.0.1:{free_port()}")
        try:
            assert self.said(watch) == (0, 0)
        finally:
            mlflow.set_tracking_uri(before)
        assert "Check MLFLOW_TRACKING_URI" in watch.problem
        assert "promote" not in watch.problem


class TestFetching:
    @pytest.fixture
    def exported(self, version, project):
        export(project, version)
        return version

    def test_what_is_there_is_used_again(self, exported, tmp_path, monkeypatch):
        folder = fetched("models:/galmorph@champion", tmp_path)
        monkeypatch.setattr("mlflow.artifacts.download_artifacts", lambda **_: pytest.fail("fetched again"))
        assert fetched("models:/galmorph@champion", tmp_path) == folder

    def test_a_version_without_an_export_says_so(self, version, tmp_path):
        with pytest.raises(ModelError, match=r"registered without an exported model.*galmorph register"):
            fetched("models:/galmorph@champion", tmp_path)

    def test_what_is_not_what_was_registered_is_not_kept(self, store, exported, tmp_path):
        store.set_model_version_tag("galmorph", exported.version, EXPORT_DIGEST_TAG, "0" * 64)
        with pytest.raises(ModelError, match=r"not what was registered \(0{64}\)"):
            fetched("models:/galmorph@champion", tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_was_changed_since(self, exported, tmp_path):
        folder = fetched("models:/galmorph@champion", tmp_path)
        (folder / "digests.json").write_text("{}")
        with pytest.raises(ModelError, match=rf"Remove {folder}"):
            fetched("models:/galmorph@champion", tmp_path)

    def test_an_export_that_is_gone(self, store, exported, tmp_path):
        shutil.rmtree(store.get_run(exported.run_id).info.artifact_uri.removeprefix("file://"))
        with pytest.raises(TrackingError, match=r"its export cannot be fetched"):
            fetched("models:/galmorph@champion", tmp_path)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("source", ["models:/galmorph@nobody", "models:/galmorph/9999", "models:/other/1"])
    def test_what_the_registry_does_not_know(self, exported, source):
        with pytest.raises(TrackingError, match=r"cannot be had from sqlite"):
            resolve(source)

    @pytest.mark.parametrize("source", ["models:/", "models:/galmorph", "models:/galmorph/latest", "models:/a/b/1"])
    def test_what_is_no_source(self, source):
        with pytest.raises(ModelError, match=r"give an exported folder, models:/NAME@ALIAS or"):
            resolve(source)

    def test_an_alias_that_moved_is_seen(self, store, exported):
        assert resolve("models:/galmorph@champion").source == f"models:/galmorph/{exported.version}"
        other = store.create_model_version("galmorph", "file:///nowhere", run_id=exported.run_id)
        store.set_registered_model_alias("galmorph", "champion", other.version)
        assert resolve("models:/galmorph@champion").version == int(other.version)
