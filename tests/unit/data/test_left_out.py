import pytest

from galmorph.data.archive import parse_labels
from galmorph.data.left_out import left_out
from galmorph.data.matching import match_images

CSV = b"CATAID,TARGET\n001,0\n002,1\n003,7\n004,1\n001,0\n005,0\n"
MEMBERS = {"001.png", "002.png", "003.png", "extra.png", "sub/002_giH.png", "notes.txt"}


@pytest.fixture
def found(params):
    labels = parse_labels(CSV, "labels.csv", params.acquire.archive)
    patterns = ("{CATAID}_giH.png", "{CATAID}.png")
    matches = match_images(labels.rows["CATAID"], MEMBERS, patterns)
    return left_out(labels, matches, MEMBERS, patterns, {"001": "001.png: truncated"})


def test_every_row_and_file_that_is_not_used_is_there_once_with_its_reason(found):
    assert list(found.columns) == ["row", "CATAID", "file", "reason"]
    assert found.to_numpy().tolist() == [
        ["2", "001", "001.png", "001.png: truncated"],
        ["4", "003", "003.png", "unknown label '7'"],
        ["5", "004", "", "no image called 004_giH.png or 004.png"],
        ["6", "001", "", "says again what row 2 says"],
        ["7", "005", "", "no image called 005_giH.png or 005.png"],
        ["", "", "002.png", "its galaxy has an image by an earlier pattern"],
        ["", "extra", "extra.png", "no label: labels.csv has no row for it"],
        ["", "", "notes.txt", "its name fits no pattern: {CATAID}_giH.png or {CATAID}.png"],
    ]
