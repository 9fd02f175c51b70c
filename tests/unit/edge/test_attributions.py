"""Attributions on disk: part by part, and on from where it stopped."""

import numpy as np
import pandas as pd
import pytest

from galmorph.edge.attributions import read_attributions, read_facts, write_attributions
from galmorph.explain.base import Attributions, Explainer

SIZE = 6


class Brightness(Explainer):
    """The image's red channel, times the target's sign; remembers what it was asked, and may fail."""

    name, title, meaning = "brightness", "Brightness", "red"

    def __init__(self, fail_at=None):
        self.model = type("Model", (), {"input_shape": (None, SIZE, SIZE, 3)})
        self.asked, self.fail_at = [], fail_at

    def _attribute(self, images, signs):
        if len(self.asked) == self.fail_at:
            raise KeyboardInterrupt
        self.asked.append(len(images))
        return Attributions(images[..., 0] * signs[:, None, None], {"mean": images.mean((1, 2, 3))})


@pytest.fixture
def galaxies():
    targets = ["Elliptical", "Other", "Other", "Elliptical", "Other"]
    return pd.DataFrame({"CATAID": [f"{n:03d}" for n in range(5)], "target": targets})


def image(cataid):
    return np.full((SIZE, SIZE, 3), 10 * int(cataid), np.uint8)


def images(cataids):
    return np.stack([image(cataid) for cataid in cataids])


def expected():
    return [0, -10, -20, 30, -40]


def test_every_galaxy_has_its_map_and_facts_whatever_the_batch(tmp_path, galaxies):
    for batch_size in (1, 2, 5, 8):
        folder = tmp_path / str(batch_size)
        write_attributions(folder, {"brightness": Brightness()}, galaxies, images, batch_size)
        maps = read_attributions(folder, "brightness")
        assert maps.shape == (5, SIZE, SIZE)
        assert maps.dtype == np.float32
        assert maps[:, 0, 0].tolist() == expected()
        facts = read_facts(folder, "brightness")
        assert facts["CATAID"].tolist() == galaxies["CATAID"].tolist()
        assert facts["mean"].tolist() == [0, 10, 20, 30, 40]
        assert sorted(path.name for path in folder.iterdir()) == ["brightness.csv", "brightness.npy", "galaxies.csv"]


def test_an_interrupted_run_goes_on(tmp_path, galaxies):
    broken = Brightness(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        write_attributions(tmp_path, {"brightness": broken}, galaxies, images, 2)
    assert not (tmp_path / "brightness.npy").exists()
    again = Brightness()
    write_attributions(tmp_path, {"brightness": again}, galaxies, images, 2)
    assert again.asked == [1], "two batches of two were there already"
    assert read_attributions(tmp_path, "brightness")[:, 3, 3].tolist() == expected()


def test_what_is_whole_is_not_made_again(tmp_path, galaxies):
    write_attributions(tmp_path, {"brightness": Brightness()}, galaxies, images, 2)
    again = Brightness()
    write_attributions(tmp_path, {"brightness": again}, galaxies, images, 2)
    assert again.asked == []


def test_a_method_without_facts_has_a_table_all_the_same(tmp_path, galaxies):
    class Plain(Brightness):
        def _attribute(self, images, signs):
            return Attributions(images[..., 0])

    write_attributions(tmp_path, {"plain": Plain()}, galaxies, images, 3)
    assert read_facts(tmp_path, "plain").columns.tolist() == ["CATAID"]


def test_a_batch_is_read_once_and_a_method_that_refines_another_does_not_ask_again(tmp_path, galaxies):
    class Doubled(Brightness):
        refines = "brightness"

        def refined(self, made):
            return Attributions(2 * made.maps, made.facts)

    read = []

    def counted(cataids):
        read.append(len(cataids))
        return images(cataids)

    doubled = Doubled()
    write_attributions(tmp_path, {"brightness": Brightness(), "doubled": doubled}, galaxies, counted, 2)
    assert read == [2, 2, 1]
    assert doubled.asked == []
    assert read_attributions(tmp_path, "doubled")[:, 0, 0].tolist() == [2 * value for value in expected()]


def test_a_method_that_refines_one_that_is_not_asked_for_makes_it_itself(tmp_path, galaxies):
    class Alone(Brightness):
        refines = "something_else"

    write_attributions(tmp_path, {"alone": Alone()}, galaxies, images, 3)
    assert read_attributions(tmp_path, "alone")[:, 0, 0].tolist() == expected()
