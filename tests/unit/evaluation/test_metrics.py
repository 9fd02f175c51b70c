import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from galmorph.errors import InputError
from galmorph.evaluation.metrics import (
    CLASSES,
    OVERALL,
    PER_CLASS,
    Facts,
    calibration_bins,
    classification_report,
    evaluation_record,
    score,
)

FACTS = Facts(
    "cnn_raw", "regularised_cnn", "raw", 64, 0.6, {"weights": "none"}, "simulate", "d" * 64, "m" * 64, "p" * 64
)


def intervals(scores):
    """Every score that carries an interval, by name."""
    flat = {name: scores[name] for name in OVERALL}
    return flat | {f"{name} {label}": scores[name][label] for name in PER_CLASS for label in CLASSES}


@pytest.mark.parametrize("confidence", [1.0, 1.7])
def test_scores_equal_scikit_learns(draw, params, confidence):
    predictions = draw(700, seed=1, confidence=confidence)
    # Few distinct probabilities: equal ones must be taken together.
    predictions["p_elliptical"] = predictions["p_elliptical"].round(2)
    predictions["predicted"] = np.where(predictions["p_elliptical"] >= 0.5, "Elliptical", "Other")
    truth = (predictions["label"] == "Elliptical").to_numpy()
    p = predictions["p_elliptical"].to_numpy()
    scores = score(predictions, params)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        predictions["label"], predictions["predicted"], labels=list(CLASSES)
    )
    expected = {
        "loss": sklearn_metrics.log_loss(truth, np.clip(p, 2.0**-23, 1 - 2.0**-23)),
        "accuracy": sklearn_metrics.accuracy_score(predictions["label"], predictions["predicted"]),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(predictions["label"], predictions["predicted"]),
        "roc_auc": sklearn_metrics.roc_auc_score(truth, p),
        "pr_auc": sklearn_metrics.average_precision_score(truth, p),
        "brier": sklearn_metrics.brier_score_loss(truth, p),
    }
    for name, value in expected.items():
        assert scores[name]["value"] == pytest.approx(value, abs=1e-6), name
    for index, label in enumerate(CLASSES):
        assert scores["support"][label] == support[index]
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
            assert scores[name][label]["value"] == pytest.approx(values[index], abs=1e-6), (name, label)


def test_scores_by_hand(table, params):
    # Elliptical: right, right, wrong; Other: right, wrong.
    labels = ["Elliptical", "Elliptical", "Elliptical", "Other", "Other"]
    scores = score(table(labels, [0.9, 0.8, 0.3, 0.2, 0.6]), params)
    assert scores["n"] == 5
    assert scores["support"] == {"Elliptical": 3, "Other": 2}
    assert scores["accuracy"]["value"] == pytest.approx(3 / 5)
    assert scores["balanced_accuracy"]["value"] == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-6)
    assert scores["precision"]["Elliptical"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert scores["recall"]["Other"]["value"] == pytest.approx(1 / 2)
    assert scores["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.49 + 0.04 + 0.36) / 5)
    assert scores["loss"]["value"] == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.8, 0.4]).mean(), abs=1e-6)
    # Of the 3 × 2 pairs of an Elliptical and an Other, only (0.3, 0.6) is in the wrong order.
    assert scores["roc_auc"]["value"] == pytest.approx(5 / 6, abs=1e-6)


def test_calibration_error_by_hand(table, params):
    # Bin [0.6, 0.7): mean 0.65, both Elliptical: 0.35 off. Bin [0.1, 0.2): mean 0.125, 1 of 4 Elliptical: 0.125 off.
    labels = ["Elliptical", "Elliptical", "Elliptical", "Other", "Other", "Other"]
    scores = score(table(labels, [0.62, 0.68, 0.11, 0.12, 0.13, 0.14]), params)
    assert scores["ece"]["value"] == pytest.approx((2 * 0.35 + 4 * 0.125) / 6, abs=1e-6)


def test_ends_of_the_probability_range_are_in_the_outer_bins():
    assert calibration_bins(np.array([0.0, 0.0999, 0.1, 0.95, 1.0]), 10).tolist() == [0, 0, 1, 9, 9]


def test_a_saturated_wrong_answer_costs_the_same_on_either_side_and_is_finite(table, params):
    low = score(table(["Elliptical", "Other"], [0.0, 0.4]), params)["loss"]["value"]
    high = score(table(["Elliptical", "Other"], [0.6, 1.0]), params)["loss"]["value"]
    assert low == pytest.approx((np.log(2.0**23) - np.log(0.6)) / 2, abs=1e-5)
    assert high == pytest.approx(low, abs=1e-5)


def test_same_seed_same_intervals_whatever_the_order_of_rows(draw, params):
    predictions = draw(300, seed=2)
    predictions["p_elliptical"] = predictions["p_elliptical"].round(1)
    shuffled = predictions.sample(frac=1, random_state=0)
    assert score(predictions, params) == score(shuffled, params)


def test_another_seed_moves_the_intervals_and_not_the_values(draw, params):
    predictions = draw(300, seed=2)
    here = intervals(score(predictions, params))
    there = intervals(score(predictions, params.model_copy(update={"seed": 4})))
    assert all(here[name]["value"] == there[name]["value"] for name in here)
    assert here["accuracy"] != there["accuracy"]


def test_every_interval_holds_its_value_and_shrinks_with_more_galaxies(draw, params):
    few, many = (intervals(score(draw(n, seed=5, confidence=1.5), params)) for n in (150, 2400))
    for name in few:
        for scored in (few[name], many[name]):
            assert scored["low"] <= scored["value"] <= scored["high"], name
        # sqrt(2400 / 150) = 4
        width = {key: scored[name]["high"] - scored[name]["low"] for key, scored in (("few", few), ("many", many))}
        assert 2.5 < width["few"] / width["many"] < 6.5, name


def test_a_class_that_is_not_there(table, params):
    scores = score(table(["Other"] * 6, [0.1, 0.2, 0.3, 0.4, 0.6, 0.7]), params)
    nothing = {"value": None, "low": None, "high": None}
    for name in ("roc_auc", "pr_auc", "balanced_accuracy"):
        assert scores[name] == nothing
    assert scores["recall"]["Elliptical"] == nothing
    assert scores["recall"]["Other"]["value"] == pytest.approx(4 / 6, abs=1e-6)
    json.dumps(scores, allow_nan=False)


def test_a_class_that_is_never_answered_has_no_precision(table, params):
    scores = score(table(["Elliptical", "Other", "Other"], [0.1, 0.2, 0.3]), params)
    assert scores["precision"]["Elliptical"]["value"] is None
    assert scores["f1"]["Elliptical"]["value"] == 0


def test_no_error_among_fifty_is_no_proof_of_none(table, params):
    labels = ["Elliptical"] * 25 + ["Other"] * 25
    scores = score(table(labels, np.r_[np.linspace(0.7, 0.9, 25), np.linspace(0.1, 0.3, 25)]), params)
    assert scores["accuracy"] == {"value": 1.0, "low": None, "high": None}
    assert scores["roc_auc"] == {"value": 1.0, "low": None, "high": None}
    assert scores["loss"]["low"] is not None


def test_one_galaxy(table, params):
    scores = score(table(["Elliptical"], [0.8]), params)
    assert scores["accuracy"] == {"value": 1.0, "low": None, "high": None}
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("label", "Spiral", "galaxy 000001: label must be one of Elliptical, Other. Received: 'Spiral'"),
        ("predicted", None, "galaxy 000001: predicted must be one of"),
        ("split", "held-out", "split must be one of train, validation, test"),
        ("p_elliptical", np.nan, "galaxy 000001: p_elliptical must lie in"),
        ("p_elliptical", 1.5, "Received: .*1.5"),
        ("CATAID", "000000", "a galaxy is answered once"),
    ],
)
def test_a_table_that_is_not_one_of_predictions(draw, params, column, value, message):
    predictions = draw(5, seed=0)
    predictions.loc[1, column] = value
    with pytest.raises(InputError, match=message):
        score(predictions, params)


def test_missing_column(draw, params):
    with pytest.raises(InputError, match="the column p_elliptical is missing"):
        score(draw(5, seed=0).drop(columns="p_elliptical"), params)


def test_scores_are_of_one_split_with_galaxies(draw, params):
    predictions = draw(6, seed=0)
    with pytest.raises(InputError, match="Received: no galaxies"):
        score(predictions[:0], params)
    predictions.loc[0, "split"] = "validation"
    with pytest.raises(InputError, match="Received: test, validation"):
        score(predictions, params)


def both_splits(draw):
    validation = draw(80, seed=1, split="validation").assign(CATAID=lambda t: "v" + t["CATAID"])
    train = draw(10, seed=3, split="train").assign(CATAID=lambda t: "t" + t["CATAID"])
    return pd.concat([draw(60, seed=2), validation, train], ignore_index=True)


def test_record_of_an_evaluation(draw, params):
    record = evaluation_record(FACTS, both_splits(draw), params)
    assert record["experiment"] == "cnn_raw"
    assert (record["image_size"], record["crop"], record["data_digest"]) == (64, 0.6, "d" * 64)
    assert (record["split_method"], record["scored_split"]) == ("stable", "test")
    assert (record["validation"]["n"], record["test"]["n"]) == (80, 60)
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_record_without_a_test_split_says_that_validation_was_scored(draw, params):
    predictions = both_splits(draw)
    record = evaluation_record(FACTS, predictions[predictions["split"] != "test"], params)
    assert (record["split_method"], record["scored_split"], record["test"]) == ("published", "validation", None)


def test_report_has_scikit_learns_layout(table):
    report = classification_report(table(["Elliptical", "Elliptical", "Other"], [0.9, 0.2, 0.1]))
    assert report.splitlines()[0].split() == ["precision", "recall", "f1-score", "support"]
    (elliptical,) = (line.split() for line in report.splitlines() if "Elliptical" in line)
    assert elliptical == ["Elliptical", "1.0000", "0.5000", "0.6667", "2"]
    assert "weighted avg" in report


def test_report_of_one_class_warns_of_nothing_and_says_nan(table):
    (elliptical,) = (
        line.split()
        for line in classification_report(table(["Other", "Other"], [0.2, 0.1])).splitlines()
        if "Elliptical" in line
    )
    assert elliptical == ["Elliptical", "nan", "nan", "nan", "0"]
