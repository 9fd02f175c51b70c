import keras
import numpy as np
import pytest

from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.mu_fidelity import falls, hidden_sets, mu_fidelity
from galmorph.models.layers import with_probability


@pytest.fixture(scope="module")
def linear():
    """A model whose logit is a weighted sum of pixels, and what each pixel adds to it."""
    random = np.random.default_rng(0)
    image = keras.Input((16, 16, 3), name="image")
    logit = keras.layers.Dense(1, name="logit")(keras.layers.Flatten(name="flat")(image))
    model = with_probability(keras.Model(image, logit), 3.0)
    weights = random.normal(size=(16, 16, 3)).astype(np.float32) / 1000
    model.get_layer("logit").set_weights([weights.reshape(-1, 1), np.array([-0.5], np.float32)])
    images = random.integers(0, 256, (3, 16, 16, 3), np.uint8)
    galaxies = Galaxies(["a", "b", "c"], images, (), ["Elliptical", "Other", "Elliptical"], [""] * 3)
    return model, galaxies, (images * weights).sum(-1) * galaxies.signs[:, None, None]


@pytest.fixture(scope="module")
def black(scores):
    return scores.model_copy(update={"hidden": "black"})


def test_what_each_pixel_adds_is_perfectly_faithful(linear, black):
    model, galaxies, maps = linear
    sets = hidden_sets(16, black, 1)
    fallen = falls(Answers(model, 7), galaxies, sets, black)
    np.testing.assert_allclose(mu_fidelity(maps, sets, fallen), 1, atol=1e-4)
    np.testing.assert_allclose(mu_fidelity(-maps, sets, fallen), -1, atol=1e-4)


def test_falls_are_of_the_calibrated_log_odds(linear, black):
    model, galaxies, maps = linear
    sets = hidden_sets(16, black, 1)
    expected = np.stack([[one[pixels].sum() / 3 for pixels in sets] for one in maps])
    np.testing.assert_allclose(falls(Answers(model, 64), galaxies, sets, black), expected, atol=1e-4)


def test_a_map_of_nothing_in_the_model_is_not_faithful(linear, black):
    model, galaxies, maps = linear
    sets = hidden_sets(16, black.model_copy(update={"subsets": 200}), 1)
    fallen = falls(Answers(model, 64), galaxies, sets, black)
    other = np.random.default_rng(5).normal(size=(30, *maps.shape))
    assert abs(np.mean([mu_fidelity(one, sets, fallen) for one in other])) < 0.1


def test_sets_are_whole_cells_of_the_share_asked_for(black):
    sets = hidden_sets(16, black, 1)
    assert sets.shape == (24, 16, 16)
    cells = sets.reshape(24, 8, 2, 8, 2).sum((2, 4))
    assert set(np.unique(cells)) == {0, 4}
    assert ((cells > 0).sum((1, 2)) == round(0.2 * 64)).all()
    assert len({one.tobytes() for one in sets}) > 20
    np.testing.assert_array_equal(sets, hidden_sets(16, black, 1))
    assert not np.array_equal(sets, hidden_sets(16, black, 2))


def test_a_set_has_a_cell_at_least(black):
    tiny = black.model_copy(update={"share": 0.001})
    assert (hidden_sets(16, tiny, 1).sum((1, 2)) == 4).all()


def test_an_empty_map_and_an_answer_that_never_falls_have_none(linear, black):
    model, galaxies, maps = linear
    sets = hidden_sets(16, black, 1)
    fallen = falls(Answers(model, 64), galaxies, sets, black)
    holed, flat = maps.copy(), fallen.copy()
    holed[0], flat[1] = 0, 2.0
    assert np.isnan(mu_fidelity(holed, sets, flat)).tolist() == [True, True, False]
