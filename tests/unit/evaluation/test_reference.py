"""The reference for drift, against numbers worked out by hand and samples whose distance is known."""

import json
import math

import numpy as np
import pytest

from galmorph.evaluation.reference import QUANTITIES, Look, counts, drift, expected_psi, look, psi, reference
from tests.exported import cutout


def looks(count, seed, shift=0.0):
    random = np.random.default_rng(seed)
    return [Look(*random.normal(shift, 1, 3), float(random.uniform())) for _ in range(count)]


def test_counts_put_an_edge_above_and_what_is_not_finite_last():
    assert counts(np.array([-1, 0, 0.5, 1, 7, np.nan]), [0, 1]).tolist() == [1, 2, 2, 1]
    assert counts(np.array([np.nan]), []).tolist() == [0, 1]


def test_the_index_is_the_one_worked_out_by_hand():
    p, q = np.array([3.5, 1.5]) / 5, np.array([1.5, 3.5]) / 5
    by_hand = (p[0] - q[0]) * math.log(p[0] / q[0]) + (p[1] - q[1]) * math.log(p[1] / q[1])
    assert psi(np.array([3, 1]), np.array([1, 3])) == pytest.approx(by_hand)
    assert psi(np.array([3, 1]), np.array([3, 1])) == 0
    assert expected_psi(np.array([3, 1, 0]), np.array([1, 3, 0])) == pytest.approx(1 / 4 + 1 / 4)


def test_samples_of_one_population_are_as_far_apart_as_chance_says():
    found = [drift(looks(300, 1000 + seed), reference(looks(150, seed), 8))["brightness"] for seed in range(60)]
    indices, expected = np.array(found).T
    assert expected == pytest.approx(np.full(60, 7 * (1 / 300 + 1 / 150)))
    assert indices.mean() == pytest.approx(expected[0], rel=0.25)


def test_a_shift_by_a_standard_deviation_is_far():
    found = drift(looks(300, 1, shift=1.0), reference(looks(150, 2), 8))
    assert found["brightness"][0] > 0.5
    assert found["score"][0] < 0.25


def test_galaxies_that_are_not_found_are_a_bin_of_their_own():
    known = reference([Look(10 + k, math.nan if k < 2 else 0.1 * k, 0.1, 0.5) for k in range(10)], 4)
    assert known["quantities"]["colour"]["counts"][-1] == 2
    # One value throughout: no parts to cut it into.
    assert known["quantities"]["size"] == {"edges": [0.1], "counts": [0, 10, 0]}
    missing = drift([Look(10, math.nan, 0.1, 0.5)] * 50, known)
    assert missing["colour"][0] > 1
    assert json.loads(json.dumps(known, allow_nan=False)) == known
    assert list(known["quantities"]) == list(QUANTITIES)


def test_a_look_sees_brightness_colour_and_size():
    small = look(cutout(3), 0.25)
    assert small.score == 0.25
    brighter = np.clip(cutout(3).astype(int) + 40, 0, 255).astype(np.uint8)
    assert look(brighter, 0.25).brightness == pytest.approx(small.brightness + 40, abs=2)
    red = cutout(3).copy()
    red[..., 2] = 12
    assert look(red, 0.25).colour > small.colour + 0.2
    assert 0.02 < small.size < 0.3
    nothing = look(np.full((48, 48, 3), 20, np.uint8), 0.5)
    assert math.isnan(nothing.colour)
    assert math.isnan(nothing.size)
