import numpy as np
import pytest

from galmorph.errors import InputError
from galmorph.explain.faithfulness.galaxies import Draw, Galaxies

IMAGES = np.zeros((3, 4, 4, 3), np.uint8)


def made(names=("a", "b", "c"), target=("Other",) * 3):
    return Galaxies(names, IMAGES, (), target, ("",) * 3)


def test_random_numbers_belong_to_a_galaxy_and_a_purpose():
    here, there = made(), made(("c", "a", "b"))
    assert here.random(0, Draw.ORDER, 1).random() == there.random(1, Draw.ORDER, 1).random()
    others = [here.random(1, Draw.ORDER, 1), here.random(0, Draw.NOISE, 1), here.random(0, Draw.ORDER, 2)]
    assert here.random(0, Draw.ORDER, 1).random() not in [other.random() for other in others]


def test_some_galaxies_are_the_same_ones_in_any_order():
    names = [f"G{at}" for at in range(3)]
    here, there = made(names), made(names[::-1])
    for most in (1, 2, 5):
        chosen = {here.cataids[at] for at in here.some(most, 5)}
        assert chosen == {there.cataids[at] for at in there.some(most, 5)}
        assert len(chosen) == min(most, 3)


def test_parts_of_other_lengths_are_refused():
    with pytest.raises(InputError, match="2 ids, 3 images"):
        made(("a", "b"))


def test_a_galaxy_that_comes_twice_is_named():
    with pytest.raises(InputError, match="more than once: b"):
        made(("a", "b", "b"))


def test_an_unknown_class_is_refused():
    with pytest.raises(InputError, match="'Spiral'"):
        made(target=("Other", "Spiral", "Other"))
