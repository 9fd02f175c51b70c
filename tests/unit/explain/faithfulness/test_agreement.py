import numpy as np
import pytest

from galmorph.explain.faithfulness.agreement import agreement, sparsity
from galmorph.explain.faithfulness.maps import rank_correlations


def test_the_matrix_holds_mean_rank_correlations():
    random = np.random.default_rng(0)
    maps = {name: random.normal(size=(4, 5, 5)) for name in ("a", "b", "c")}
    found = agreement(maps)
    np.testing.assert_allclose(found, found.T)
    np.testing.assert_allclose(np.diag(found), 1)
    assert found[0, 2] == pytest.approx(rank_correlations(maps["a"], maps["c"]).mean())


def test_an_image_counts_where_both_maps_say_something():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(3, 5, 5)), random.normal(size=(3, 5, 5))
    one[0], other[1] = 0, 3
    found = agreement({"one": one, "other": other})
    assert found[0, 1] == pytest.approx(rank_correlations(one, other)[2])
    np.testing.assert_allclose(np.diag(found), 1)


def test_a_method_of_empty_maps_agrees_with_none():
    found = agreement({"one": np.zeros((2, 3, 3)), "other": np.random.default_rng(0).normal(size=(2, 3, 3))})
    assert np.isnan(found).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("values", "gini"),
    [([0, 0, 0, 1], 0.75), ([1, 2, 3, 4], 0.25), ([-1, 2, -3, 4], 0.25), ([0, 0, 5, 5], 0.5)],
)
def test_gini_index_by_hand(values, gini):
    assert sparsity(np.array(values, np.float32).reshape(1, 2, 2)) == pytest.approx(gini)


def test_an_empty_map_has_no_sparsity():
    assert np.isnan(sparsity(np.zeros((1, 2, 2)))).all()
