from math import comb

import numpy as np
import pytest

from galmorph.evaluation.significance import better_than, worse_than_rest


def test_fisher_by_hand():
    # 3 of 10 right against 9 of 10: the ways to draw 3 or fewer of the 12 right ones into a part of 10.
    ways = sum(comb(12, k) * comb(8, 10 - k) for k in (2, 3)) / comb(20, 10)
    assert worse_than_rest(3, 10, 9, 10) == pytest.approx(ways)


def test_a_better_part_is_not_worse():
    assert worse_than_rest(10, 10, 5, 10) == pytest.approx(1.0)


def test_sign_test_by_hand():
    first = np.array([True] * 9 + [False] + [True] * 5)
    other = np.array([False] * 9 + [True] + [True] * 5)
    # 9 of the 10 galaxies that differ: (10 + 1) / 2^10
    assert better_than(first, other) == pytest.approx(11 / 1024)
    assert better_than(other, first) == pytest.approx(1023 / 1024)


def test_answers_that_do_not_differ():
    assert better_than(np.array([True, False]), np.array([True, False])) == 1.0
