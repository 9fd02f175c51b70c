"""From a catalogue with positions to labelled rows, each with what cannot be used about it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from galmorph.errors import CatalogueError
from galmorph.params import CutoutColumns, CutoutsParams

if TYPE_CHECKING:  # astropy takes a while to load, and the tables come from outside
    from astropy.table import Column, Table

#: Columns that data/raw/catalogue.csv or the manifest fills itself; a source's column of such a name is renamed.
RESERVED = frozenset({
    "CATAID", "label", "row", "rejected", "RA", "Dec", "bands_missing", "source_format", "source_mode", "conversion",
    "accepted", "reasons", "sha256", "width", "height", "mean_r", "mean_g", "mean_b", "contrast_r", "contrast_g",
    "contrast_b", "blank_channel", "saturated", "flags", "phash", "group", "axis_ratio_measured", "radius_pixels",
    "split",
})  # fmt: skip
_SAFE_ID = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+ -]{0,119}")
_EXCLUDED = "excluded"
#: By numpy's letter for a kind of column, a type that keeps a whole number whole beside a missing one.
_NULLABLE = {"i": "Int64", "u": "UInt64", "f": "float64", "b": "boolean"}


class Rows(NamedTuple):
    """The rows of a catalogue.

    Attributes
    ----------
    galaxies
        `CATAID`, `label` ("" when not known), `row`, `rejected` ("" when usable), `RA`, `Dec` (degrees, ICRS; NaN when
        not a position), then the source's other columns; in the order of the source.
    excluded
        Rows of a Hubble type that the mapping leaves out (stars, artefacts), with the same columns.
    """

    galaxies: pd.DataFrame
    excluded: pd.DataFrame


def labelled_rows(table: "Table", lines: Sequence[int], source: str, params: CutoutsParams) -> Rows:
    """Read ids, positions and labels from a catalogue, whatever the types of its columns.

    Names of columns are matched exactly, or else without regard to case. The label is taken from the label column and
    its coding where there is one, or else from the Hubble type and its mapping. Columns of arrays are left out.

    Parameters
    ----------
    table
        The catalogue. Positions are in degrees unless the column has another unit of angle.
    lines
        Of each row: its line in the source, counting the header as line 1.
    source
        The catalogue's name, for messages.
    params
        `columns`, `coding` and `hubble_types` are used.

    Raises
    ------
    CatalogueError
        When a column is missing, the catalogue is empty, two rows label one id differently, or no row can be used.
    """
    names = _matched(table.colnames, params.columns, source)
    if len(table) == 0:
        raise CatalogueError(f"{source}: holds no galaxies. Give a catalogue with at least one row. Received: 0 rows")
    ids = texts(table[names["id"]])
    labels, label_problems = _labels(table, names, params)
    ra, ra_problems = _degrees(table[names["ra"]], names["ra"], 0.0, 360.0)
    dec, dec_problems = _degrees(table[names["dec"]], names["dec"], -90.0, 90.0)
    problems = [
        "; ".join(filter(None, found))
        for found in zip(
            _id_problems(ids, labels, lines, source), label_problems, ra_problems, dec_problems, strict=True
        )
    ]
    rows = pd.DataFrame(
        {"CATAID": ids, "label": labels, "row": list(lines), "rejected": problems, "RA": ra, "Dec": dec}
    )
    rows = pd.concat([rows, _other_columns(table, names)], axis="columns")
    left_out = rows["label"] == _EXCLUDED
    galaxies = rows[~left_out].reset_index(drop=True)
    if not (galaxies["rejected"] == "").any():
        reason = f"line {galaxies['row'].iloc[0]}: {galaxies['rejected'].iloc[0]}" if len(galaxies) else "none"
        raise CatalogueError(
            f"{source}: none of its {len(rows)} rows can be used ({left_out.sum()} of them excluded by their type). "
            f"Check acquire.cutouts.columns, coding and hubble_types. The first problem: {reason}"
        )
    return Rows(galaxies, rows[left_out].assign(label="").reset_index(drop=True))


def _matched(found: list[str], wanted: CutoutColumns, source: str) -> dict[str, str]:
    """Name the column of each role; FITS names know no case, and GAMA's own tables write both `Dec` and `DEC`."""
    names = {}
    for role, name in wanted.model_dump().items():
        if (alike := column_called(found, name, role, source)) is not None:
            names[role] = alike
    missing = [f"{getattr(wanted, role)} ({role})" for role in ("id", "ra", "dec") if role not in names]
    if not {"label", "hubble_type"} & names.keys():
        missing.append(f"{wanted.label} (label) or {wanted.hubble_type} (hubble_type)")
    if missing:
        raise CatalogueError(
            f"{source}: no column {' and no column '.join(missing)}. Name the columns in acquire.cutouts.columns. "
            f"Received: {', '.join(found)}"
        )
    return names


def column_called(found: Sequence[str], name: str, role: str, source: str) -> str | None:
    """Find a column by its name, exactly or else without regard to case; None where there is none.

    Parameters
    ----------
    found
        The names of a table's columns.
    name, role
        What is looked for, and its key in `acquire.cutouts.columns`.
    source
        The table's name, for messages.

    Raises
    ------
    CatalogueError
        When several have that name, but for the case.
    """
    alike = [name] if name in found else [one for one in found if one.strip().casefold() == name.casefold()]
    if len(alike) > 1:
        raise CatalogueError(
            f"{source}: column {name!r} (acquire.cutouts.columns.{role}) can be several: write it as one of them. "
            f"Received: {', '.join(alike)}"
        )
    return alike[0] if alike else None


def texts(column: "Column") -> list[str]:
    """Write each value as text: masked and NaN as "", whole numbers without a point, bytes decoded, blanks stripped."""
    return [_text(value) for value in column.tolist()]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _labels(table: "Table", names: dict[str, str], params: CutoutsParams) -> tuple[list[str], list[str]]:
    """Give each row its label, "" or "excluded", and what is wrong."""
    coding: dict[str, str | None]
    if "label" in names:
        name, coding = names["label"], dict(params.coding)
    else:
        name, coding = names["hubble_type"], {str(code): label for code, label in params.hubble_types.items()}
    labels, problems = [], []
    for text in texts(table[name]):
        # A code read from text may carry the point of a float: "11.0".
        key = text[:-2] if text not in coding and text.endswith(".0") else text
        labels.append((coding[key] or _EXCLUDED) if key in coding else "")
        known = ", ".join(coding)
        problems.append("" if key in coding else f"unknown {name} {text!r} (known: {known})" if text else f"no {name}")
    return labels, problems


def _degrees(column: "Column", name: str, low: float, high: float) -> tuple[list[float], list[str]]:
    """Read angles in degrees; NaN and a reason where a value is not one, or is out of range."""
    factor = _to_degrees(column)
    values, problems = [], []
    for text in texts(column):
        try:
            # float() keeps what str() of a float32 or float64 shows, so nothing is lost on the way through text.
            value = float(text) * factor
        except ValueError:
            value = np.nan
        inside = low <= value <= high
        if not text:
            problems.append(f"no {name}")
        elif np.isnan(value):
            problems.append(f"{name} is not a number of degrees: {text!r}")
        else:
            problems.append("" if inside else f"{name} outside [{low:g}, {high:g}]: {value:g}")
        values.append(value if inside else np.nan)
    return values, problems


def _to_degrees(column: "Column") -> float:
    from astropy import units

    unit = column.unit
    if unit is None or not unit.is_equivalent(units.deg):
        return 1.0
    return float(unit.to(units.deg))


def _id_problems(ids: list[str], labels: list[str], lines: Sequence[int], source: str) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for index, cataid in enumerate(ids):
        earlier = first.get(cataid, index)
        # A row without a label is rejected for that: it does not stand in the way of a labelled one.
        first[cataid] = earlier if labels[earlier] else index
        if not cataid:
            problems.append("no id")
        elif not _SAFE_ID.fullmatch(cataid):
            problems.append("the id cannot be a file's name (letters, digits, space and _ . + - only, 120 at most)")
        elif earlier == index or not labels[earlier]:
            problems.append("")
        elif labels[index] and labels[earlier] != labels[index]:
            raise CatalogueError(
                f"{source}: lines {lines[earlier]} and {lines[index]} label {cataid} differently. Keep one of them. "
                f"Received: {labels[earlier]} and {labels[index]}"
            )
        else:
            problems.append(f"the same id as line {lines[earlier]}")
    return problems


def _other_columns(table: "Table", names: dict[str, str]) -> pd.DataFrame:
    """Carry over what the catalogue says besides, the Hubble type among it, under names that are free."""
    taken = {name for role, name in names.items() if role != "hubble_type"}
    others: dict[str, pd.Series[Any]] = {}
    for name in table.colnames:
        values = table[name].tolist()
        if name in taken or any(isinstance(value, list | np.ndarray) for value in values):
            continue
        free = f"source_{name}" if name in RESERVED else name
        kind = table[name].dtype.kind
        decoded = [_text(value) if isinstance(value, bytes | str) else value for value in values]
        others[free] = pd.Series(decoded, dtype=_NULLABLE.get(kind, "object"))
    return pd.DataFrame(others)
