"""From a catalogue's table to labelled rows."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.units import Unit

from galmorph.data.cutouts import labelled_rows
from galmorph.errors import CatalogueError
from galmorph.params import CutoutsParams, read_values

PARAMS = CutoutsParams(**read_values(Path(__file__).parents[3] / "params.yaml")["acquire"]["cutouts"])


def rows(table, lines=None, params=PARAMS):
    return labelled_rows(table, lines or range(2, len(table) + 2), "catalogue.csv", params)


def catalogue(**columns):
    """Three good galaxies; a column given replaces one, None takes it away."""
    given = {
        "CATAID": ["007", "8", "9"],
        "RA": [130.0, 140.5, 0.0],
        "DEC": [0.5, -1.0, 90.0],
        "label": ["Elliptical", "Other", "Other"],
    }
    return Table({name: value for name, value in {**given, **columns}.items() if value is not None})


def test_good_rows_come_through_in_order():
    found = rows(catalogue(), lines=[3, 4, 7]).galaxies
    assert found["CATAID"].tolist() == ["007", "8", "9"]
    assert found["label"].tolist() == ["Elliptical", "Other", "Other"]
    assert found["row"].tolist() == [3, 4, 7]
    assert found["rejected"].tolist() == ["", "", ""]
    assert found["RA"].tolist() == [130.0, 140.5, 0.0]
    assert found["Dec"].tolist() == [0.5, -1.0, 90.0]
    assert list(found) == ["CATAID", "label", "row", "rejected", "RA", "Dec"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.array([7, 8, 9]), ["7", "8", "9"]),
        (np.array([7.0, 8.0, 1237648720693755918.0]), ["7", "8", "1237648720693755904"]),
        (np.array([b"007", b"8 ", b"9"]), ["007", "8", "9"]),
        ([" 007", "8 ", "G09_9"], ["007", "8", "G09_9"]),
    ],
)
def test_ids_are_text_whatever_the_column_holds(ids, expected):
    assert rows(catalogue(CATAID=ids)).galaxies["CATAID"].tolist() == expected


def test_names_of_columns_are_matched_without_regard_to_case():
    table = catalogue()
    table.rename_columns(["CATAID", "RA", "DEC"], ["cataid", "ra", "Dec"])
    assert rows(table).galaxies["rejected"].tolist() == ["", "", ""]


def test_an_exact_name_wins_over_one_that_differs_in_case():
    table = catalogue(dec=[1.0, 2.0, 3.0])
    found = rows(table).galaxies
    assert found["Dec"].tolist() == [0.5, -1.0, 90.0]
    assert found["dec"].tolist() == [1.0, 2.0, 3.0]


def test_names_that_only_differ_in_case_are_not_guessed_between():
    table = catalogue(DEC=None, dec=[1.0, 2.0, 3.0], Dec=[1.0, 2.0, 3.0])
    with pytest.raises(CatalogueError, match=r"'DEC' .*columns\.dec.* can be several.*Received: dec, Dec"):
        rows(table)


def test_missing_columns_are_named_with_what_was_found():
    table = catalogue(DEC=None, label=None)
    with pytest.raises(CatalogueError) as caught:
        rows(table)
    message = str(caught.value)
    assert "no column DEC (dec)" in message
    assert "label (label) or HUBBLE_TYPE_CODE (hubble_type)" in message
    assert message.startswith("catalogue.csv: ")
    assert message.endswith("Received: CATAID, RA")


def test_an_empty_catalogue_is_refused():
    with pytest.raises(CatalogueError, match="holds no galaxies"):
        rows(catalogue()[:0])


def test_hubble_types_become_labels_and_some_are_left_out():
    table = Table(
        {
            "CATAID": [1, 2, 3, 4, 5, 6, 7],
            "RA": np.linspace(130, 131, 7),
            "DEC": np.zeros(7),
            "HUBBLE_TYPE_CODE": [1, 11, 2, 60, 50, 15, 99],
        }
    )
    galaxies, excluded = rows(table)
    assert galaxies["CATAID"].tolist() == ["1", "2", "3", "6", "7"]
    assert galaxies["label"].tolist() == ["Elliptical", "Other", "Other", "Other", ""]
    assert galaxies["row"].tolist() == [2, 3, 4, 7, 8]
    assert galaxies["rejected"].iloc[:4].tolist() == [""] * 4
    assert galaxies["rejected"].iloc[4].startswith("unknown HUBBLE_TYPE_CODE '99' (known: 1, 2, 11")
    assert excluded["CATAID"].tolist() == ["4", "5"]
    assert excluded["HUBBLE_TYPE_CODE"].tolist() == [60, 50]
    assert excluded["row"].tolist() == [5, 6]


@pytest.mark.parametrize("codes", [["1", "11", "15"], ["1.0", "11.0", "15.0"], np.array([1.0, 11.0, 15.0])])
def test_hubble_types_may_be_text_or_floats(codes):
    table = catalogue(label=None, HUBBLE_TYPE_CODE=codes)
    assert rows(table).galaxies["label"].tolist() == ["Elliptical", "Other", "Other"]


def test_the_label_column_goes_before_the_hubble_type():
    found = rows(catalogue(HUBBLE_TYPE_CODE=[60, 60, 60]))
    assert found.galaxies["label"].tolist() == ["Elliptical", "Other", "Other"]
    assert found.galaxies["HUBBLE_TYPE_CODE"].tolist() == [60, 60, 60]


def test_unknown_and_missing_labels_reject_the_row_alone():
    found = rows(catalogue(label=MaskedColumn(["E", "Other", "Other"], mask=[False, False, True]))).galaxies
    assert found["rejected"].tolist() == ["unknown label 'E' (known: Elliptical, Other)", "", "no label"]
    assert found["label"].tolist() == ["", "Other", ""]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("RA", 361.0, "RA outside [0, 360]: 361"),
        ("RA", -0.1, "RA outside [0, 360]: -0.1"),
        ("RA", np.inf, "RA outside [0, 360]: inf"),
        ("DEC", -90.5, "DEC outside [-90, 90]: -90.5"),
        ("DEC", np.nan, "no DEC"),
        ("RA", "08:45:00", "RA is not a number of degrees: '08:45:00'"),
        ("RA", "nan", "RA is not a number of degrees: 'nan'"),
        ("RA", "", "no RA"),
    ],
)
def test_positions_that_are_none_reject_the_row(column, value, reason):
    good = "130.0" if isinstance(value, str) else 30.0
    found = rows(catalogue(**{column: [good, value, good]})).galaxies
    assert found["rejected"].tolist() == ["", reason, ""]
    assert np.isnan(found["RA" if column == "RA" else "Dec"][1])


def test_masked_positions_reject_the_row():
    found = rows(catalogue(RA=MaskedColumn([130.0, 131.0, 132.0], mask=[False, True, False]))).galaxies
    assert found["rejected"].tolist() == ["", "no RA", ""]


def test_positions_keep_every_digit_of_their_text():
    found = rows(catalogue(RA=["129.62345678901", "140", "0"])).galaxies
    assert found["RA"][0] == 129.62345678901


def test_positions_in_another_unit_become_degrees():
    table = catalogue(RA=[np.pi, 1.0, 0.5])
    table["RA"].unit = "rad"
    assert rows(table).galaxies["RA"][0] == pytest.approx(180.0)


@pytest.mark.parametrize("unit", ["mag", "nonsense"])
def test_a_unit_that_is_no_angle_is_passed_over(unit):
    table = catalogue()
    table["RA"].unit = Unit(unit, parse_strict="silent")
    assert rows(table).galaxies["RA"][0] == 130.0


@pytest.mark.parametrize(
    "cataid", ["../7", "a/b", "a\\b", ".hidden", "a:b", "a\nb", "é", "x" * 121, "%2e", "a*", "..", " . "]
)
def test_ids_that_are_no_file_name_are_rejected(cataid):
    found = rows(catalogue(CATAID=["7", cataid, "9"])).galaxies
    assert found["rejected"][0] == found["rejected"][2] == ""
    assert "the id cannot be a file's name" in found["rejected"][1]


def test_a_row_without_an_id_is_rejected():
    found = rows(catalogue(CATAID=MaskedColumn(["7", "8", "9"], mask=[True, False, False]))).galaxies
    assert found["rejected"].tolist() == ["no id", "", ""]
    assert found["CATAID"].tolist() == ["", "8", "9"]


def test_one_id_with_two_labels_stops_with_both_lines():
    table = catalogue(CATAID=["7", "8", "7"])
    with pytest.raises(CatalogueError, match=r"lines 2 and 5 label 7 differently.*Received: Elliptical and Other"):
        rows(table, lines=[2, 4, 5])


def test_a_galaxy_that_is_also_a_star_stops():
    table = catalogue(CATAID=["7", "8", "7"], label=None, HUBBLE_TYPE_CODE=[1, 1, 60])
    with pytest.raises(CatalogueError, match="Received: Elliptical and excluded"):
        rows(table)


def test_one_id_twice_with_one_label_keeps_the_first():
    found = rows(catalogue(CATAID=["7", "8", "8"])).galaxies
    assert found["rejected"].tolist() == ["", "", "the same id as line 3"]


def test_a_row_without_a_label_does_not_hide_a_contradiction_or_a_good_row():
    table = catalogue(CATAID=["7", "7", "9"], label=["", "Other", "Other"])
    assert rows(table).galaxies["rejected"].tolist() == ["no label", "", ""]
    table = catalogue(CATAID=["7", "7", "7"], label=["", "Elliptical", "Other"])
    with pytest.raises(CatalogueError, match="lines 3 and 4"):
        rows(table)


def test_nothing_usable_stops_with_the_first_problem():
    table = catalogue(label=["E", "S", "S"])
    with pytest.raises(CatalogueError, match=r"none of its 3 rows can be used.*line 2: unknown label 'E'"):
        rows(table)


def test_only_stars_stops_too():
    table = catalogue(label=None, HUBBLE_TYPE_CODE=[60, 60, 50])
    with pytest.raises(CatalogueError, match=r"3 of them excluded by their type"):
        rows(table)


def test_several_problems_of_a_row_are_all_named():
    found = rows(catalogue(RA=[400.0, 1.0, 2.0], label=["E", "Other", "Other"])).galaxies
    assert found["rejected"][0] == "unknown label 'E' (known: Elliptical, Other); RA outside [0, 360]: 400"


def test_other_columns_are_carried_with_their_types_and_free_names():
    table = catalogue(
        Z=np.array([0.1, 0.2, np.nan]),
        N=MaskedColumn([1, 2, 3], mask=[False, True, False]),
        big=np.array([1237648720693755918, 2, 3]),
        name=np.array([b"a ", b"b", b"c"]),
        row=[5, 6, 7],
        group=["x", "y", "z"],
        good=[True, False, True],
        spectrum=np.zeros((3, 4)),
    )
    found = rows(table).galaxies
    extras = list(found)[6:]
    assert extras == ["Z", "N", "big", "name", "source_row", "source_group", "good"]
    assert found["N"].isna().tolist() == [False, True, False]
    assert found["N"][0] == 1
    assert found["big"][0] == 1237648720693755918
    assert found["name"].tolist() == ["a", "b", "c"]
    assert found["source_row"].tolist() == [5, 6, 7]
    assert found["row"].tolist() == [2, 3, 4]
