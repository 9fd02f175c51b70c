import pytest

from galmorph.evaluation.metrics import CLASSES
from galmorph.evaluation.published import published
from galmorph.params import Architecture, Variant


def scored():
    return [row for row in published().rows if "accuracy" in row.scores]


def test_the_twelve_experiments_of_the_study():
    assert len(published().rows) == 12
    assert len(scored()) == 11


@pytest.mark.parametrize("row", published().rows, ids=lambda row: row.experiment)
def test_names_are_ours(row):
    assert row.architecture in Architecture.__args__
    assert row.variant in Variant.__args__
    assert row.experiment.startswith(row.architecture)
    assert row.experiment.endswith(f"_{row.variant}")


@pytest.mark.parametrize("row", scored(), ids=lambda row: row.experiment)
def test_numbers_agree_with_each_other(row):
    accuracy = row.scores["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    # One standard error at n = 1,180 is about 0.8 points where 92 % are right.
    assert accuracy["high"] - accuracy["low"] == pytest.approx(
        2 * 1.96 * (accuracy["value"] * (1 - accuracy["value"]) / 1180) ** 0.5, rel=0.01
    )
    if "f1" not in row.scores:
        return
    for label in CLASSES:
        precision, recall, f1 = (row.scores[name][label]["value"] for name in ("precision", "recall", "f1"))
        # All three were rounded to two digits.
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.0101)
    support = row.scores["support"]
    if support["Other"] is not None:
        assert sum(support.values()) == row.scores["n"] == 1180
        found = sum(support[label] * row.scores["recall"][label]["value"] for label in CLASSES)
        assert found / 1180 == pytest.approx(accuracy["value"], abs=0.006)


def test_what_is_known_of_a_row_is_told():
    notes = published().notes()
    assert any("without a test set" in note for note in notes)
    assert any(note.startswith("vit_raw: ") for note in notes)
