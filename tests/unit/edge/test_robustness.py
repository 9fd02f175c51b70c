"""Robustness as a stage, on a model that reads nothing but the mean brightness."""

import mlflow
import numpy as np
import pandas as pd
import pytest

from galmorph import stages, storage
from galmorph.edge.altered import degraded_views
from galmorph.errors import InputError, ModelError
from galmorph.evaluation.degrade import Setting, settings
from tests.evaluated import EXPERIMENT, MEDIAN, PREPROCESS, make

pytestmark = pytest.mark.usefixtures("tracking_store")


@pytest.fixture
def robustness_params(params):
    grids = {"zoom": (0.8, 1.5), "rotation": (90.0,), "brightness": (0.2,), "noise": (4.0,), "blur": (1.0,)}
    grids |= {"jpeg": (90,), "padding": (1.5,)}
    return params.robustness.model_copy(update={**grids, "galaxies": 24, "bootstrap": 100})


def evaluated(folder, variant):
    """What evaluate and compare leave, with the model's true answers."""
    from galmorph.edge.images import prepared_images
    from galmorph.edge.scoring import predictions_table
    from galmorph.models.predict import predict_logits
    from galmorph.models.saved import load_model

    splits = storage.read_table(folder / "data/splits.parquet")
    images = folder / ("data/raw/images" if variant == "raw" else "data/variants/median")
    prepared = prepared_images(images, splits["CATAID"], PREPROCESS, "reading")
    model, _ = load_model(folder / "models" / EXPERIMENT / "model.keras")
    made = folder / "evaluation" / EXPERIMENT
    storage.write_table(made / "predictions.parquet", predictions_table(splits, *predict_logits(model, prepared, 16)))
    storage.write_json(made / "metrics.json", {"scored_split": "test"})
    storage.write_json(folder / "evaluation/best.json", {"experiment": EXPERIMENT, "variant": variant})


def robustness(folder, params):
    stages.robustness(
        best=folder / "evaluation/best.json",
        models=folder / "models",
        evaluations=folder / "evaluation",
        raw=folder / "data/raw",
        variants=folder / "data/variants",
        robustness=folder / "robustness",
        params=params,
    )
    return storage.read_json(folder / "robustness/metrics.json")


@pytest.mark.parametrize("variant", ["raw", "median"])
def test_a_model_that_reads_brightness_stands_turning_and_not_dimming(tmp_path, params, robustness_params, variant):
    folder = make(tmp_path, params.validate_, variant)
    evaluated(folder, variant)
    found = robustness(folder, robustness_params)
    assert (found["experiment"], found["scored_split"], found["n"]) == (EXPERIMENT, "test", 24)
    assert found["model_digest"] == storage.digest_file(folder / "models" / EXPERIMENT / "model.keras")
    assert found["undegraded"]["accuracy"]["value"] == 1
    assert found["rotation"]["90"]["difference"]["value"] == 0
    assert found["jpeg"]["90"]["accuracy"]["value"] == 1
    # Everything is darker than any of the Other it was made for: none is answered Elliptical any more.
    assert found["brightness"]["0.2"]["accuracy"]["value"] == 0.5
    curves = pd.read_csv(folder / "robustness/curves.csv")
    assert curves["setting"].tolist() == [setting.name for setting in settings(robustness_params)]
    assert (folder / "robustness/curves.png").stat().st_size > 10_000
    run = mlflow.last_active_run()
    assert run.data.metrics["robustness_brightness_0.2"] == 0.5
    assert run.data.metrics["robustness_undegraded"] == 1
    names = {item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "robustness")}
    assert names == {f"robustness/{name}" for name in ("curves.csv", "curves.png", "metrics.json")}


def test_predictions_of_other_images_are_found_out(tmp_path, params, robustness_params):
    folder = make(tmp_path, params.validate_)
    evaluated(folder, "raw")
    file = folder / "evaluation" / EXPERIMENT / "predictions.parquet"
    table = storage.read_table(file)
    storage.write_table(file, table.assign(p_elliptical=1 - table["p_elliptical"]))
    with pytest.raises(ModelError, match=r"do not belong together.*dvc repro.*Received: p_elliptical 0\.\d+ apart"):
        robustness(folder, robustness_params)
    assert not (folder / "robustness").exists()


def test_a_card_that_does_not_tell_the_denoiser(tmp_path, params, robustness_params):
    folder = make(tmp_path, params.validate_, "median")
    evaluated(folder, "median")
    card = folder / "data/variants/median.json"
    told = storage.read_json(card)
    assert told["denoiser"] == {"kernel": 3}
    storage.write_json(card, {key: value for key, value in told.items() if key != "denoiser"})
    with pytest.raises(InputError, match=r"median.json: does not tell.*galmorph denoise median.*Received: None"):
        robustness(folder, robustness_params)


def test_the_denoiser_comes_after_the_noise(tmp_path):
    random = np.random.default_rng(0)
    raw = np.clip(random.normal(60, 2, (48, 48, 3)), 0, 255).astype(np.uint8)
    storage.write_image(tmp_path / "a.png", raw)
    asked = [Setting("noise", 30.0)]
    (plain,) = degraded_views(tmp_path, ["a"], asked, None, PREPROCESS, 1)
    (denoised,) = degraded_views(tmp_path, ["a"], asked, MEDIAN, PREPROCESS, 1)
    assert plain.shape == denoised.shape == (2, 16, 16, 3)
    assert denoised[1].std() < 0.8 * plain[1].std()
