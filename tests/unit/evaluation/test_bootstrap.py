import numpy as np
import pytest

from galmorph.evaluation import bootstrap
from galmorph.evaluation.bootstrap import (
    calibration_error_interval,
    calibration_errors_by_chance,
    percentile_interval,
    resample_counts,
    wilson_interval,
)
from galmorph.evaluation.metrics import score


def all_counts(n, resamples, seed):
    return np.concatenate(list(resample_counts(n, resamples, seed)))


def test_a_resample_holds_as_many_galaxies_as_the_sample():
    counts = all_counts(40, 300, seed=1)
    assert counts.shape == (300, 40)
    assert (counts.sum(1) == 40).all()
    # A galaxy is left out with probability (1 − 1/40)^40 = 0.363.
    assert (counts == 0).mean() == pytest.approx(0.363, abs=0.01)


def test_counts_come_in_parts_of_bounded_size(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK", 200)
    parts = list(resample_counts(40, 13, seed=1))
    assert [len(part) for part in parts] == [5, 5, 3]


def test_more_galaxies_than_a_part_may_hold(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK", 10)
    assert [part.shape for part in resample_counts(40, 2, seed=1)] == [(1, 40), (1, 40)]


def test_percentiles_by_hand():
    low, high = percentile_interval(50.0, np.arange(101.0), 0.9)
    assert (low, high) == (pytest.approx(5), pytest.approx(95))


def test_a_few_undefined_resamples_are_left_out():
    resampled = np.arange(101.0)
    resampled[:4] = np.nan
    assert percentile_interval(50.0, resampled, 0.95) == (pytest.approx(4 + 0.025 * 96), pytest.approx(4 + 0.975 * 96))


def test_many_undefined_resamples_leave_no_interval():
    resampled = np.arange(101.0)
    resampled[:6] = np.nan
    assert percentile_interval(50.0, resampled, 0.95) == (None, None)


@pytest.mark.parametrize("resampled", [np.ones(50), np.full(50, np.nan)])
def test_resamples_that_tell_nothing_leave_no_interval(resampled):
    assert percentile_interval(1.0, resampled, 0.95) == (None, None)


def test_calibration_error_interval_is_turned_round():
    resampled = np.linspace(0.10, 0.20, 101)
    low, high = calibration_error_interval(0.12, resampled, np.full(10, 0.01), 0.9)
    assert (low, high) == (pytest.approx(0.24 - 0.195), pytest.approx(0.24 - 0.105))


def test_calibration_error_that_chance_explains_may_be_none():
    low, high = calibration_error_interval(0.05, np.linspace(0.06, 0.10, 101), np.linspace(0, 0.1, 101), 0.9)
    assert (low, high) == (0.0, 0.05)


def test_chance_gives_the_error_that_arithmetic_says():
    # One bin, p = 0.5: |mean − 0.5| of 400 coins has mean sqrt(2/π) · 0.5/20.
    errors = calibration_errors_by_chance(np.full(400, 0.5), np.zeros(400, np.intp), 4000, seed=1)
    assert errors.shape == (4000,)
    assert errors.mean() == pytest.approx(np.sqrt(2 / np.pi) * 0.5 / 20, rel=0.05)


def test_intervals_hold_the_truth_about_as_often_as_they_say(draw, params):
    quick = params.model_copy(update={"bootstrap": 300})
    vast = score(draw(300_000, seed=99), params.model_copy(update={"bootstrap": 2}))
    samples = [score(draw(200, seed=seed), quick) for seed in range(120)]
    for name in ("accuracy", "roc_auc", "brier", "loss", "ece"):
        truth = vast[name]["value"]
        held = np.mean([scores[name]["low"] <= truth <= scores[name]["high"] for scores in samples])
        # 95 % and 3 standard errors of 120 samples, and the bootstrap's own lack at 200 galaxies; all seeds are fixed.
        assert held >= 0.87, name
    assert np.mean([scores["accuracy"]["high"] - scores["accuracy"]["low"] for scores in samples]) == pytest.approx(
        2 * 1.96 * np.sqrt(vast["accuracy"]["value"] * (1 - vast["accuracy"]["value"]) / 200), rel=0.05
    )


def test_wilson_interval_of_published_examples():
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3.
    low, high = wilson_interval(np.array([81 / 263, 15 / 148, 0 / 20, 1 / 29]), np.array([263, 148, 20, 29]), 0.95)
    assert low.round(4).tolist() == [0.2553, 0.0624, 0.0, 0.0061]
    assert high.round(4).tolist() == [0.3662, 0.1605, 0.1611, 0.1718]
