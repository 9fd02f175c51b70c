"""The stage that explains, on small models of galaxies that take seconds: what it writes, of whom, and after a stop."""

import json

import keras
import mlflow
import numpy as np
import pytest

from galmorph import stages, storage
from galmorph.data.dataset import prepare
from galmorph.edge import explanations
from galmorph.edge.explaining import flat
from galmorph.edge.images import prepared_images
from galmorph.edge.scoring import predictions_table
from galmorph.errors import InputError
from galmorph.evaluation.subset import stratified
from galmorph.explain.methods import METHODS
from galmorph.explain.occlusion import Occlusion
from galmorph.models.architectures import build
from galmorph.models.layers import with_probability
from galmorph.models.predict import predict_logits
from galmorph.models.saved import load_model, save_model
from galmorph.params import PreprocessParams, merged, read_values
from tests.evaluated import EXPERIMENT, make

SEEN = PreprocessParams(crop=0.75, image_size=24)
#: Named in the sample, so that galaxies come first which no check was drawn for.
NAMED = "0047"


@pytest.fixture(scope="module", autouse=True)
def store(_store):
    """The MLflow store of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALMORPH_WORKERS", "1")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "GALMORPH_PARENT_RUN"):
            patch.delenv(name, raising=False)
        patch.chdir(_store)  # artifacts go below the working folder
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(f"sqlite:///{_store / 'mlflow.db'}")
        yield
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def quick(params, repository):
    """The section with little to compute: three methods, batches of four, eight galaxies to check on."""
    small = merged(params.explain.model_dump(), read_values(repository / "tests/small.yaml")["explain"])
    changes = {
        "methods": ["grad_cam", "integrated_gradients", "occlusion"],
        "sample": {"cataids": [NAMED], "random": 1},
        "batch_size": 4,
        "activations": {"first": 1, "last": 1},
        "faithfulness": {"galaxies": 8},
    }
    return type(params.explain).model_validate(merged(small, changes))


def project(folder, params, architecture, train):
    """What the stages before explain leave of a model of random weights, on median-filtered galaxies."""
    make(folder, params.validate_, "median")
    file = folder / "models" / EXPERIMENT / "model.keras"
    _, facts = load_model(file)
    keras.utils.set_random_seed(3)
    model = with_probability(build(architecture, SEEN, train), 1.5)
    save_model(file, model, facts.model_copy(update={"preprocess": SEEN, "architecture": architecture}))
    splits = storage.read_table(folder / "data/splits.parquet")
    images = prepared_images(folder / "data/variants/median", splits["CATAID"], SEEN, "reading")
    # Around 0, so that both classes are answered: the weights are random.
    logits, _ = predict_logits(model, images, 16)
    model.get_layer("logit").set_weights([*model.get_layer("logit").get_weights()[:-1], np.array([-np.median(logits)])])
    save_model(file, model, facts.model_copy(update={"preprocess": SEEN, "architecture": architecture}))
    made = folder / "evaluation" / EXPERIMENT
    storage.write_table(made / "predictions.parquet", predictions_table(splits, *predict_logits(model, images, 16)))
    accuracy = {"value": 0.75, "low": 0.5, "high": 0.9}
    storage.write_json(made / "metrics.json", {"scored_split": "test", "test": {"accuracy": accuracy, "n": 32}})
    storage.write_json(folder / "evaluation/best.json", {"experiment": EXPERIMENT, "variant": "median"})
    return folder


def explain(folder, params, out="explanations"):
    stages.explain(
        best=folder / "evaluation/best.json",
        models=folder / "models",
        evaluations=folder / "evaluation",
        manifest=folder / "data/manifest.parquet",
        raw=folder / "data/raw",
        variants=folder / "data/variants",
        explanations=folder / out,
        params=params,
    )
    return folder / out


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory, params):
    """A project with a small convolutional network."""
    small = params.train.cnn.model_copy(update={"filters": (4, 6), "dense_units": 8})
    train = params.train.model_copy(update={"cnn": small})
    return project(tmp_path_factory.mktemp("convolutional"), params, "regularised_cnn", train)


@pytest.fixture(scope="module")
def finished(convolutional, quick):
    """The folder `explanations` of a run in one piece, and the MLflow run."""
    made = explain(convolutional, quick)
    return made, mlflow.last_active_run()


@pytest.fixture(scope="module")
def transformer(tmp_path_factory, params):
    """A project with a small vision transformer: no convolution but the patches'."""
    small = params.train.vit.model_copy(update={"patch": 8, "width": 8, "depth": 2, "heads": 2, "mlp": 8})
    train = params.train.model_copy(update={"vit": small})
    return project(tmp_path_factory.mktemp("transformer"), params, "vit", train)


def of_split(folder, split="test"):
    predictions = storage.read_table(folder / "evaluation" / EXPERIMENT / "predictions.parquet")
    return predictions[predictions["split"] == split]


def asked(made):
    """The galaxies whose maps were written, in order."""
    return storage.read_table(made / EXPERIMENT / "attributions/galaxies.csv")


def test_it_leaves_pictures_numbers_and_a_page(finished, quick):
    made = finished[0] / EXPERIMENT
    files = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    attributions = {f"attributions/{name}.{suffix}" for name in quick.methods for suffix in ("npy", "csv")}
    sheets = {name for name in files if name.startswith("activations/")}
    assert files - sheets == attributions | {
        "attributions/galaxies.csv", "faithfulness.json", "on_galaxy.csv", "report.html", "sheet.png",
    }  # fmt: skip
    assert [name.rpartition("-")[2] for name in sorted(sheets)] == ["block1_conv.png", "block2_conv.png"]
    page = (made / "report.html").read_text()
    for words in ("median (kernel 3)", "24 px of the central 75 %", NAMED, "Occlusion"):
        assert words in page


def test_maps_are_of_what_the_model_saw_for_the_class_that_it_chose(finished, convolutional, quick):
    """Asked again by hand: the denoised image, cropped, and the predicted class."""
    model, _ = load_model(convolutional / "models" / EXPERIMENT / "model.keras")
    table = asked(finished[0])
    predicted = of_split(convolutional).set_index("CATAID")["predicted"]
    assert table["target"].tolist() == predicted.loc[table["CATAID"]].tolist()
    assert set(table["target"]) == {"Elliptical", "Other"}
    frames = [storage.read_image(convolutional / f"data/variants/median/{cataid}.png") for cataid in table["CATAID"]]
    images = np.stack([prepare(frame, SEEN) for frame in frames])
    for name in quick.methods:
        maps = np.load(finished[0] / EXPERIMENT / f"attributions/{name}.npy")
        expected = METHODS[name](model, quick).explain(images, table["target"].tolist())
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_the_sample_comes_first_and_the_checks_are_made_on_galaxies_drawn_without_it(finished, convolutional, quick):
    table = asked(finished[0])
    in_split = of_split(convolutional)
    drawn = stratified(in_split, quick.faithfulness.galaxies, quick.seed)["CATAID"].tolist()
    shown = 5  # the named one, and one of each kind
    assert table["CATAID"].iloc[0] == NAMED
    assert table["CATAID"].is_unique
    assert table["CATAID"].isin(in_split["CATAID"]).all()
    assert table["CATAID"].iloc[shown:].tolist() == [
        cataid for cataid in drawn if cataid not in set(table[:shown].CATAID)
    ]
    record = storage.read_json(finished[0] / EXPERIMENT / "faithfulness.json")
    assert (record["galaxies"], record["scored_split"]) == (8, "test")
    assert record["model_digest"] == storage.digest_file(convolutional / "models" / EXPERIMENT / "model.keras")
    shares = storage.read_table(finished[0] / EXPERIMENT / "on_galaxy.csv")
    assert set(shares["CATAID"]) == set(drawn)
    assert NAMED not in drawn, "else this does not tell the sample from the galaxies drawn"
    page = (finished[0] / EXPERIMENT / "report.html").read_text()
    assert page.count("<h4") == shown


def test_metrics_are_flat_and_those_of_the_checks(finished, quick):
    made, run = finished
    metrics = storage.read_json(made / "metrics.json")
    record = storage.read_json(made / EXPERIMENT / "faithfulness.json")
    assert metrics.pop("experiment") == EXPERIMENT
    assert all(value is None or isinstance(value, float | int) for value in metrics.values())
    assert metrics == json.loads(json.dumps(flat(record)))
    for name in quick.methods:
        found = record["methods"][name]
        assert metrics[f"{name}_deletion"] == found["scores"]["deletion"]["value"]
        passed = sum(check["verdict"] == "passed" for check in found["verdicts"].values())
        assert metrics[f"{name}_checks_passed"] == passed
    logged = {name: value for name, value in run.data.metrics.items() if name.startswith("explain_")}
    assert logged == pytest.approx({f"explain_{name}": value for name, value in metrics.items() if value is not None})
    artifacts = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "explanations")}
    assert {"explanations/report.html", "explanations/faithfulness.json"} <= artifacts


class Occluded:
    """Counts the images that the last method is asked about while maps are written, and may stop (Ctrl-C)."""

    def __init__(self):
        self.stop_at, self.images, self.written = None, 0, None


@pytest.fixture
def occluded(monkeypatch):
    watched, attribute, write = Occluded(), Occlusion._attribute, explanations.write_attributions

    def watched_attribute(self, images, signs):
        if watched.images == watched.stop_at:
            raise KeyboardInterrupt
        watched.images += len(images)
        return attribute(self, images, signs)

    def watched_write(*arguments):
        write(*arguments)
        watched.written = watched.images  # what follows are the checks

    monkeypatch.setattr(Occlusion, "_attribute", watched_attribute)
    monkeypatch.setattr(explanations, "write_attributions", watched_write)
    return watched


def stopped(folder, params, out, occluded):
    """Leave what a run leaves that is interrupted in the second batch of the last method."""
    occluded.stop_at = params.batch_size
    with pytest.raises(KeyboardInterrupt):
        explain(folder, params, out)
    assert not (folder / out).exists()
    occluded.stop_at, occluded.images = None, 0


def test_an_interrupted_run_goes_on_and_ends_as_one_in_one_piece(finished, convolutional, quick, occluded):
    stopped(convolutional, quick, "again", occluded)
    again = explain(convolutional, quick, "again")
    assert occluded.written == len(asked(again)) - quick.batch_size, "a batch was there already"
    for name in (*(f"attributions/{name}.npy" for name in quick.methods), "faithfulness.json", "on_galaxy.csv"):
        assert (again / EXPERIMENT / name).read_bytes() == (finished[0] / EXPERIMENT / name).read_bytes(), name
    assert [path.name for path in again.parent.glob(".again*")] == []
    assert [path.name for path in again.rglob(".*")] == []


def test_other_values_do_not_go_on_with_what_was_left(convolutional, quick, occluded):
    """A map by the old values among those by the new would be a result that nobody asked for."""
    stopped(convolutional, quick, "changed", occluded)
    hidden = quick.model_copy(update={"occlusion": quick.occlusion.model_copy(update={"hidden": "black"})})
    made = explain(convolutional, hidden, "changed")
    assert occluded.written == len(asked(made))


def test_a_model_without_convolution_is_explained_by_what_fits_it(transformer, quick):
    both = quick.model_copy(update={"methods": ("grad_cam", "attention_rollout", "occlusion")})
    made = explain(transformer, both) / EXPERIMENT
    assert list(storage.read_json(made / "faithfulness.json")["methods"]) == ["attention_rollout", "occlusion"]
    assert not (made / "attributions/grad_cam.npy").exists()
    page = (made / "report.html").read_text()
    assert "Attention rollout" in page
    assert "Grad-CAM" not in page


def test_no_method_that_fits_is_said_before_anything_is_computed(transformer, quick):
    only = quick.model_copy(update={"methods": ("grad_cam", "grad_cam_tv")})
    with pytest.raises(
        InputError, match=r"none of them fits vit.*occlusion fits every.*Received: grad_cam, grad_cam_tv"
    ):
        explain(transformer, only, "nothing")
    assert not (transformer / "nothing").exists()


def test_without_a_test_split_validation_is_explained(convolutional, quick, tmp_path):
    for name in ("data", "models"):
        (tmp_path / name).symlink_to(convolutional / name)
    predictions = of_split(convolutional, "validation")
    storage.write_table(tmp_path / "evaluation" / EXPERIMENT / "predictions.parquet", predictions)
    for name in (f"{EXPERIMENT}/metrics.json", "best.json"):
        storage.write_json(tmp_path / "evaluation" / name, storage.read_json(convolutional / "evaluation" / name))
    sample = quick.sample.model_copy(update={"cataids": (), "most_wrong": 0, "borderline": 0, "random": 0})
    made = explain(tmp_path, quick.model_copy(update={"sample": sample, "methods": ("grad_cam",)}))
    assert storage.read_json(made / EXPERIMENT / "faithfulness.json")["scored_split"] == "validation"
    assert asked(made)["CATAID"].isin(predictions["CATAID"]).all()
