"""Catalogues for the source `cutouts`: every format that astronomers hand over, and what cannot be read."""

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from galmorph.data.cutouts import labelled_rows
from galmorph.edge.acquire_cutouts import read_catalogue
from galmorph.errors import CatalogueError


@pytest.fixture(scope="module")
def params(params):
    return params.acquire.cutouts


def _galaxies():
    return Table(
        {
            "CATAID": ["007", "8", "9"],
            "RA": [130.0, 140.5, 0.0],
            "Dec": [0.5, -1.0, 90.0],
            "label": ["Elliptical", "Other", "Other"],
            "Z": MaskedColumn([0.1, 0.2, 0.3], mask=[False, True, False]),
        }
    )


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("c.csv", "ascii.csv"),
        ("c.fits", "fits"),
        ("c.FIT", "fits"),
        ("c.fits.gz", "fits"),
        ("c.vot", "votable"),
        ("c.xml", "votable"),
    ],
)
def test_every_kind_that_astropy_writes_is_read(tmp_path, params, name, how):
    path = tmp_path / name
    _galaxies().write(path, format=how)
    check(path, params)


@pytest.mark.parametrize("null", [True, False])
def test_parquet_with_and_without_missing_text(tmp_path, params, null):
    frame = _galaxies().to_pandas()
    if null:
        frame.loc[3] = ["10", 1.0, 1.0, None, 0.1]
    frame.to_parquet(tmp_path / "c.parquet")
    check(tmp_path / "c.parquet", params, ["no label"] if null else [])


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")  # of the writer
def test_parquet_that_astropy_wrote(tmp_path, params):
    table = _galaxies()
    table["Z"] = table["Z"].filled(np.nan)
    table.write(tmp_path / "c.parquet")
    check(tmp_path / "c.parquet", params)


def check(path, params, more=()):
    galaxies = labelled_rows(*read_catalogue(path, params), str(path), params).galaxies
    assert galaxies["CATAID"].tolist()[:3] == ["007", "8", "9"]
    assert galaxies["row"].tolist()[:3] == [2, 3, 4]
    assert galaxies["rejected"].tolist() == ["", "", "", *more]
    assert galaxies["RA"].tolist()[:3] == [130.0, 140.5, 0.0]
    assert galaxies["Z"].isna().tolist()[:3] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("CATAID;RA;Dec;label;Z\n007;130;0.5;Elliptical;0.1\n8;140.5;-1;Other;\n9;0;90;Other;1\n", [2, 3, 4]),
        ("CATAID\tRA\tDec\tlabel\n007\t130\t0.5\tElliptical\n8\t140.5\t-1\tOther\n9\t0\t90\tOther", [2, 3, 4]),
        ("\ufeffCATAID,RA,Dec,label\r\n007,130,0.5,Other\r\n\r\n8,140.5,-1,Other\r\n9,0,90,Other\r\n", [2, 4, 5]),
        ("# GAMA\nCATAID,RA,Dec,label\n007,130,0.5,Other\n8,140.5,-1,Other\n# end\n9,0,90,Other\n", [3, 4, 6]),
        ('CATAID,"RA",Dec,note\n007,130,0.5,"a, b"\n8,140.5,-1,"two\nlines"\n9,0,90,\n', [2, 3, 5]),
    ],
)
def test_csv_as_people_write_it(tmp_path, params, text, lines):
    (tmp_path / "c.csv").write_bytes(text.encode())
    table, found = read_catalogue(tmp_path / "c.csv", params)
    assert found == lines
    assert table["CATAID"].tolist() == ["007", "8", "9"]
    assert [float(value) for value in table["RA"]] == [130.0, 140.5, 0.0]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.csv", b"", "is empty"),
        ("c.csv", b"\n\n", "is empty"),
        ("c.csv", b"CATAID,RA\n1,2,3\n", "cannot be read as csv.*Number of header columns"),
        ("c.csv", b"\xff\xfeC\x00A\x00", "cannot be read as csv.*utf-8"),
        ("c.fits", b"not fits at all", "cannot be read as fits"),
        ("c.vot", b"<html></html>", "cannot be read as votable"),
        ("c.parquet", b"PAR1", "cannot be read as parquet"),
        ("c.xlsx", b"", "not a kind of catalogue that is known"),
    ],
)
def test_catalogues_that_cannot_be_read_are_named(tmp_path, params, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogueError, match=f"(?s){name}: .*{words}"):
        read_catalogue(tmp_path / name, params)


@pytest.mark.parametrize("name", ["none.csv", "."])
def test_no_such_file(tmp_path, params, name):
    with pytest.raises(CatalogueError, match="no such file"):
        read_catalogue(tmp_path / name, params)
