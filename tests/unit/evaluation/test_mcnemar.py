import math

import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.evaluation.mcnemar import compare_with, holm, mcnemar, paired_differences, score_differences
from galmorph.evaluation.metrics import galaxy_losses, score


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 · (1/2)
        (5, 0, 2 / 32),  # 2 · (1/2)^5
        (0, 5, 2 / 32),
        (1, 7, 2 * (1 + 8) / 256),  # 2 · (C(8,0) + C(8,1)) / 2^8
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (4, 4, 1.0),
        (59, 6, 2 * sum(math.comb(65, k) for k in range(7)) / 2**65),
    ],
)
def test_p_is_the_binomial_one(b, c, p):
    assert mcnemar(b, c) == pytest.approx(p, rel=1e-9)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04 -> never falling: 0.06 stays.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def answers(table, wrong, n=40):
    """`n` galaxies, those in `wrong` answered wrongly."""
    labels = np.array(["Elliptical", "Other"])[np.arange(n) % 2]
    right = ~np.isin(np.arange(n), list(wrong))
    return table(labels, np.where((labels == "Elliptical") == right, 0.8, 0.2))


@pytest.fixture
def predictions(table):
    return {
        "reference": answers(table, range(3)),
        "alike": answers(table, range(2, 5)),  # 0, 1 gained; 3, 4 lost
        "worse": answers(table, range(1, 15)),  # 0 gained; 3 to 14 lost
        "same": answers(table, range(3)),
    }


def test_discordant_galaxies_are_counted(predictions, params):
    found = compare_with("reference", predictions, params)
    assert {name: (one.b, one.c) for name, one in found.items()} == {"alike": (2, 2), "worse": (12, 1), "same": (0, 0)}
    assert {one.n for one in found.values()} == {40}
    assert {one.reference for one in found.values()} == {"reference"}
    assert found["worse"].p == pytest.approx(2 * (1 + 13) / 2**13, rel=1e-5)
    assert found["worse"].p_holm == pytest.approx(3 * found["worse"].p, rel=1e-5)
    assert {name: one.told_apart for name, one in found.items()} == {"alike": False, "worse": True, "same": False}


def test_the_correction_decides(predictions, table, params):
    # 7 to 1: p = 18/256 = 0.0703; 9 to 1: p = 22/1024 = 0.0215, which three comparisons make 0.0645.
    one = {"reference": predictions["reference"], "worse": answers(table, [1, 2, *range(3, 12)])}
    alone = compare_with("reference", one, params)["worse"]
    assert (alone.b, alone.c, alone.told_apart) == (9, 1, True)
    among = compare_with("reference", {**predictions, "worse": one["worse"]}, params)["worse"]
    assert among.p_holm == pytest.approx(3 * 22 / 1024, rel=1e-5)
    assert not among.told_apart


def test_differences_are_of_accuracy_with_a_paired_interval(predictions, params):
    found = compare_with("reference", predictions, params)
    assert found["worse"].difference["value"] == pytest.approx(-11 / 40)
    assert -0.45 < found["worse"].difference["low"] < -11 / 40 < found["worse"].difference["high"] < -0.1
    alike = found["alike"].difference
    assert (alike["value"], alike["low"] < 0 < alike["high"]) == (0.0, True)
    # No galaxy is answered differently, so no resample can tell anything.
    assert found["same"].difference == {"value": 0.0, "low": None, "high": None}


def test_a_paired_interval_is_narrower_than_unpaired_ones(predictions, params):
    paired = compare_with("reference", predictions, params)["alike"].difference
    single = [score(predictions[name], params)["accuracy"] for name in ("reference", "alike")]
    unpaired = np.hypot(*[one["high"] - one["low"] for one in single])
    assert paired["high"] - paired["low"] < unpaired


def test_the_order_of_rows_and_experiments_changes_nothing(predictions, params):
    shuffled = {name: table.sample(frac=1, random_state=1) for name, table in reversed(predictions.items())}
    assert compare_with("reference", shuffled, params) == compare_with("reference", predictions, params)


@pytest.mark.parametrize("by", ["loss", "accuracy"])
def test_differences_of_scores_are_the_scores_differences(draw, params, by):
    first, second = draw(200, 1), draw(200, 1, confidence=3.0)
    found = score_differences("first", {"first": first, "second": second}, by, params)["second"]
    expected = score(second, params)[by]["value"] - score(first, params)[by]["value"]
    assert found["value"] == pytest.approx(expected, abs=2e-6)
    assert by == "accuracy" or found["low"] < found["value"] < found["high"]


def test_losses_of_galaxies_add_up_to_the_loss(draw, params):
    table = draw(150, 4)
    assert galaxy_losses(table).mean() == pytest.approx(score(table, params)["loss"]["value"], abs=1e-6)


def test_the_interval_holds_the_truth_as_often_as_it_says(params):
    random = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        drawn = random.choice([-1.0, 0.0, 1.0], size=120, p=[0.15, 0.8, 0.05])
        found = paired_differences({"one": drawn}, params.model_copy(update={"bootstrap": 200}))["one"]
        held += found["low"] <= -0.1 <= found["high"]
    assert 0.88 <= held / 200 <= 0.99


def test_other_galaxies_cannot_be_paired(predictions, params):
    predictions["alike"] = predictions["alike"].iloc[1:]
    with pytest.raises(InputError, match=r"alike and reference were not scored on the same.*Received: 39 .*40"):
        compare_with("reference", predictions, params)


def test_an_unknown_reference_lists_the_known(predictions, params):
    with pytest.raises(InputError, match=r"compare\.reference.*Received: resnet50_raw"):
        compare_with("resnet50_raw", predictions, params)


def test_nothing_to_compare_with(predictions, params):
    assert compare_with("reference", {"reference": predictions["reference"]}, params) == {}
