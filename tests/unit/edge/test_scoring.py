"""Evaluate as a stage, on a model that reads nothing but the sky."""

import logging

import pytest

from galmorph import stages, storage
from galmorph.errors import ParamsError
from tests.evaluated import EXPERIMENT, cutout, make, seen_mean

pytestmark = pytest.mark.usefixtures("tracking_store")


@pytest.fixture
def evaluate_params(params):
    evaluate = params.evaluate
    slices = evaluate.slices.model_copy(update={"columns": ("field",), "min_galaxies": 4})
    shortcuts = evaluate.shortcuts.model_copy(update={"galaxies": 30})
    return evaluate.model_copy(update={"bootstrap": 100, "slices": slices, "shortcuts": shortcuts})


def evaluate(folder, params):
    stages.evaluate(
        model=folder / "models" / EXPERIMENT,
        splits=folder / "data/splits.parquet",
        manifest=folder / "data/manifest.parquet",
        images=folder / "data/raw/images",
        card=folder / "data/variants/raw.json",
        evaluation=folder / "evaluation" / EXPERIMENT,
        record=folder / "evaluation/records" / f"{EXPERIMENT}.json",
        params=params,
        each=EXPERIMENT,
    )
    return storage.read_json(folder / "evaluation" / EXPERIMENT / "metrics.json")


def test_a_model_that_reads_the_sky_is_right_and_flagged(tmp_path, params, evaluate_params, caplog):
    folder = make(tmp_path, params.validate_)
    with caplog.at_level(logging.WARNING):
        metrics = evaluate(folder, evaluate_params)
    assert metrics["test"]["accuracy"]["value"] == 1
    assert metrics["temperature"] == 2.0
    shortcuts = metrics["shortcuts"]
    assert (shortcuts["n"], shortcuts["not_found"]) == (30, 0)
    assert shortcuts["without_galaxy"]["warning"]
    assert shortcuts["without_galaxy"]["roc_auc"]["value"] == 1
    assert [text for text in caplog.messages if "the model has a shortcut outside the galaxy" in text]
    assert set(metrics["slices"]) == {"apparent size", "brightness", "field"}
    assert {name: part["n"] for name, part in metrics["slices"]["field"].items()} == {"north": 10, "south": 22}
    made = folder / "evaluation" / EXPERIMENT
    table = storage.read_table(made / "slices.csv")
    assert table["n"].sum() == 3 * 32
    for name in ("slices", "shortcuts", "roc"):
        assert (made / "figures" / f"{name}.png").stat().st_size > 5_000
    record = storage.read_json(folder / "evaluation/records" / f"{EXPERIMENT}.json")
    assert record["metrics_digest"] == storage.digest_file(made / "metrics.json")


def test_a_second_run_writes_the_same(tmp_path, params, evaluate_params):
    folder = make(tmp_path, params.validate_)
    assert evaluate(folder, evaluate_params) == evaluate(folder, evaluate_params)


def test_a_column_that_is_not_there_leaves_no_evaluation(tmp_path, params, evaluate_params):
    folder = make(tmp_path, params.validate_)
    slices = evaluate_params.slices.model_copy(update={"columns": ("survey",)})
    with pytest.raises(ParamsError, match=r"no column survey\. Known: .*field"):
        evaluate(folder, evaluate_params.model_copy(update={"slices": slices}))
    assert not (folder / "evaluation" / EXPERIMENT).exists()


def test_the_reference_is_of_the_scored_galaxies_as_the_model_sees_them(tmp_path, params, evaluate_params):
    folder = make(tmp_path, params.validate_)
    evaluate(folder, evaluate_params)
    known = storage.read_json(folder / "evaluation" / EXPERIMENT / "reference.json")
    assert (known["split"], known["galaxies"]) == ("test", 32)
    brightness = known["quantities"]["brightness"]
    assert sum(brightness["counts"]) == 32
    means = [seen_mean(cutout(label, seed), "raw") for label, seed in ((True, 20), (False, 21))]
    # Ellipticals lie on a brighter sky: the edges are between the two classes' levels.
    assert means[1] - 2 < brightness["edges"][0] < brightness["edges"][-1] < means[0] + 2
