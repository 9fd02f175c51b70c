import pytest
from astropy.table import Table

from galmorph.data.identity import ids_digest
from galmorph.data.shard import WHOLE, Shard
from galmorph.data.wanted import Galaxy, Rejected, listed, wanted
from galmorph.errors import ArchiveError, CatalogueError

PATTERNS = ("{CATAID}_giH.png", "{CATAID}.png")
MEMBERS = {"b/002_giH.png": 1, "001.png": 0, "002.png": 2, "notes.txt": 3, "10.png": 4}


def rows(ids, column="CATAID"):
    return listed(Table({column: ids}), range(2, len(ids) + 2), "mine.csv", "CATAID")


def test_without_a_catalogue_every_image_is_wanted_in_the_order_of_ids():
    found = wanted(MEMBERS, PATTERNS, None, WHOLE)
    assert found.galaxies == [
        Galaxy("001", "001.png", 0, ""), Galaxy("002", "b/002_giH.png", 1, ""), Galaxy("10", "10.png", 4, ""),
    ]  # fmt: skip
    assert found.rejected == [
        Rejected("", "", "002.png", "its galaxy has an image by an earlier pattern"),
        Rejected("", "", "notes.txt", "its name fits no pattern: {CATAID}_giH.png or {CATAID}.png"),
    ]
    assert (found.ids, found.ids_digest) == (3, ids_digest(["10", "001", "002"]))


def test_with_a_catalogue_its_galaxies_are_wanted_in_its_order_and_no_others():
    found = wanted(MEMBERS, PATTERNS, rows(["10", "7", "001", "10", ""]), WHOLE)
    assert found.galaxies == [Galaxy("10", "10.png", 4, "2"), Galaxy("001", "001.png", 0, "4")]
    assert found.rejected == [
        Rejected("5", "10", "", "the same id as line 2"),
        Rejected("6", "", "", "no id"),
        Rejected("3", "7", "", "no image called 7_giH.png or 7.png"),
    ]
    assert (found.ids, found.ids_digest) == (3, ids_digest(["7", "10", "001"]))


def test_a_catalogue_tells_ids_that_patterns_leave_open():
    members = {"1_giH.png": 0}
    assert wanted(members, PATTERNS, None, WHOLE).galaxies == [Galaxy("1", "1_giH.png", 0, "")]
    assert wanted(members, PATTERNS, rows(["1_giH"]), WHOLE).galaxies == [Galaxy("1_giH", "1_giH.png", 0, "2")]


def test_the_first_pattern_counts_in_whatever_order_the_files_come():
    members = {"a/1.png": 0, "b/1.png": 1, "z/1_giH.png": 2}
    found = wanted(members, PATTERNS, None, WHOLE)
    assert [one.file for one in found.galaxies] == ["z/1_giH.png"]
    assert [one.file for one in found.rejected] == ["a/1.png", "b/1.png"]


def test_two_images_of_a_galaxy_by_one_pattern_are_an_error():
    with pytest.raises(ArchiveError, match=r"a/1\.png and b/1\.png both fit '\{CATAID\}\.png' for galaxy 1\."):
        wanted({"a/1.png": 0, "b/1.png": 1}, PATTERNS, None, WHOLE)
    # Of a galaxy that nobody asks for they are not.
    assert wanted({"a/1.png": 0, "b/1.png": 1, "2.png": 2}, PATTERNS, rows(["2"]), WHOLE).galaxies


def test_a_pattern_with_folders_fits_the_end_of_the_path():
    members = {"x/good/1.png": 0, "bad/1.png": 1, "xgood/1.png": 2}
    assert wanted(members, ("good/{CATAID}.png",), None, WHOLE).galaxies == [Galaxy("1", "x/good/1.png", 0, "")]


def test_shards_share_galaxies_and_rejects_out():
    ids = [str(number) for number in range(60)]
    members = {f"{one}.png": number for number, one in enumerate(ids)} | {f"note{one}.txt": 0 for one in range(9)}
    catalogue = rows([*ids, "60", "61", "3"])
    for given in (None, catalogue):
        whole = wanted(members, PATTERNS, given, WHOLE)
        shards = [wanted(members, PATTERNS, given, Shard(i, 3)) for i in (1, 2, 3)]
        assert sorted(one for shard in shards for one in shard.galaxies) == sorted(whole.galaxies)
        assert sorted(one for shard in shards for one in shard.rejected) == sorted(whole.rejected)
        assert {(shard.ids, shard.ids_digest) for shard in shards} == {(whole.ids, whole.ids_digest)}


def test_a_name_that_is_no_text_can_be_written_down():
    found = wanted({"a\udcff.png": 0}, PATTERNS, None, WHOLE)
    assert found.galaxies == [Galaxy("a\\udcff", "a\udcff.png", 0, "")]


def test_ids_of_any_type_are_text():
    assert list(rows([7, 12]).lines) == ["7", "12"]
    assert list(rows([7.0, 12.0]).lines) == ["7", "12"]
    assert list(rows([b"007 "]).lines) == ["007"]
    assert list(rows(["1"], column="CataID").lines) == ["1"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["1"]}, r"mine\.csv: no column CATAID\. .*acquire\.cutouts\.columns\.id\. Received: name"),
        ({"CATAID": ["", ""]}, r"mine\.csv: holds no galaxy\..*Received: 2 rows"),
        ({"cataid": ["1"], "Cataid": ["2"]}, r"column 'CATAID' .*can be several.*Received: cataid, Cataid"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_refused(table, message):
    with pytest.raises(CatalogueError, match=message):
        listed(Table(table), range(2, 9)[: len(next(iter(table.values())))], "mine.csv", "CATAID")
