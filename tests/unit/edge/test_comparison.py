import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from galmorph import stages, storage
from galmorph.edge.comparison import thumbnail
from galmorph.errors import InputError
from galmorph.evaluation.metrics import Facts, evaluation_record
from galmorph.params import CompareStageParams, ScoreParams, read_values

EVALUATE = ScoreParams(batch_size=8, bootstrap=50, confidence=0.95, seed=3, calibration_bins=10)
RECIPE = {
    "weights": "none", "phases": ["scratch"], "epochs": [12], "augmentation": None, "class_weights": True,
}  # fmt: skip
COMPLEXITY = {
    "layers": {"Conv2D": 3}, "parameters": {"total": 1000, "trainable": 900}, "flops": 5000,
    "images_per_second": 20.0, "batch_size": 8, "device": "CPU", "threads": 1,
}  # fmt: skip
RAW, MEDIAN = "regularised_cnn_raw", "regularised_cnn_median"
VALUES = read_values(Path(__file__).parents[3] / "params.yaml")
COMPARE = CompareStageParams.model_validate(
    {
        "compare": {**VALUES["compare"], "mistakes": 4},
        "evaluate": {**VALUES["evaluate"], "bootstrap": 50},
        "register": {
            "model": "galmorph",
            "architecture": "any",
            "alias": "challenger",
            "batch_size": 8,
            "max_pixels": 10_000,
        },
        "experiments": {
            name: {"architecture": "regularised_cnn", "variant": variant, "phases": ["scratch"], "overrides": {}}
            for name, variant in ((RAW, "raw"), (MEDIAN, "median"))
        },
    }
)


def predictions(right, drop=0, swapped=False):
    """40 galaxies, the first `right` of each split answered rightly, or the last."""
    rows = [
        (f"{split[0]}{index:03d}", split, label, 0.8 if (label == "Elliptical") == (place < right) else 0.2)
        for split in ("validation", "test")
        for index in range(20)
        for place in [19 - index if swapped else index]
        for label in [("Elliptical", "Other")[index % 2]]
    ]
    table = pd.DataFrame(rows[drop:], columns=["CATAID", "split", "label", "p_elliptical"])
    answered = table["p_elliptical"].ge(0.5).map({True: "Elliptical", False: "Other"})
    return table.assign(logit=table["p_elliptical"], predicted=answered)


def write(folder, name, table, model="m" * 64):
    file = folder / name / "predictions.parquet"
    storage.write_table(file, table)
    digest = storage.digest_file(file)
    facts = Facts(name, "regularised_cnn", name.rsplit("_", 1)[1], 64, 0.6, RECIPE, "simulate", "d" * 64, model, digest)
    storage.write_json(folder / name / "metrics.json", evaluation_record(facts, table, EVALUATE))
    storage.write_json(folder / name / "complexity.json", COMPLEXITY)
    storage.write_json(
        folder / "records" / f"{name}.json",
        {"experiment": name, "predictions_digest": digest, "model_digest": model},
    )


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, RAW, predictions(right=14))
    write(tmp_path, MEDIAN, predictions(right=17))
    for number, cataid in enumerate(predictions(right=0)["CATAID"]):
        storage.write_image(tmp_path / "raw/images" / f"{cataid}.png", np.full((300, 200, 3), number, np.uint8))
    return tmp_path


OUTPUTS = ("leaderboard.html", "complexity.csv", "mistakes.png", "best.json")


def compare(folder, params=COMPARE):
    outputs = [folder / name for name in OUTPUTS]
    stages.compare(folder, folder / "records", folder / "raw", *outputs, params)


def test_leaderboard_and_best_are_written(folder):
    compare(folder)
    assert storage.read_json(folder / "best.json")["experiment"] == MEDIAN
    table = storage.read_table(folder / "leaderboard.csv")
    assert table[table["source"] == "galmorph"]["experiment"].tolist() == [MEDIAN, RAW]
    assert MEDIAN in (folder / "leaderboard.md").read_text()
    assert "<!doctype html>" in (folder / "leaderboard.html").read_text()


def test_same_input_same_bytes(folder):
    compare(folder)
    names = [*OUTPUTS, "leaderboard.md", "leaderboard.csv", "mistakes.csv"]
    before = [(folder / name).read_bytes() for name in names]
    compare(folder)
    assert [(folder / name).read_bytes() for name in names] == before


def test_experiments_that_are_no_longer_in_the_file_are_passed_over(folder):
    write(folder, "old_raw", predictions(right=20))
    compare(folder)
    assert "old_raw" not in (folder / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    "missing", ["{name}/metrics.json", "{name}/predictions.parquet", "{name}/complexity.json", "records/{name}.json"]
)
def test_an_experiment_that_was_not_evaluated(folder, missing):
    path = folder / missing.format(name=MEDIAN)
    path.unlink()
    with pytest.raises(InputError, match=f"{path}.*galmorph evaluate {MEDIAN}.*dvc repro"):
        compare(folder)
    assert not (folder / "best.json").exists()


def test_predictions_that_are_not_the_recorded_ones(folder):
    storage.write_table(folder / RAW / "predictions.parquet", predictions(right=15))
    with pytest.raises(InputError, match=f"{RAW}/predictions.parquet: not what .*predictions_digest.*evaluate {RAW}"):
        compare(folder)


def test_metrics_of_another_model(folder):
    metrics = storage.read_json(folder / RAW / "metrics.json")
    storage.write_json(folder / RAW / "metrics.json", {**metrics, "model_digest": "x" * 64})
    with pytest.raises(InputError, match=f"{RAW}/metrics.json: not what .*model_digest.*Received: xxx"):
        compare(folder)


def test_metrics_that_are_not_the_recorded_ones(folder):
    record = folder / "records" / f"{RAW}.json"
    digest = storage.digest_file(folder / RAW / "metrics.json")
    storage.write_json(record, {**storage.read_json(record), "metrics_digest": digest})
    compare(folder)
    metrics = storage.read_json(folder / RAW / "metrics.json")
    storage.write_json(folder / RAW / "metrics.json", {**metrics, "crop": 0.7})
    with pytest.raises(InputError, match=f"{RAW}/metrics.json: not what .*metrics_digest"):
        compare(folder)


def test_experiments_scored_on_different_galaxies(folder):
    write(folder, MEDIAN, predictions(right=17, drop=1))
    with pytest.raises(InputError, match=f"other galaxies.*experiment {RAW}.*Received: 39 galaxies against 40"):
        compare(folder)


def test_training_galaxies_in_one_table_do_not_matter(folder):
    more = (
        predictions(right=17).query("split == 'test'").assign(split="train", CATAID=lambda rows: "n" + rows["CATAID"])
    )
    write(folder, MEDIAN, pd.concat([predictions(right=17), more], ignore_index=True))
    compare(folder)
    assert storage.read_json(folder / "best.json")["experiment"] == MEDIAN


def test_the_others_are_tested_against_the_chosen_one_on_test(folder):
    compare(folder)
    ours = storage.read_table(folder / "leaderboard.csv").query("source == 'galmorph'").set_index("experiment")
    # Of 20 test galaxies 17 and 14 are right, the 14 among the 17.
    assert ours.loc[RAW, ["reference", "b", "c"]].tolist() == [MEDIAN, 3, 0]
    assert ours.loc[RAW, "p_mcnemar"] == 0.25
    assert pd.isna(ours.loc[MEDIAN, "reference"])
    assert "tied with it" in (folder / "leaderboard.md").read_text()


def test_the_reference_may_be_named(folder):
    named = COMPARE.model_copy(update={"compare": COMPARE.compare.model_copy(update={"reference": RAW})})
    compare(folder, named)
    ours = storage.read_table(folder / "leaderboard.csv").query("source == 'galmorph'").set_index("experiment")
    assert ours.loc[MEDIAN, ["reference", "b", "c"]].tolist() == [RAW, 0, 3]
    assert storage.read_json(folder / "best.json")["experiment"] == MEDIAN


def test_the_choice_says_what_the_galaxies_leave_open(folder):
    write(folder, RAW, predictions(right=16, swapped=True))  # one fewer, and other ones
    compare(folder)
    best = storage.read_json(folder / "best.json")
    assert (best["experiment"], best["tied"], best["indistinguishable"]) == (MEDIAN, [], [RAW])
    difference = best["differences"][RAW]
    # One more of 20 galaxies is wrong, which costs log(0.8) - log(0.2).
    assert difference["value"] == pytest.approx(np.log(4) / 20, abs=1e-5)
    assert difference["low"] < 0 < difference["high"]


def test_complexity_and_mistakes_are_written(folder):
    compare(folder)
    complexity = storage.read_table(folder / "complexity.csv")
    assert complexity["experiment"].tolist() == [MEDIAN, RAW]
    assert complexity["parameters"].tolist() == [1000, 1000]
    mistakes = storage.read_table(folder / "mistakes.csv")
    assert mistakes["CATAID"].tolist() == ["t017", "t018", "t019"]
    assert mistakes["also_wrong"].tolist() == [RAW] * 3
    with Image.open(folder / "mistakes.png") as drawn:
        assert min(drawn.size) > 100
    page = (folder / "leaderboard.html").read_text()
    assert page.count('<img src="data:image/jpeg') == 3


def test_a_timing_decides_nothing(folder):
    """Images per second differ from run to run: what later stages depend on must not."""
    compare(folder)
    before = (folder / "best.json").read_bytes()
    storage.write_json(folder / RAW / "complexity.json", {**COMPLEXITY, "images_per_second": 21.0})
    compare(folder)
    assert (folder / "best.json").read_bytes() == before


@pytest.mark.parametrize(("shape", "size"), [((300, 200), (160, 240)), ((30, 60), (60, 30)), ((1, 900), (240, 1))])
def test_thumbnails_are_small_and_keep_their_shape(shape, size):
    encoded = thumbnail(np.full((*shape, 3), (200, 100, 0), np.uint8))
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.size == size
        np.testing.assert_allclose(np.asarray(image)[0, 0], (200, 100, 0), atol=4)


def test_a_galaxy_without_its_image_is_named(folder):
    (folder / "raw/images/t017.png").unlink()
    with pytest.raises(InputError, match=r"t017\.png: no such file"):
        compare(folder)
    assert not (folder / "leaderboard.html").exists()
