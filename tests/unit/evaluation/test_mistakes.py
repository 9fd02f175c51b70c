import numpy as np
import pytest

from galmorph.data.montage import as_array
from galmorph.evaluation.mistakes import confident_mistakes, mistakes_figure

LABELS = ["Elliptical", "Elliptical", "Other", "Other", "Elliptical"]


@pytest.fixture
def predictions(table):
    return {
        "chosen": table(LABELS, [0.10, 0.90, 0.95, 0.55, 0.02]),  # wrong: 4 (surest), 2, 0, 3
        "second": table(LABELS, [0.90, 0.90, 0.95, 0.05, 0.02]),  # wrong: 2, 4
        "third": table(LABELS, [0.90, 0.20, 0.45, 0.05, 0.40]),  # wrong: 1, 4
    }


def test_the_surest_mistakes_come_first_with_who_else_makes_them(predictions):
    found = confident_mistakes(predictions, "chosen", 10)
    assert found["CATAID"].tolist() == ["000004", "000002", "000000", "000003"]
    assert found["wrong"].tolist() == [3, 2, 1, 1]
    assert found["also_wrong"].tolist() == ["second, third", "second", "", ""]
    assert set(found["of"]) == {3}
    assert found.iloc[0][["label", "predicted", "p_elliptical"]].tolist() == ["Elliptical", "Other", 0.02]


def test_no_more_than_asked_for(predictions):
    assert confident_mistakes(predictions, "chosen", 2)["CATAID"].tolist() == ["000004", "000002"]
    assert confident_mistakes(predictions, "chosen", 0).empty


def test_of_equally_sure_ones_the_first_id_comes_first_whatever_the_order(table):
    rows = table(["Other"] * 3, [0.9, 0.9, 0.1]).iloc[::-1]
    assert confident_mistakes({"one": rows}, "one", 5)["CATAID"].tolist() == ["000000", "000001"]


def test_the_sheet_shows_every_mistake(predictions):
    found = confident_mistakes(predictions, "chosen", 4)
    images = [np.full((40, 30, 3), 60 * number, np.uint8) for number in range(1, 5)]
    drawn = as_array(mistakes_figure(found, images, "Mistakes"))
    for number in range(1, 5):
        assert (drawn == 60 * number).all(-1).sum() > 500
