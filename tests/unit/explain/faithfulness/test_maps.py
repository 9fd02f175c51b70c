import numpy as np
from scipy.stats import spearmanr

from galmorph.explain.faithfulness.maps import TURNS, correlations, empty, rank_correlations, turned, turned_back


def test_rank_correlation_is_spearmans():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 9, (3, 6, 6)).astype(np.float32), random.normal(size=(3, 6, 6))
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlations(one, other), expected)


def test_empty_maps_have_no_rank_correlation():
    maps = np.stack([np.zeros((3, 3)), np.full((3, 3), 7), np.eye(3), np.full((3, 3), np.nan)])
    maps[3, 0, 0] = 1
    assert empty(maps).tolist() == [True, True, False, True]
    found = rank_correlations(maps, np.stack([np.eye(3)] * 4))
    assert np.isnan(found[[0, 1, 3]]).all()
    assert found[2] == np.float64(1) or np.isclose(found[2], 1)


def test_there_are_eight_turns_and_each_is_undone():
    images = np.random.default_rng(1).normal(size=(2, 5, 5, 3))
    made = [turned(images, turn) for turn in TURNS]
    np.testing.assert_array_equal(made[0], images)
    assert len({one.tobytes() for one in made}) == 8
    for turn, one in enumerate(made):
        np.testing.assert_array_equal(turned_back(one, turn), images)


def test_a_constant_row_has_no_correlation():
    found = correlations(np.array([[1.0, 2, 3], [4, 4, 4]]), np.array([[2.0, 4, 6], [1, 2, 3]]))
    np.testing.assert_allclose(found, [1, np.nan])
