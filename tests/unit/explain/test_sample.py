"""Which galaxies are explained."""

import numpy as np
import pandas as pd
import pytest

from galmorph.errors import InputError
from galmorph.explain.sample import choose_sample
from galmorph.params import SampleParams


def asking(**counts) -> SampleParams:
    nothing = {"cataids": (), "indices": (), "most_confident": 0, "most_wrong": 0, "borderline": 0, "random": 0}
    return SampleParams(**{**nothing, **counts})


def predictions(count: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    p = rng.uniform(size=count)
    label = np.where(rng.uniform(size=count) < p, "Elliptical", "Other")
    return pd.DataFrame(
        {
            "CATAID": [f"{number:03d}" for number in range(count)],
            "label": label,
            "p_elliptical": p,
            "predicted": np.where(p >= 0.5, "Elliptical", "Other"),
        }
    )


def test_the_sample_holds_what_it_says():
    table = predictions()
    chosen = choose_sample(table, asking(most_confident=3, most_wrong=2, borderline=2, random=4), seed=1)
    assert chosen["CATAID"].is_unique
    assert chosen["chosen_as"].value_counts().to_dict() == {
        "most_confident": 3, "most_wrong": 2, "borderline": 2, "random": 4,
    }  # fmt: skip
    wrong = chosen[chosen["chosen_as"] == "most_wrong"]
    assert (wrong["label"] != wrong["predicted"]).all()
    distance = (table["p_elliptical"] - 0.5).abs()
    nearest = set(table.loc[distance.nsmallest(2).index, "CATAID"])
    assert nearest == set(chosen.loc[chosen["chosen_as"] == "borderline", "CATAID"])


def test_the_sample_does_not_depend_on_the_order_of_the_table():
    asked = asking(most_confident=2, most_wrong=2, borderline=2, random=5)
    table = predictions()
    first = choose_sample(table, asked, 3)
    again = choose_sample(table.sample(frac=1, random_state=1).reset_index(drop=True), asked, 3)
    assert first["CATAID"].tolist() == again["CATAID"].tolist()


def test_a_small_table_gives_what_it_has():
    asked = asking(most_confident=50, most_wrong=50, borderline=50, random=50)
    assert sorted(choose_sample(predictions(8), asked, 3)["CATAID"]) == [f"{number:03d}" for number in range(8)]


def test_galaxies_that_are_named_come_first_whatever_the_model_says_of_them():
    table = predictions()
    chosen = choose_sample(table, asking(cataids=("007", "003"), indices=(3, 0), most_wrong=1), seed=1)
    assert chosen["CATAID"].tolist()[:3] == ["007", "003", "000"]  # index 3 is 003, which is there already
    assert chosen["chosen_as"].tolist()[:3] == ["named", "named", "indexed"]


def test_an_index_does_not_depend_on_the_order_of_the_table():
    shuffled = predictions().sample(frac=1, random_state=4).reset_index(drop=True)
    assert choose_sample(shuffled, asking(indices=(2,)), 3)["CATAID"].tolist() == ["002"]


def test_a_galaxy_that_is_not_in_the_split_is_said():
    with pytest.raises(InputError, match=r"explain\.sample\.cataids.*'999'"):
        choose_sample(predictions(), asking(cataids=("001", "999")), 3)


def test_an_index_past_the_end_is_said():
    with pytest.raises(InputError, match=r"explain\.sample\.indices.*30 galaxies.*310"):
        choose_sample(predictions(), asking(indices=(0, 310)), 3)


def test_asking_for_nothing_is_said():
    with pytest.raises(InputError, match="asks for no galaxy"):
        choose_sample(predictions(), asking(), 3)
