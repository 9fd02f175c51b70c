"""Which galaxies two versions are compared on."""

import pandas as pd
import pytest

from galmorph.errors import InputError
from galmorph.promotion.galaxies import pair, scored_galaxies, taught_galaxies, unanswered, untaught

OTHER, ELLIPTICAL = "Other", "Elliptical"


def scored(*rows):
    """CATAID, image, label, predicted."""
    table = pd.DataFrame(rows, columns=["CATAID", "sha256", "label", "predicted"])
    return table.assign(p_elliptical=0.5)


def taught(*rows):
    return pd.DataFrame(rows, columns=["CATAID", "sha256"]).assign(split="train")


def answers(**predicted):
    return pd.DataFrame({"sha256": list(predicted), "predicted": list(predicted.values())}, dtype=str)


CANDIDATE = scored(
    ("1", "a", ELLIPTICAL, ELLIPTICAL),
    ("2", "b", OTHER, ELLIPTICAL),
    ("3", "c", OTHER, OTHER),
    ("4", "d", ELLIPTICAL, OTHER),
    ("5", "e", OTHER, OTHER),
)


def test_a_galaxy_the_champion_was_taught_is_left_out_by_id_and_by_image():
    left = untaught(CANDIDATE, taught(("1", "another image of galaxy 1"), ("77", "c")))
    assert left["CATAID"].tolist() == ["2", "4", "5"]


def test_stored_answers_come_first_and_what_nobody_answered_is_counted():
    found = pair(
        CANDIDATE,
        taught(("1", "a")),
        stored=answers(b=OTHER, c=ELLIPTICAL),
        asked=answers(b=ELLIPTICAL, d=ELLIPTICAL),
    )
    assert (found.galaxies, found.taught, found.stored, found.asked, found.unanswered) == (5, 1, 2, 1, 1)
    assert found.compared == 3
    # On b and d the champion alone is right, on c the candidate alone.
    assert (found.b, found.c) == (2, 1)


def test_an_equal_id_of_another_catalogue_is_not_the_same_galaxy():
    """Simulated catalogues all begin with the same numbers."""
    elsewhere = answers(x=OTHER, y=OTHER)
    assert pair(CANDIDATE, taught(), elsewhere, answers()).compared == 0
    assert unanswered(CANDIDATE, elsewhere)["CATAID"].tolist() == ["1", "2", "3", "4", "5"]


def test_copies_of_one_image_are_each_compared_once():
    twins = scored(("1", "a", ELLIPTICAL, ELLIPTICAL), ("2", "a", ELLIPTICAL, ELLIPTICAL))
    stored = pd.DataFrame({"sha256": ["a", "a"], "predicted": [OTHER, OTHER]})
    found = pair(twins, taught(), stored, answers())
    assert (found.stored, found.b, found.c) == (2, 0, 2)


def test_nothing_in_common_gives_nothing():
    found = pair(CANDIDATE, taught(*zip("12345", "abcde", strict=True)), answers(a=OTHER), answers())
    assert (found.taught, found.compared, found.unanswered, found.b, found.c) == (5, 0, 0, 0, 0)


MANIFEST = pd.DataFrame(
    {
        "CATAID": ["1", "2", "3", "3"],
        "sha256": ["a", "b", "c", "rejected twin"],
        "accepted": [True, True, True, False],
    }
)


def test_tables_of_a_version_name_images_and_splits():
    rows = [("2", OTHER, 0.1, -2.0, OTHER, "test"), ("1", ELLIPTICAL, 0.9, 2.0, ELLIPTICAL, "validation")]
    predictions = pd.DataFrame(rows, columns=["CATAID", "label", "p_elliptical", "logit", "predicted", "split"])
    own = scored_galaxies(predictions, "test", MANIFEST)
    assert own.to_dict("records") == [
        {"CATAID": "2", "label": OTHER, "p_elliptical": 0.1, "predicted": OTHER, "sha256": "b"}
    ]
    splits = pd.DataFrame({"CATAID": ["3", "1", "2"], "split": ["train", "validation", "test"], "label": OTHER})
    learned = taught_galaxies(splits, MANIFEST)
    assert learned.to_dict("list") == {"CATAID": ["1", "3"], "split": ["validation", "train"], "sha256": ["a", "c"]}


def test_a_galaxy_without_an_image_is_an_error():
    splits = pd.DataFrame({"CATAID": ["1", "9"], "split": ["train", "train"]})
    with pytest.raises(InputError, match=r"galaxy 9 is not an accepted one.*Received: 1 such galaxies"):
        taught_galaxies(splits, MANIFEST)
