import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd

from galmorph.data.predictions import COLUMNS, SCHEMA, Verdict, heat_map_rows, part_table, rejected_rows, rows

VERDICT = Verdict(threshold=0.4, near_threshold=0.1, model_version="galmorph/7", data_digest="d" * 64)


@pytest.fixture
def part():
    maps = [np.array([[1, 0], [0, -1]], np.float32), None, np.array([[0, 0], [2, 3]], np.float32),
            np.zeros((2, 2), np.float32)]  # fmt: skip
    galaxies = [("2", "a", "a.png"), ("3", "b", "b.png"), ("4", "c", "c.png"), ("", "d", "d.png")]
    return part_table(
        galaxies, [None, "torn", None, None], ["1" * 64, None, "2" * 64, "3" * 64], [0.4, None, 0.2, 0.9], maps
    )


def test_answers_become_rows_with_label_and_mark(part):
    table = rows(part, VERDICT)
    assert table.schema == SCHEMA
    assert table.to_pydict() == {
        "CATAID": ["a", "c", "d"],
        "p_elliptical": [0.4, 0.2, 0.9],
        "label": ["Elliptical", "Other", "Elliptical"],
        "near_threshold": [True, False, False],
        "model_version": ["galmorph/7"] * 3,
        "data_digest": ["d" * 64] * 3,
        "sha256": ["1" * 64, "2" * 64, "3" * 64],
    }


def test_reasons_become_rejected_rows(part):
    assert rejected_rows(part) == [("3", "b", "b.png", "torn")]


def test_a_heat_map_without_evidence_for_the_label_is_called_empty(part):
    table = heat_map_rows(part, VERDICT.threshold).to_pydict()
    assert table["CATAID"] == ["a", "c", "d"]
    # c is Other, and nothing in its map is below zero; d has nothing at all.
    assert table["empty"] == [False, True, True]
    assert table["heat_map"] == [[1, 0, 0, -1], [0, 0, 2, 3], [0, 0, 0, 0]]


def test_a_part_without_answers_gives_no_rows():
    part = part_table([("2", "a", "a.png")], ["torn"], [None], [None], [None])
    assert len(rows(part, VERDICT)) == len(heat_map_rows(part, 0.5)) == 0


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_ucds_are_words_of_the_virtual_observatory(column):
    assert check_ucd(column.ucd, check_controlled_vocabulary=True)
