"""A table of predictions for TOPCAT and the Virtual Observatory: FITS and VOTable, by astropy.

A FITS file or a VOTable is made in memory, some 300 bytes a row; the Parquet file, which TOPCAT reads too, is not.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from galmorph.data.predictions import COLUMNS, SCHEMA
from galmorph.edge.predictions_files import read_about
from galmorph.errors import InputError
from galmorph.storage import replacing

if TYPE_CHECKING:
    from astropy.table import Table

#: What an export's name may end with, and the format that it means.
FORMATS = {".fits": "fits", ".fits.gz": "fits", ".vot": "votable", ".votable": "votable", ".xml": "votable"}
#: FITS header keywords of what the table is of.
_KEYWORDS = {
    "CREATOR": "written_by", "GMVERS": "galmorph", "MODEL": "model", "EXPERIM": "experiment", "MODDIG": "model_digest",
    "DATADIG": "data_digest", "THRESH": "threshold", "NEARTHR": "near_threshold", "PRECIS": "precision",
}  # fmt: skip


def check_export(path: Path) -> str:
    """Return the format that an export's name means.

    Raises
    ------
    InputError
        When it means none.
    """
    kind = next((kind for end, kind in FORMATS.items() if path.name.lower().endswith(end)), None)
    if kind is None:
        raise InputError(f"--export: takes a file that ends in {', '.join(FORMATS)}. Received: {path.name!r}")
    return kind


def export(output: Path, path: Path) -> None:
    """Write a table of predictions as FITS or VOTable.

    Ids that are whole numbers become such: TOPCAT matches them with the numbers of other catalogues.

    Parameters
    ----------
    output
        The Parquet table.
    path
        The file; its name says the format.

    Raises
    ------
    InputError
        When the name means no format, or an id is not ASCII, which is all that FITS has.
    """
    kind, about = check_export(path), read_about(output)
    table = astropy_table(parquet.read_table(output), about)
    with replacing(path) as temporary:
        if kind == "fits":
            _write_fits(table, temporary, about)
        else:
            with temporary.open("wb") as content:
                _votable(table, about).to_xml(content, tabledata_format="binary2")


def votable_header(about: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the metadata by which TOPCAT and astropy know the columns of a Parquet file: the VOParquet convention.

    It holds a VOTable without rows, IVOA Note VOParquet 1.0.
    """
    written = io.BytesIO()
    _votable(astropy_table(SCHEMA.empty_table(), about), about).to_xml(written)
    return {b"IVOA.VOTable-Parquet.version": b"1.0", b"IVOA.VOTable-Parquet.content": written.getvalue()}


def astropy_table(rows: pa.Table, about: Mapping[str, Any]) -> "Table":
    """Make an astropy table, each column with its description and UCD."""
    from astropy.table import Table

    table = Table()
    for column in COLUMNS:
        values = rows[column.name].to_numpy()
        table[column.name] = np.asarray(values, "U") if column.kind == pa.string() else values
        table[column.name].description = column.description
        table[column.name].meta["ucd"] = column.ucd
    ids = table["CATAID"]
    if len(rows) and all(_is_number(text) for text in ids.tolist()):
        table.replace_column("CATAID", ids.astype(np.int64))
    table.meta.update(ID="predictions", name=f"predictions of {about['model']}")
    return table


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19 and (text == "0" or not text.startswith("0"))


def _votable(table: "Table", about: Mapping[str, Any]) -> Any:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    document = from_table(table)
    for name in _KEYWORDS.values():
        document.infos.append(Info(name=name, value=str(about[name])))
    return document


def _write_fits(table: "Table", path: Path, about: Mapping[str, Any]) -> None:
    from astropy.io import fits

    try:
        unit = fits.table_to_hdu(table)
    except (UnicodeEncodeError, ValueError) as error:
        raise InputError(
            f"{path.name}: FITS tables hold ASCII alone. Export to .vot instead. Received: {error}"
        ) from error
    for number, column in enumerate(COLUMNS, start=1):
        unit.header[f"TCOMM{number}"] = column.description
        unit.header[f"TUCD{number}"] = column.ucd
    for keyword, name in _KEYWORDS.items():
        unit.header[keyword] = about[name]
    unit.header["EXTNAME"] = "PREDICTIONS"
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, overwrite=True)
