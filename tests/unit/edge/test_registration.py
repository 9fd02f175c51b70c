"""Register as a stage: a version, what it is registered with, and how it answers."""

import ast
import base64
import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from galmorph import storage
from galmorph.data.dataset import prepare, to_frame
from galmorph.edge.evidence import read_evidence
from galmorph.edge.logged_model import REQUIREMENTS, log_model
from galmorph.errors import ImageError, InputError, ModelError
from galmorph.explain.grad_cam import GradCam
from galmorph.models.layers import image_input, logit, with_probability
from galmorph.models.saved import load_facts, save_model
from tests import registered
from tests.evaluated import EXPERIMENT, cutout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, params):
    """A working folder whose model of median-filtered cutouts is registered, in a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("registered")
        patch.setenv("GALMORPH_WORKERS", "1")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        registered.project(folder, params, variant="median")
        registered.evaluate(folder, params, "median")
        registered.register(folder, params)
        yield folder
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def version(folder):
    return MlflowClient().get_model_version_by_alias("galmorph", "challenger")


@pytest.fixture(scope="module")
def loaded(version):
    return mlflow.pyfunc.load_model("models:/galmorph@challenger")


def png(cataid):
    return Path(f"data/raw/images/{cataid}.png").read_bytes()


class TestVersion:
    def test_its_run_holds_what_it_is_judged_by(self, folder, version):
        names = {item.path for item in MlflowClient().list_artifacts(version.run_id)}
        assert names == {
            "best.json",
            "evaluation",
            "explanations",
            "export",
            "model_card.md",
            "promotion",
            "robustness",
        }
        own, problem = read_evidence(version)
        assert problem == ""
        answered = registered.predictions(folder)
        assert own.scored["CATAID"].tolist() == sorted(answered.loc[answered["split"] == "test", "CATAID"])
        assert own.taught["split"].value_counts().to_dict() == {"train": 60, "validation": 60}
        assert not set(own.scored["sha256"]) & set(own.taught["sha256"])

    def test_the_galaxies_nearest_to_even_odds_lie_beside_its_export(self, folder, version):
        beside = {
            name: {Path(item.path).stem for item in MlflowClient().list_artifacts(version.run_id, f"{export}/{name}")}
            for export in [version.tags["export"]]
            for name in ("examples", "probes")
        }
        answered = registered.predictions(folder).set_index("CATAID")
        assert "train" not in set(answered["split"])
        sure = (answered["p_elliptical"] - 0.5).abs()
        probes, others = sure[sorted(beside["probes"])], sure.drop(sorted(beside["probes"]))
        assert len(probes) == 8
        assert probes.max() <= others.min()
        examples = answered.loc[sorted(beside["examples"])]
        assert examples["label"].value_counts().to_dict() == {"Elliptical": 2, "Other": 2}

    def test_the_card_is_its_description(self, version):
        card = mlflow.artifacts.load_text(f"runs:/{version.run_id}/model_card.md")
        assert version.description == card
        assert f"# {EXPERIMENT}" in card
        assert "denoising (median), cropping and resizing are its own" in card

    def test_a_second_time_makes_no_second_version_and_keeps_its_run(self, folder, version, params):
        found = {"summary": "Something costs something.", "model_digest": version.tags["model_digest"]}
        storage.write_json(folder / "robustness/metrics.json", found)
        made = registered.register(folder, params)
        assert made["version"] == int(version.version)
        assert made["run_id"] == version.run_id
        again = MlflowClient().get_model_version("galmorph", version.version)
        assert "Something costs something." in again.description
        assert made["tags"] == again.tags

    def test_it_names_the_revision_that_its_data_were_pulled_from(self, folder, version, params):
        path = folder / "data/variants/median.json"
        before = path.read_bytes()
        pulled = {"data_commit": "0123abc", "dvc_revision": "4567.dir"}
        storage.write_json(path, {**json.loads(before), **pulled})
        try:
            made = registered.register(folder, params)
        finally:
            path.write_bytes(before)
        assert made["version"] == int(version.version)
        assert pulled.items() <= MlflowClient().get_model_version("galmorph", version.version).tags.items()

    def test_the_alias_moves_when_the_export_is_there(self, folder, version, params, monkeypatch):
        client = MlflowClient()
        client.delete_registered_model_alias("galmorph", "challenger")

        def fails(*_):
            raise ModelError("no closed form. Received: a test")

        storage.write_text(folder / "explanations" / EXPERIMENT / "report.html", "<p>Another report.</p>")
        with monkeypatch.context() as patch, pytest.raises(ModelError, match="no closed form"):
            patch.setattr("galmorph.edge.exporting.export", fails)
            registered.register(folder, params)
        assert "challenger" not in client.get_registered_model("galmorph").aliases
        registered.register(folder, params)
        assert client.get_registered_model("galmorph").aliases["challenger"] == version.version

    def test_splits_that_the_predictions_do_not_come_from_are_refused(self, folder, params):
        path = folder / "data/splits.parquet"
        before = path.read_bytes()
        splits = storage.read_table(path)
        storage.write_table(path, splits.assign(split=np.roll(splits["split"], 1)))
        try:
            with pytest.raises(InputError, match="trained on other splits"):
                registered.register(folder, params)
        finally:
            path.write_bytes(before)

    @pytest.mark.parametrize(
        ("report", "stage"),
        [
            (f"evaluation/{EXPERIMENT}/metrics.json", "evaluate"),
            ("robustness/metrics.json", "robustness"),
            (f"explanations/{EXPERIMENT}/faithfulness.json", "explain"),
        ],
    )
    @pytest.mark.parametrize("digest", ["0" * 64, None])
    def test_what_was_found_of_another_model_is_refused(self, folder, params, report, stage, digest):
        path = folder / report
        before = path.read_bytes() if path.exists() else None
        found = {key: value for key, value in json.loads(before or b"{}").items() if key != "model_digest"}
        storage.write_json(path, found if digest is None else {**found, "model_digest": digest})
        named = "none named" if digest is None else "0" * 12
        try:
            with pytest.raises(InputError, match=rf"is not the model that `{stage}` looked at \({named}\)\. Run that"):
                registered.register(folder, params)
        finally:
            path.unlink() if before is None else path.write_bytes(before)


class TestAnswers:
    """The model of the registry, asked about raw cutouts."""

    def test_as_it_was_scored_on_denoised_images(self, folder, loaded):
        scored = registered.predictions(folder).head(40)
        answers = loaded.predict([png(cataid) for cataid in scored["CATAID"]])
        assert list(answers) == ["p_elliptical", "label"]
        np.testing.assert_allclose(answers["p_elliptical"], scored["p_elliptical"], atol=1e-6)
        assert answers["label"].tolist() == scored["predicted"].tolist()

    def test_every_kind_of_input_alike(self, loaded):
        image = cutout(True, 0)
        content = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
        text = base64.encodebytes(content).decode()
        expected = loaded.predict([content])["p_elliptical"].item()
        table = pd.DataFrame({"image": [content]})
        for given in (content, text, image, [image], image[None], [image.tolist()], [text], (content,), table):
            assert loaded.predict(given)["p_elliptical"].tolist() == [expected]

    def test_sizes_may_differ_and_nothing_may_be_asked(self, loaded):
        assert len(loaded.predict([cutout(True, 0), cutout(False, 1)[:50, :40]])) == 2
        none = loaded.predict([])
        assert list(none) == ["p_elliptical", "label"]
        assert none.empty

    def test_an_image_that_cannot_be_used_is_named_by_its_place(self, loaded):
        with pytest.raises(ImageError, match="image 1: not an image"):
            loaded.predict([png("0000"), b"not an image"])

    def test_a_path_is_read_only_where_the_loader_allowed_it(self, loaded, version):
        path = Path("data/raw/images/0000.png")
        for given in (path, str(path), path.resolve()):
            with pytest.raises(InputError, match=r"model_config=\{'allow_paths': True\}"):
                loaded.predict([given])
            # Whoever sends a request names parameters: they must not help.
            with pytest.raises(InputError, match="allow_paths"):
                loaded.predict([given], params={"allow_paths": True, "heat_map": "none"})
        mine = mlflow.pyfunc.load_model(f"models:/galmorph/{version.version}", model_config={"allow_paths": True})
        expected = loaded.predict([png("0000")])["p_elliptical"].item()
        assert mine.predict([path, str(path)])["p_elliptical"].tolist() == [expected, expected]
        with pytest.raises(InputError, match=r"nothing\.png: no such file"):
            mine.predict(["nothing.png"])

    def test_without_a_convolution_there_is_no_heat_map_and_that_is_said(self, loaded):
        answers = loaded.predict([png("0000")], params={"heat_map": "png"})
        assert answers["heat_map"].tolist() == [None]
        assert "no live heat map" in answers["note"].item()

    def test_an_unknown_heat_map_is_refused(self, loaded):
        with pytest.raises(InputError, match="none, png, array"):
            loaded.predict([png("0000")], params={"heat_map": "jet"})


@pytest.fixture(scope="module")
def seeing(folder, params):
    """A model whose one convolution passes red on, and that calls red images elliptical and others not."""
    facts = load_facts(folder / "models" / EXPERIMENT / "model.keras").model_copy(update={"denoiser": None})
    image = image_input(facts.preprocess.image_size)
    red = keras.layers.Conv2D(1, 1, activation="relu", name="red")(image)
    model = keras.Model(image, logit(keras.layers.GlobalAveragePooling2D(name="mean")(red)), name="reads_red")
    model.get_layer("red").set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1), np.zeros(1)])
    model.get_layer("logit").set_weights([np.ones((1, 1)), np.array([-2.0])])
    file = folder / "seeing.keras"
    save_model(file, with_probability(model, 1.0), facts)
    mlflow.set_experiment("galmorph")
    with mlflow.start_run():
        return mlflow.pyfunc.load_model(log_model(file, facts, png("0000"), registered.register_params(params)))


@pytest.fixture(scope="module")
def spot():
    """Red in one corner of what the model sees; the frame is wider than it is high."""
    image = np.zeros((40, 64, 3), np.uint8)
    image[10:20, 20:30, 0] = 200
    return image


class TestHeatMap:
    def test_an_array_covers_the_frame_and_is_bright_where_the_red_is(self, seeing, spot):
        answers = seeing.predict([spot], params={"heat_map": "array"})
        (found,) = answers["heat_map"]
        assert answers["label"].tolist() == ["Elliptical"]
        assert answers["note"].tolist() == [""]
        assert found.shape == (40, 64)
        peak = np.unravel_index(found.argmax(), found.shape)
        assert 10 <= peak[0] < 20
        assert 20 <= peak[1] < 30
        assert found[:, :17].max() == 0, "what the model does not see"

    def test_a_picture_is_a_png_of_the_frame(self, seeing, spot):
        (content,) = seeing.predict([spot], params={"heat_map": "png"})["heat_map"]
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == (40, 64, 3)

    def test_it_is_of_the_layer_that_explain_names(self, folder, params, spot):
        """And not of the last convolution, whose map is coarser."""
        facts = load_facts(folder / "models" / EXPERIMENT / "model.keras").model_copy(update={"denoiser": None})
        image = image_input(facts.preprocess.image_size)
        fine = keras.layers.Conv2D(1, 1, activation="relu", name="fine")(image)
        pooled = keras.layers.AveragePooling2D(8, name="pooled")(fine)
        coarse = keras.layers.Conv2D(1, 1, activation="relu", name="coarse")(pooled)
        model = keras.Model(image, logit(keras.layers.GlobalAveragePooling2D(name="mean")(coarse)), name="two_layers")
        for name in ("fine", "coarse", "logit"):
            layer = model.get_layer(name)
            layer.set_weights([np.ones_like(layer.get_weights()[0]), np.zeros(1)])
        model = with_probability(model, 1.0)
        save_model(folder / "two_layers.keras", model, facts)
        cam = params.explain.grad_cam.model_copy(update={"layer": "fine"})
        explain = params.explain.model_copy(update={"grad_cam": cam})
        given = registered.register_params(params.model_copy(update={"explain": explain}))
        with mlflow.start_run():
            loaded = mlflow.pyfunc.load_model(log_model(folder / "two_layers.keras", facts, png("0000"), given))
        (found,) = loaded.predict([spot], params={"heat_map": "array"})["heat_map"]
        seen = prepare(spot, facts.preprocess)[None]
        maps = [GradCam(model, name, 1).explain(seen, ["Elliptical"])[0] for name in ("fine", None)]
        expected, coarser = (to_frame(one, *spot.shape[:2], facts.preprocess) for one in maps)
        np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
        assert np.abs(expected - coarser).max() > 0.1 * expected.max()

    def test_an_empty_map_is_explained(self, seeing, spot):
        blue = spot[..., ::-1]
        answers = seeing.predict([blue, spot], params={"heat_map": "array"})
        assert answers["label"].tolist() == ["Other", "Elliptical"]
        assert not answers["heat_map"][0].any()
        assert answers["note"].tolist() == [
            "the map is empty: nothing in the picture speaks for Other; all evidence in the map is against it",
            "",
        ]


class TestStored:
    def test_signature_example_and_facts(self, loaded):
        metadata = loaded.metadata
        assert str(metadata.signature.inputs) == "[Any (required)]"
        assert metadata.signature.outputs is not None
        (heat_map,) = metadata.signature.params.params
        assert (heat_map.name, heat_map.default) == ("heat_map", "none")
        assert metadata.saved_input_example_info is not None
        assert metadata.metadata["variant"] == "median"
        assert metadata.metadata["denoiser"] == {"kernel": 3}

    def test_no_pickle_and_every_requirement_pinned(self, version):
        stored = Path(mlflow.artifacts.download_artifacts(f"models:/galmorph/{version.version}"))
        files = [path for path in stored.rglob("*") if path.is_file()]
        assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".cloudpickle")]
        assert [path.name for path in files if path.suffix == ".keras"] == ["model.keras"]
        pinned = (stored / "requirements.txt").read_text().split()
        assert sorted(line.partition("==")[0] for line in pinned) == sorted(REQUIREMENTS)
        assert all("==" in line for line in pinned)

    def test_it_runs_by_its_own_copy_of_galmorph_and_by_what_it_requires(self, folder):
        """In a process that has no other galmorph on its path, and refuses pickles."""
        script = (
            "import json, sys, mlflow\n"
            "model = mlflow.pyfunc.load_model('models:/galmorph@challenger')\n"
            "content = open('data/raw/images/0000.png', 'rb').read()\n"
            "answers = model.predict([content], params={'heat_map': 'png'})\n"
            "files = [one.__file__ for name, one in sys.modules.items() if name.startswith('galmorph.')]\n"
            "print(json.dumps([answers['p_elliptical'].item(), files]))\n"
        )
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        }
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        answer, files = json.loads(done.stdout.splitlines()[-1])
        assert 0 <= answer <= 1
        assert all(Path(file).is_relative_to(folder / "mlruns") for file in files)
        assert {"denoise.py", "given.py", "grad_cam.py"} <= {Path(file).name for file in files}
        imported = {name for file in files for name in _imports(Path(file))} - set(sys.stdlib_module_names)
        distributions = packages_distributions()
        needed = {name: distributions[name] for name in imported - {"galmorph"}}
        assert [name for name, ones in needed.items() if not set(ones) & set(REQUIREMENTS)] == []


def _imports(file):
    """What a file imports as it is loaded, by the first part of its name."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


class TestPoisoned:
    @pytest.fixture
    def poisoned(self, folder, tmp_path):
        """A model file with code in a Lambda layer."""
        facts = load_facts(folder / "models" / EXPERIMENT / "model.keras")
        size = facts.preprocess.image_size
        image = keras.Input((size, size, 3), name="image")
        layer = keras.layers.Lambda(lambda x: x, name="logit")(keras.layers.Flatten()(image))
        answer = keras.layers.Dense(1, activation="sigmoid", name="p_elliptical")(layer)
        file = tmp_path / "poisoned.keras"
        keras.Model(image, answer).save(file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("galmorph.json", facts.model_dump_json())
        return file

    def test_it_is_refused_when_it_is_loaded_from_the_registry(self, poisoned, version, folder, tmp_path):
        (tmp_path / "stored").mkdir()
        stored = Path(
            mlflow.artifacts.download_artifacts(
                f"models:/galmorph/{version.version}", dst_path=str(tmp_path / "stored")
            )
        )
        (file,) = stored.rglob("*.keras")
        file.write_bytes(poisoned.read_bytes())
        with pytest.raises(ModelError, match="safe mode allows no code"):
            mlflow.pyfunc.load_model(str(stored))

    def test_it_cannot_be_registered_either(self, poisoned, params):
        facts = load_facts(poisoned)
        with mlflow.start_run(), pytest.raises(ModelError, match="safe mode allows no code"):
            log_model(poisoned, facts, png("0000"), registered.register_params(params))
