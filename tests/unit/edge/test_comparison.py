import pandas as pd
import pytest

from galmorph import stages, storage
from galmorph.errors import InputError
from galmorph.evaluation.metrics import Facts, evaluation_record
from galmorph.params import CompareStageParams, EvaluateParams

EVALUATE = EvaluateParams(batch_size=8, bootstrap=50, confidence=0.95, seed=3, calibration_bins=10)
RECIPE = {
    "weights": "none", "phases": ["scratch"], "epochs": [12], "augmentation": None, "class_weights": True,
}  # fmt: skip
RAW, MEDIAN = "regularised_cnn_raw", "regularised_cnn_median"
COMPARE = CompareStageParams.model_validate(
    {
        "compare": {"select_by": "loss"},
        "register": {"model": "galmorph", "architecture": "any", "alias": "challenger"},
        "experiments": {
            name: {"architecture": "regularised_cnn", "variant": variant, "phases": ["scratch"], "overrides": {}}
            for name, variant in ((RAW, "raw"), (MEDIAN, "median"))
        },
    }
)


def predictions(right, drop=0):
    """40 galaxies, the first `right` of each split answered rightly."""
    rows = [
        (f"{split[0]}{index:03d}", split, label, 0.8 if (label == "Elliptical") == (index < right) else 0.2)
        for split in ("validation", "test")
        for index in range(20)
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
    storage.write_json(
        folder / "records" / f"{name}.json",
        {"experiment": name, "predictions_digest": digest, "model_digest": model},
    )


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, RAW, predictions(right=14))
    write(tmp_path, MEDIAN, predictions(right=17))
    return tmp_path


def compare(folder):
    stages.compare(folder, folder / "records", folder / "leaderboard.html", folder / "best.json", COMPARE)


def test_leaderboard_and_best_are_written(folder):
    compare(folder)
    assert storage.read_json(folder / "best.json")["experiment"] == MEDIAN
    table = storage.read_table(folder / "leaderboard.csv")
    assert table[table["source"] == "galmorph"]["experiment"].tolist() == [MEDIAN, RAW]
    assert MEDIAN in (folder / "leaderboard.md").read_text()
    assert "<!doctype html>" in (folder / "leaderboard.html").read_text()


def test_same_input_same_bytes(folder):
    compare(folder)
    names = ["leaderboard.html", "leaderboard.md", "leaderboard.csv", "best.json"]
    before = [(folder / name).read_bytes() for name in names]
    compare(folder)
    assert [(folder / name).read_bytes() for name in names] == before


def test_experiments_that_are_no_longer_in_the_file_are_passed_over(folder):
    write(folder, "old_raw", predictions(right=20))
    compare(folder)
    assert "old_raw" not in (folder / "leaderboard.md").read_text()


@pytest.mark.parametrize("missing", ["{name}/metrics.json", "{name}/predictions.parquet", "records/{name}.json"])
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
