import numpy as np
import pytest

from galmorph.explain.faithfulness.agreement import agreement, sparsity
from galmorph.explain.faithfulness.maps import rank_correlations


def test_each_image_has_its_matrix_of_rank_correlations():
    random = np.random.default_rng(0)
    maps = {name: random.normal(size=(4, 5, 5)) for name in ("a", "b", "c")}
    found = agreement(maps)
    assert found.shape == (4, 3, 3)
    np.testing.assert_allclose(found, found.transpose(0, 2, 1))
    np.testing.assert_allclose(found[:, [0, 1, 2], [0, 1, 2]], 1)
    np.testing.assert_allclose(found[:, 0, 2], rank_correlations(maps["a"], maps["c"]))


def test_a_map_that_says_nothing_agrees_with_none():
    random = np.random.default_rng(0)
    maps = {name: random.normal(size=(3, 5, 5)) for name in ("one", "another", "third")}
    maps["one"][0], maps["another"][0], maps["third"][0], maps["another"][1] = 0, 0, 2, 3
    found = agreement(maps)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1]).tolist() == [[False, True, False], [True, True, True], [False, True, False]]
    assert found[1, 2, 0] == pytest.approx(rank_correlations(maps["one"], maps["third"])[1])
    assert not np.isnan(found[2]).any()


@pytest.mark.parametrize(
    ("values", "gini"),
    [([0, 0, 0, 1], 0.75), ([1, 2, 3, 4], 0.25), ([-1, 2, -3, 4], 0.25), ([0, 0, 5, 5], 0.5)],
)
def test_gini_index_by_hand(values, gini):
    assert sparsity(np.array(values, np.float32).reshape(1, 2, 2)) == pytest.approx(gini)


def test_an_empty_map_has_no_sparsity():
    assert np.isnan(sparsity(np.zeros((1, 2, 2)))).all()
