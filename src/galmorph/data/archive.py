"""The catalogue of labelled images from outside: the label file read, its coding undone, its rows checked.

Rows that cannot be used keep their place, with the reason in `rejected`; what makes the whole file unusable stops with
an error. Which bytes lie where is the business of `galmorph.edge.members`.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from galmorph.data.matching import Matches, printable
from galmorph.errors import CatalogueError
from galmorph.params import ArchiveParams

_DELIMITERS = ",;\t"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# "/" and "\" lead elsewhere; the others cannot stand in a file name on one system or another.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_LONGEST_ID = 200  # bytes; file systems take 255, and a file that is being written has a longer name
#: Columns of catalogue.csv that a label file's own column of that name must not replace.
_OWN = ("CATAID", "label", "row", "rejected", "source_file", "source_format", "source_mode", "conversion")


@dataclass(frozen=True)
class Labels:
    """A label file's galaxies.

    Attributes
    ----------
    file
        Its name, for messages.
    rows
        One row a galaxy, in file order: `CATAID` (text as it stands in the file), `label` (`Elliptical`, `Other` or
        empty), `row` (line of the file, the header being line 1), `rejected` (why it cannot be used, or empty), and
        every column of the file but the id, as text. One that has the name of a column of catalogue.csv gets
        `_in_source` appended.
    repeated
        `(CATAID, first row, repeated row)` of the rows that say again what an earlier one said, and were left out.
    """

    file: str
    rows: pd.DataFrame
    repeated: list[tuple[str, int, int]]


@dataclass(frozen=True)
class Outcome:
    """What became of one image: `rejected` says why there is none, the rest says what it was."""

    rejected: str = ""
    source_format: str = ""
    source_mode: str = ""
    conversion: str = ""


def unsafe_id(cataid: str) -> str:
    """Say why an id cannot be a file's name, or nothing when it can."""
    if cataid.startswith(".") or cataid.endswith((".", " ")) or _UNSAFE.search(cataid):
        return f"the id {cataid!r} cannot be a file's name"
    if len(cataid.encode("utf-8", "surrogatepass")) > _LONGEST_ID:
        return f"the id is longer than {_LONGEST_ID} bytes, too long for a file's name"
    return ""


def parse_labels(content: bytes, file: str, params: ArchiveParams) -> Labels:
    """Read a label file: CSV with `,`, `;` or tab, with or without a byte order mark, with any line ends.

    Parameters
    ----------
    content
        The whole file: UTF-8, or UTF-16 with a byte order mark.
    file
        Its name, for messages.
    params
        Names of the columns, and what each label's text stands for.

    Returns
    -------
    Labels
        Ids and extra columns are text and stay as they are (`007`, `123.0`), but for spaces around an id.

    Raises
    ------
    CatalogueError
        When the file is empty, not text or not a table; a column is missing or there twice; a row has no id; or two
        rows give one galaxy different labels.
    """
    header, records = _table(_text(content, file), file, params)
    id_at, label_at = (header.index(name) for name in (params.columns.id, params.columns.label))
    extras = {index: _further(name, header) for index, name in enumerate(header) if index != id_at}
    rows: list[dict[str, object]] = []
    first: dict[str, tuple[int, str]] = {}
    repeated = []
    for row, fields in records:
        padded = [*fields, *[""] * (len(header) - len(fields))]
        cataid, text = padded[id_at].strip(), padded[label_at].strip()
        if not cataid:
            raise CatalogueError(
                f"{file} row {row}: column {params.columns.id} is empty. Fill it in, or delete the row. "
                f"Received: {fields}"
            )
        label = params.coding.get(text, "")
        meaning = label or text
        if cataid in first:
            earlier, said = first[cataid]
            if said != meaning:
                raise CatalogueError(
                    f"{file} rows {earlier} and {row}: {params.columns.id} {cataid} has two labels. Keep the row that "
                    f"is right. Received: {said!r} and {meaning!r}"
                )
            repeated.append((cataid, earlier, row))
            continue
        first[cataid] = (row, meaning)
        rejected = _misshapen(fields, header) or unsafe_id(cataid) or _unlabelled(text, label)
        rows.append(
            {"CATAID": cataid, "label": label, "row": row, "rejected": rejected}
            | {name: padded[index] for index, name in extras.items()}
        )
    if not rows:
        raise CatalogueError(f"{file}: no row below the header. Received: {_listed(header)}")
    return Labels(file, pd.DataFrame(rows), repeated)


def _misshapen(fields: Sequence[str], header: Sequence[str]) -> str:
    # Delimiters too many at the end of a row say nothing; a field too many or too few may have moved the label.
    if len(fields) < len(header) or any(fields[len(header) :]):
        return f"the row has {len(fields)} fields and the header {len(header)}"
    return ""


def _unlabelled(text: str, label: str) -> str:
    if label:
        return ""
    return f"unknown label {text!r}" if text else "no label in the row"


def _further(name: str, header: Sequence[str]) -> str:
    """Name a further column so that it hides none of ours."""
    if name not in _OWN:
        return name
    while name in (*_OWN, *header):
        name += "_in_source"
    return name


def _text(content: bytes, file: str) -> str:
    encoding = "utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise CatalogueError(f"{file} row {row}: not UTF-8 text. Save it as UTF-8. Received: {error}") from error
    if "\0" in text:
        raise CatalogueError(f"{file}: not a text file. Save the table as CSV. Received: {content[:16]!r}")
    if not text.strip():
        raise CatalogueError(f"{file}: the file is empty. Received: {len(content)} bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _table(text: str, file: str, params: ArchiveParams) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header and the numbered rows, read with the delimiter that shows the columns that are looked for."""
    wanted = {params.columns.id, params.columns.label}
    found: list[tuple[bool, int, list[str], Iterator[tuple[int, list[str]]]]] = []
    broken: CatalogueError | None = None
    for delimiter in _DELIMITERS:
        records = _records(text, delimiter, file)
        try:
            _, fields = next(records, (1, []))
        except CatalogueError as error:  # quoted fields read with the wrong delimiter
            broken = broken or error
            continue
        header = [field.strip() or f"column_{index}" for index, field in enumerate(fields, 1)]
        found.append((wanted <= set(header), len(header), header, records))
    if not found and broken:
        raise broken
    complete, _, header, records = max(found, key=lambda candidate: candidate[:2])
    if not complete:
        missing = " and ".join(sorted(wanted - set(header)))
        raise CatalogueError(
            f"{file} row 1: no column {missing}. Put the column's name under acquire.archive.columns in params.yaml. "
            f"Received: {_listed(header)}"
        )
    if twice := [name for name, times in Counter(header).items() if times > 1]:
        raise CatalogueError(f"{file} row 1: a column is there twice. Rename one. Received: {_listed(twice)}")
    return header, records


def _records(text: str, delimiter: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that holds anything, with the number of its first line."""
    # strict: a quotation mark that is never closed would swallow the rest of the file without a word.
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise CatalogueError(
            f"{file} row {line}: not valid CSV from here on; look for a quotation mark too many. Received: {error}"
        ) from error


def _listed(names: Iterable[str], most: int = 20) -> str:
    """Join names for a message, the first few of many."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


def check_classes(labels: Iterable[str], file: str, which: str) -> None:
    """Stop when fewer than two classes are left.

    Raises
    ------
    CatalogueError
        Naming the class and how many galaxies it has.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        raise CatalogueError(
            f"{file}: two classes are needed among the galaxies {which}. Check acquire.archive.coding in params.yaml, "
            f"and that the file is complete. Received: "
            + (_listed(f"{number:,} {label}" for label, number in counts.items()) if counts else "no such galaxy")
        )


def catalogue(
    labels: Labels, matches: Matches, patterns: Sequence[str], outcomes: Mapping[str, Outcome]
) -> pd.DataFrame:
    """Lay what became of the images beside the label file's rows.

    Parameters
    ----------
    labels, matches
        From `parse_labels` and `match_images`.
    patterns
        What was looked for, to say so where nothing was found.
    outcomes
        By CATAID, of each galaxy that has a usable row and an image.

    Returns
    -------
    pandas.DataFrame
        The columns of catalogue.csv, all text: the label file's rows in its order, then an image without a label each.
    """
    table = labels.rows.astype({"row": str})
    table = pd.concat([table, _without_label(labels, matches)], ignore_index=True).fillna("")
    nothing = Outcome()
    of_rows = [outcomes.get(cataid, nothing) for cataid in table["CATAID"]]
    looked_for = " or ".join(patterns)
    reasons = []
    for cataid, rejected, outcome in zip(table["CATAID"], table["rejected"], of_rows, strict=True):
        missing = "" if cataid in matches.images else f"no image called {looked_for.replace('{CATAID}', cataid)}"
        reasons.append(rejected or outcome.rejected or missing)
    table["rejected"] = reasons
    table["source_file"] = [printable(matches.images.get(cataid, "")) for cataid in table["CATAID"]]
    for name in ("source_format", "source_mode", "conversion"):
        table[name] = [getattr(outcome, name) for outcome in of_rows]
    return table


def _without_label(labels: Labels, matches: Matches) -> pd.DataFrame:
    reasons = {
        cataid: f"no label: {labels.file} has no row for {_listed(map(printable, names), 3)}"
        for cataid, names in matches.unlabelled.items()
    }
    columns = {"CATAID": [printable(cataid) for cataid in reasons], "rejected": list(reasons.values())}
    return pd.DataFrame(columns, dtype=str)
