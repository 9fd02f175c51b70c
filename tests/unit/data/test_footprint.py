import pandas as pd
import pytest

from galmorph.data.footprint import GAMA_FIELDS, position_problems
from galmorph.params import SkyField


def problem(ra, dec, footprint="gama"):
    return position_problems(pd.DataFrame({"RA": [ra], "Dec": [dec]}), footprint)[0]


@pytest.mark.parametrize("field", GAMA_FIELDS.values(), ids=GAMA_FIELDS)
def test_gama_holds_its_fields_and_their_edges(field):
    for ra in field.ra:
        for dec in field.dec:
            assert problem(ra, dec) == ""
    assert problem(sum(field.ra) / 2, sum(field.dec) / 2) == ""
    assert "outside GAMA's fields" in problem(field.ra[0] - 0.1, field.dec[0])
    assert "outside GAMA's fields" in problem(field.ra[0], field.dec[1] + 0.1)


def test_the_message_ends_with_what_was_received():
    assert problem(10.0, 0.0).endswith("Received: RA 10.0, Dec 0.0")


def test_any_holds_the_whole_sky_but_nothing_else():
    assert problem(10.0, 80.0, "any") == ""
    assert "must be degrees" in problem(10.0, 91.0, "any")
    assert "must be degrees" in problem(500.0, 0.0, "any")


@pytest.mark.parametrize(("ra", "inside"), [(355, True), (359.9, True), (0, True), (5, True), (-3, True), (20, False)])
def test_a_field_may_go_through_zero(ra, inside):
    field = (SkyField(ra=(350, 10), dec=(-5, 5)),)
    assert (problem(ra, 0.0, field) == "") is inside


def test_a_list_of_fields():
    fields = (SkyField(ra=(10, 20), dec=(0, 1)), SkyField(ra=(0, 360), dec=(-90, -80)))
    assert problem(15, 0.5, fields) == ""
    assert problem(300, -85, fields) == ""
    assert "outside the footprint" in problem(15, 2, fields)


@pytest.mark.parametrize(("ra", "dec"), [(None, 0.0), (10.0, None), (None, None)])
def test_half_a_position_is_not_judged(ra, dec):
    assert problem(ra, dec) == ""


def test_empty_text_is_no_position_and_other_text_is_wrong():
    table = pd.DataFrame({"ra": ["", "130.5", "9h"], "dec": ["1.0", "0.5", "0.5"]})
    first, second, third = position_problems(table, "gama")
    assert first == second == ""
    assert third.endswith("Received: RA 9h, Dec 0.5")


def test_a_catalogue_without_positions_has_no_problem():
    assert position_problems(pd.DataFrame({"CATAID": ["1", "2"], "ra": [0.0, 1.0]}), "gama") == ["", ""]
    assert position_problems(pd.DataFrame({"RA": [], "DEC": []}), "gama") == []
