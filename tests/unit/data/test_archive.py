import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from galmorph.data.archive import Outcome, catalogue, check_classes, parse_labels, unsafe_id
from galmorph.data.matching import Matches, match_images, printable
from galmorph.errors import ArchiveError, CatalogueError
from galmorph.params import ArchiveColumns, ArchiveParams, read_values

PATTERNS = ("{CATAID}_giH.png", "{CATAID}.png")
PARAMS = ArchiveParams(
    labels=("labels.csv",),
    patterns=PATTERNS,
    columns=ArchiveColumns(id="CATAID", label="TARGET"),
    coding={"0": "Elliptical", "1": "Other", "E": "Elliptical"},
)


def parse(text, params=PARAMS):
    return parse_labels(text if isinstance(text, bytes) else text.encode(), "labels.csv", params)


def triples(labels):
    return labels.rows[["CATAID", "label", "row"]].to_numpy().tolist()


PLAIN = "CATAID,TARGET\n007,0\n123.0,1\n588013383269810181,E\n"
ROWS = [["007", "Elliptical", 2], ["123.0", "Other", 3], ["588013383269810181", "Elliptical", 4]]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ", ").encode(),
        PLAIN.replace(",", " ; ").encode(),
        PLAIN.rstrip("\n").encode(),
        b"\xef\xbb\xbf" + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(),
        b'"CATAID";"TARGET"\n"007";"0"\n"123.0";"1"\n"588013383269810181";"E"\n',
        b"CATAID,TARGET\n007,0,,\n123.0,1,\n588013383269810181,E\n",
    ],
    ids=["plain", "BOM", "UTF-16", "CRLF", "CR", "semicolon", "tab", "space after", "spaces around", "no last newline",
         "all at once", "quoted semicolons", "delimiters too many"],
)  # fmt: skip
def test_every_spelling_of_a_table_reads_the_same(content):
    labels = parse(content)
    assert triples(labels) == ROWS
    assert not labels.rows["rejected"].any()
    assert labels.repeated == []


def test_further_columns_are_kept_as_text():
    labels = parse('name,CATAID,TARGET,RA,\n"M 87, the ""big"" one",1,0,0187.70,x\nb,2,1,,\n')
    assert labels.rows["name"].tolist() == ['M 87, the "big" one', "b"]
    assert labels.rows["RA"].tolist() == ["0187.70", ""]
    assert labels.rows["TARGET"].tolist() == ["0", "1"]
    assert labels.rows["column_5"].tolist() == ["x", ""]


def test_further_columns_replace_none_of_ours():
    params = PARAMS.model_copy(update={"columns": ArchiveColumns(id="id", label="label")})
    rows = parse("id,label,CATAID,rejected,label_in_source\n1,0,a,b,c\n2,1,d,e,f\n", params).rows
    assert rows["CATAID"].tolist() == ["1", "2"]
    assert rows["label"].tolist() == ["Elliptical", "Other"]
    assert rows["rejected"].tolist() == ["", ""]
    assert rows["CATAID_in_source"].tolist() == ["a", "d"]
    assert rows["label_in_source"].tolist() == ["c", "f"]
    assert rows["label_in_source_in_source"].tolist() == ["0", "1"]


def test_rows_are_numbered_as_an_editor_numbers_lines():
    labels = parse('CATAID,TARGET,note\n\n1,0,"two\nlines"\n,,\n2,1,x\n')
    assert triples(labels) == [["1", "Elliptical", 3], ["2", "Other", 6]]


@pytest.mark.parametrize(
    ("row", "reason", "label"),
    [
        ("3,7", "unknown label '7'", ""),
        ("3,0.0", "unknown label '0.0'", ""),
        ("3,elliptical", "unknown label 'elliptical'", ""),
        ("3,", "no label in the row", ""),
        ("3,  ", "no label in the row", ""),
        ("3", "the row has 1 fields and the header 2", ""),
        ("3,0,1", "the row has 3 fields and the header 2", "Elliptical"),
        ("../3,0", "the id '../3' cannot be a file's name", "Elliptical"),
        ("..,0", "the id '..' cannot be a file's name", "Elliptical"),
        ("a/b,0", "the id 'a/b' cannot be a file's name", "Elliptical"),
        ("a\\b,0", "the id 'a\\\\b' cannot be a file's name", "Elliptical"),
        ("x" * 201 + ",0", "the id is longer than 200 bytes, too long for a file's name", "Elliptical"),
    ],
)
def test_rows_that_cannot_be_used_keep_their_place(row, reason, label):
    rows = parse(f"CATAID,TARGET\n1,0\n{row}\n2,1\n").rows
    assert rows["CATAID"].tolist() == ["1", row.split(",")[0], "2"]
    assert rows["row"].tolist() == [2, 3, 4]
    assert rows["rejected"].tolist() == ["", reason, ""]
    assert rows["label"].tolist() == ["Elliptical", label, "Other"]


@pytest.mark.parametrize("cataid", ["1", "007", "SDSS J113057.90+001234.1", "NGC_4486-b", "é", "x" * 200])
def test_ids_that_can_be_file_names(cataid, tmp_path):
    assert not unsafe_id(cataid)
    (tmp_path / f"{cataid}.png").touch()
    assert [file.name for file in tmp_path.iterdir()] == [f"{cataid}.png"]


@pytest.mark.parametrize(
    "cataid", [".", "..", ".hidden", "/etc/passwd", "a/../b", "a:b", "a\0b", "a\nb", "a?", "é" * 101]
)
def test_ids_that_cannot_be_file_names(cataid):
    assert unsafe_id(cataid)


def test_repeated_rows_are_left_out_and_told():
    labels = parse("CATAID,TARGET\n1,0\n2,1\n1,0\n2,1\n1,E\n")
    assert triples(labels) == [["1", "Elliptical", 2], ["2", "Other", 3]]
    assert labels.repeated == [("1", 2, 4), ("2", 3, 5), ("1", 2, 6)]


@pytest.mark.parametrize("second", ["1", "", "7"])
def test_two_labels_of_one_galaxy_stop(second):
    with pytest.raises(CatalogueError, match=r"^labels\.csv rows 2 and 4: CATAID 1 has two labels.*'Elliptical' and '"):
        parse(f"CATAID,TARGET\n1,0\n2,1\n1,{second}\n")


def test_ids_that_differ_in_zeros_are_two_galaxies():
    assert len(parse("CATAID,TARGET\n7,0\n07,1\n7.0,1\n").rows) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^labels\.csv: the file is empty\. Received: 0 bytes"),
        (b"\xef\xbb\xbf \r\n\n", r"the file is empty"),
        (b"CATAID,TARGET\n", r"no row below the header\. Received: CATAID, TARGET"),
        (b"CATAID,TARGET\n,\n\n", r"no row below the header"),
        (b",,,\n;;\n", r"no column CATAID and TARGET"),
        (b"CATAID,TYPE,RA\n1,0,3\n", r"row 1: no column TARGET.*archive\.columns.*Received: CATAID, TYPE, RA$"),
        (b'"ID";"TYPE"\n"1";"0"\n', r"no column CATAID and TARGET.*Received: ID, TYPE$"),
        (b"cataid,target\n1,0\n", r"no column CATAID and TARGET.*Received: cataid, target"),
        (b"CATAID,TARGET,TARGET\n1,0,1\n", r"a column is there twice.*Received: TARGET$"),
        (b"CATAID,TARGET\n1,0\n ,1\n", r"row 3: column CATAID is empty.*Received: \['', '1'\]"),
        (b'CATAID,TARGET\n1,0\n"2,1\n3,1\n4,1\n', r"row 3: not valid CSV from here on.*quotation mark"),
        (b'CATAID,TARGET\n1,0\n"2"x,1\n', r"row 3: not valid CSV"),
        (b"CATAID,TARGET\n1,0\n2,\xff\n", r"row 3: not UTF-8 text"),
        (b"PK\x03\x04\x00\x00\x08\x00", r"not a text file"),
    ],
)  # fmt: skip
def test_unusable_label_files_stop(content, message):
    with pytest.raises(CatalogueError, match=message):
        parse(content)


def test_the_published_label_file(real_data):
    params = ArchiveParams(**read_values(Path(__file__).parents[3] / "params.yaml")["acquire"]["archive"])
    rows = parse_labels((real_data / "gama/2class_list.csv").read_bytes(), "2class_list.csv", params).rows
    assert rows["label"].value_counts().to_dict() == {"Other": 3006, "Elliptical": 2894}
    assert rows["label"].iloc[-1180:].value_counts().to_dict() == {"Other": 613, "Elliptical": 567}
    assert rows["row"].tolist() == list(range(2, 5902))
    assert not rows["rejected"].any()


def match(cataids, members, patterns=PATTERNS):
    return match_images(cataids, members, patterns)


def test_images_are_found_anywhere():
    found = match(["1", "02"], ["top/images/1_giH.png", "02.png", "README", "top/notes.txt"])
    assert found == Matches({"02": "02.png", "1": "top/images/1_giH.png"}, {}, [])


def test_the_first_pattern_counts_and_the_rest_are_told():
    found = match(["1"], ["a/1.png", "b/1_giH.png"])
    assert found == Matches({"1": "b/1_giH.png"}, {}, ["a/1.png"])


def test_an_id_is_matched_whole():
    assert match(["1", "11"], ["11_giH.png", "111_giH.png"]) == Matches(
        {"11": "11_giH.png"}, {"111": ["111_giH.png"]}, []
    )


def test_ids_are_not_patterns():
    assert match(["1.5", "(a)", "x+"], ["1x5.png", "(a).png", "xx.png"]).images == {"(a)": "(a).png"}


def test_images_without_label():
    found = match(["1"], ["1.png", "z/9.png", "a/9_giH.png", "8.png", "9.jpg"])
    assert found == Matches({"1": "1.png"}, {"8": ["8.png"], "9": ["a/9_giH.png", "z/9.png"]}, [])


def test_two_images_of_one_galaxy_stop():
    with pytest.raises(
        ArchiveError, match=r"^old/1\.png and raw/1\.png both fit '\{CATAID\}\.png' for galaxy 1.*FOLDER/"
    ):
        match(["1"], ["raw/1.png", "old/1.png"])


def test_a_folder_in_the_pattern_tells_two_images_apart():
    members = ["x/raw/1.png", "x/old/1.png", "x/braw/1.png", "raw/2.png"]
    found = match(["1", "2"], members, ["raw/{CATAID}.png"])
    assert found == Matches({"1": "x/raw/1.png", "2": "raw/2.png"}, {}, [])


def test_the_id_may_be_a_folder():
    members = [f"all/{number}/stamp.png" for number in range(50)]
    found = match(["7", "8"], members, ["{CATAID}/stamp.png"])
    assert found.images == {"7": "all/7/stamp.png", "8": "all/8/stamp.png"}
    assert len(found.unlabelled) == 48


def test_one_image_of_two_galaxies_stops():
    with pytest.raises(ArchiveError, match=r"^1_giH\.png fits galaxy 1 by one pattern and 1_giH by another"):
        match(["1", "1_giH"], ["1_giH.png"])


def test_unsafe_ids_match_nothing():
    found = match(["../1", "a/b", ".."], ["1.png", "a/b.png", "b.png"])
    assert found.images == {}


def test_matching_is_quick():
    """One look-up an id: a search through all names would take minutes."""
    ids = [str(number) for number in range(30_000)]
    assert len(match(ids, [f"images/{cataid}_giH.png" for cataid in ids]).images) == 30_000


def test_one_class_only_stops():
    check_classes(["Other", "Elliptical"], "labels.csv", "that have an image")
    with pytest.raises(CatalogueError, match=r"^labels\.csv: two classes.*that have an image.*Received: 2 Other$"):
        check_classes(["Other", "Other"], "labels.csv", "that have an image")
    with pytest.raises(CatalogueError, match="Received: no such galaxy"):
        check_classes([], "labels.csv", "that have an image")


def test_catalogue_keeps_order_and_gives_reasons():
    labels = parse("CATAID,TARGET,RA\n5,0,1.50\n4,1,2\n3,X,3\n2,0,4\n")
    matches = match(["5", "4", "3", "2"], ["im/5.png", "im/4.png", "im/3.png", "im/9.png", "im/10_giH.png"])
    outcomes = {"5": Outcome("", "PNG", "L", "grey to RGB"), "4": Outcome("im/4.png: truncated or damaged.")}
    table = catalogue(labels, matches, PATTERNS, outcomes)
    assert list(table)[:6] == ["CATAID", "label", "row", "rejected", "TARGET", "RA"]
    assert list(table)[6:] == ["source_file", "source_format", "source_mode", "conversion"]
    assert table["CATAID"].tolist() == ["5", "4", "3", "2", "10", "9"]
    assert table["label"].tolist() == ["Elliptical", "Other", "", "Elliptical", "", ""]
    assert table["row"].tolist() == ["2", "3", "4", "5", "", ""]
    assert table["rejected"].tolist() == [
        "",
        "im/4.png: truncated or damaged.",
        "unknown label 'X'",
        "no image called 2_giH.png or 2.png",
        "no label: labels.csv has no row for im/10_giH.png",
        "no label: labels.csv has no row for im/9.png",
    ]
    assert table["source_file"].tolist() == ["im/5.png", "im/4.png", "im/3.png", "", "", ""]
    assert table["conversion"].tolist() == ["grey to RGB", "", "", "", "", ""]
    assert not table.isna().any(axis=None)


def test_catalogue_without_strays_is_the_label_file():
    labels = parse(PLAIN)
    table = catalogue(labels, Matches({}, {}, []), PATTERNS, {})
    assert table["row"].tolist() == ["2", "3", "4"]
    assert table["CATAID"].tolist() == [row[0] for row in ROWS]


def test_catalogue_can_be_written_whatever_bytes_a_name_holds():
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    table = catalogue(parse(PLAIN), match(["007"], [name]), PATTERNS, {})
    assert table["CATAID"].iloc[-1] == "caf\\xe9" or table["CATAID"].iloc[-1] == "caf\\udce9"
    table.to_csv(io.StringIO(), index=False)
    table.to_csv(io.BytesIO(), index=False)
    assert printable("NGC 4486 é") == "NGC 4486 é"


def test_catalogue_round_trips_as_csv():
    labels = parse('CATAID,TARGET,note\n007,0,"a ""b"", c\nd"\n1,1,;\n')
    written = catalogue(labels, Matches({}, {}, []), PATTERNS, {}).to_csv(index=False)
    assert pd.read_csv(io.StringIO(written), dtype=str)["note"].tolist() == ['a "b", c\nd', ";"]
    assert next(csv.reader(io.StringIO(written)))[0] == "CATAID"
