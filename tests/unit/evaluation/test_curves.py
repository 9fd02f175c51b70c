import pytest
from sklearn.metrics import auc

from galmorph.evaluation.curves import calibration_curve, confusion_matrix, confusion_rows, roc_curve
from galmorph.evaluation.metrics import score


def test_roc_curve_by_hand(table):
    curve = roc_curve(table(["Elliptical", "Other", "Elliptical", "Other"], [0.9, 0.7, 0.6, 0.1]))
    assert curve["false_positive_rate"].tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve["true_positive_rate"].tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve["threshold"].isna().tolist() == [True, False, False, False, False]


def test_area_under_the_curve_is_the_score(draw, params):
    predictions = draw(300, seed=1)
    curve = roc_curve(predictions)
    area = auc(curve["false_positive_rate"], curve["true_positive_rate"])
    assert area == pytest.approx(score(predictions, params)["roc_auc"]["value"], abs=1e-6)


def test_no_roc_curve_for_one_class(table):
    curve = roc_curve(table(["Other", "Other"], [0.2, 0.3]))
    assert list(curve) == ["false_positive_rate", "true_positive_rate", "threshold"]
    assert curve.empty


def test_calibration_curve_by_hand(table):
    labels = ["Elliptical", "Other", "Elliptical", "Elliptical"]
    curve = calibration_curve(table(labels, [0.62, 0.68, 1.0, 0.95]), 10)
    assert curve["n"].tolist() == [2, 2]
    assert curve["from"].tolist() == [0.6, 0.9]
    assert curve["to"].tolist() == [0.7, 1.0]
    assert curve["mean_predicted"].tolist() == pytest.approx([0.65, 0.975])
    assert curve["observed"].tolist() == [0.5, 1.0]


def test_calibration_curve_adds_up_to_the_error(draw, params):
    predictions = draw(300, seed=1, confidence=2)
    curve = calibration_curve(predictions, params.calibration_bins)
    gaps = (curve["mean_predicted"] - curve["observed"]).abs()
    assert (curve["n"] * gaps).sum() / 300 == pytest.approx(score(predictions, params)["ece"]["value"], abs=1e-6)


def test_confusion_is_by_label_then_answer(table):
    predictions = table(["Elliptical", "Elliptical", "Other"], [0.9, 0.2, 0.1])
    assert confusion_matrix(predictions).tolist() == [[1, 1], [0, 1]]
    assert confusion_rows(predictions).to_dict("records") == [
        {"actual": "Elliptical", "predicted": "Elliptical"},
        {"actual": "Elliptical", "predicted": "Other"},
        {"actual": "Other", "predicted": "Other"},
    ]


def test_confusion_of_one_class_is_square(table):
    assert confusion_matrix(table(["Other", "Other"], [0.2, 0.3])).tolist() == [[0, 0], [0, 2]]
