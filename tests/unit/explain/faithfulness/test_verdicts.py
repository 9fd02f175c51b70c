import numpy as np
import pytest

from galmorph.explain.faithfulness.verdicts import (
    Estimate,
    estimate,
    on_deletion,
    on_galaxy,
    on_insertion,
    on_randomisation,
)


class TestEstimate:
    def test_galaxies_without_a_value_are_left_out(self, scores):
        random = np.random.default_rng(0).normal(0.3, 0.1, 40)
        found = estimate(np.append(random, [np.nan] * 5), scores, 1)
        assert found == estimate(random, scores, 1)
        assert found.n == 40
        assert found.value == pytest.approx(random.mean())
        assert found.high - found.low == pytest.approx(2 * 1.96 * random.std() / 40**0.5, rel=0.15)
        assert found.bounds == (found.low, found.high)

    def test_none(self, scores):
        found = estimate(np.full(3, np.nan), scores, 1)
        assert np.isnan(found.value)
        assert (found.low, found.high, found.n, found.bounds) == (None, None, 0, None)

    def test_one_galaxy_bounds_nothing(self, scores):
        found = estimate(np.array([0.4]), scores, 1)
        assert (found.value, found.n, found.bounds) == (0.4, 1, None)

    def test_galaxies_that_all_agree_have_no_interval_and_are_bounds_themselves(self, scores):
        found = estimate(np.array([0.5, 0.5, 0.5]), scores, 1)
        assert (found.low, found.high, found.bounds) == (None, None, (0.5, 0.5))

    def test_text_has_signs(self):
        assert str(Estimate(0.25, -0.1, 0.6, 4)) == "+0.250 [-0.100, +0.600]"
        assert str(Estimate(-0.25, None, None, 1)) == "-0.250"

    def test_negative(self):
        assert Estimate(0.25, -0.1, 0.6, 4).negative == Estimate(-0.25, -0.6, 0.1, 4)
        assert Estimate(0.25, None, None, 1).negative == Estimate(-0.25, None, None, 1)


DIFFERENCES = [
    (Estimate(0.2, 0.1, 0.3, 9), "passed"),
    (Estimate(0.2, -0.1, 0.5, 9), "undecided"),
    (Estimate(-0.2, -0.3, -0.1, 9), "failed"),
    (Estimate(0.0, -0.01, 0.01, 9), "failed"),
    (Estimate(0.01, 0.005, 0.015, 9), "failed"),  # surely there, and surely too little to speak of
    (Estimate(0.2, None, None, 9), "passed"),
    (Estimate(0.0, None, None, 9), "failed"),
    (Estimate(0.9, None, None, 1), "undecided"),
    (Estimate(float("nan"), None, None, 0), "undecided"),
]


@pytest.mark.parametrize(("difference", "verdict"), DIFFERENCES)
def test_what_must_be_above_0(difference, verdict):
    for judge in (on_insertion, on_galaxy):
        assert judge(difference, 0.02).verdict == verdict
    assert on_deletion(difference.negative, 0.02).verdict == verdict


def test_the_reason_names_the_number_and_how_many_galaxies():
    found = on_deletion(Estimate(-0.2, -0.3, -0.1, 9), 0.02)
    assert "-0.200 [-0.300, -0.100]" in found.reason
    assert "9 galaxies" in found.reason
    assert "1 galaxies could be scored" in on_galaxy(Estimate(0.9, None, None, 1), 0.02).reason


@pytest.mark.parametrize(
    ("similar", "verdict"),
    [
        (Estimate(0.1, -0.1, 0.3, 4), "passed"),
        (Estimate(0.5, 0.4, 0.6, 4), "undecided"),
        (Estimate(0.8, 0.6, 0.9, 4), "failed"),
        (Estimate(-0.8, -0.9, -0.6, 4), "failed"),
        (Estimate(-0.4, -0.6, -0.2, 4), "undecided"),
        (Estimate(1.0, None, None, 4), "failed"),
        (Estimate(0.0, None, None, 4), "passed"),
        (Estimate(0.0, None, None, 1), "undecided"),
    ],
)
def test_how_alike_maps_of_a_random_model_may_be(similar, verdict):
    assert on_randomisation(similar, similar, 0.5).verdict == verdict


def test_signs_are_spoken_of_where_a_method_has_them():
    same = Estimate(0.6, 0.5, 0.7, 4)
    assert "signs" not in on_randomisation(same, same, 0.5).reason
    found = on_randomisation(same, Estimate(0.01, -0.1, 0.1, 4), 0.5)
    assert found.verdict == "failed"
    assert "+0.010 [-0.100, +0.100] with their signs" in found.reason
