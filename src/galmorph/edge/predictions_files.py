"""The files of a table of predictions: written from parts a piece at a time, and read back."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
from pyarrow import parquet

from galmorph.data.left_out import COLUMNS as REJECT_COLUMNS
from galmorph.data.predictions import HEAT_MAPS, SCHEMA
from galmorph.edge.replaceable import WRITTEN_BY
from galmorph.errors import InputError
from galmorph.params import Label
from galmorph.storage import replacing

WRITER = "galmorph predict"
#: The key of a Parquet file's metadata that holds, as JSON, what the table is of.
ABOUT = b"galmorph"
_LOOKED_AT = 2**16


def rejects_path(output: Path) -> Path:
    """Where the rows and files without an answer are listed."""
    return output.with_name(f"{output.stem}.rejected.csv")


def heat_maps_path(output: Path) -> Path:
    """Where the heat maps are, if they were asked for."""
    return output.with_name(f"{output.stem}.heat_maps.parquet")


def check_may_write(path: Path) -> None:
    """Refuse to replace a file that `galmorph predict` did not write.

    Raises
    ------
    InputError
        When there is one.
    """
    if not path.exists():
        return
    if path.is_file():
        if path.suffix == ".parquet" and _about(path) is not None:
            return
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as content:
            start = _beginning(content)
        if WRITER.encode() in start or start.startswith(",".join(REJECT_COLUMNS).encode()):
            return
    raise InputError(
        f"{path}: exists, and is not the result of an earlier `{WRITER}`; it would be replaced. Give another name. "
        f"Received: {str(path)!r}"
    )


def _beginning(content: Any) -> bytes:
    try:
        return bytes(content.read(_LOOKED_AT))
    except (OSError, EOFError):  # named .gz, and is not
        return b""


@dataclass(frozen=True)
class Counts:
    """Rows that were written: answers, those near the threshold, those of each label, and rejected ones."""

    answered: int
    near_threshold: int
    labels: dict[str, int]
    rejected: int


def write_predictions(
    output: Path,
    tables: Iterable[pa.Table],
    about: Mapping[str, Any],
    metadata: Mapping[bytes, bytes],
    rejected: Iterable[Iterable[str]],
) -> Counts:
    """Write the table and the list of what has no answer, a piece at a time.

    Parameters
    ----------
    output
        The table.
    tables
        Of `data.predictions.SCHEMA`; each becomes a row group.
    about
        What the table is of, for its metadata.
    metadata
        Further entries of it.
    rejected
        Row, CATAID, file and reason of each; asked for after `tables`.
    """
    answered, near = 0, 0
    labels: dict[str, int] = dict.fromkeys(get_args(Label), 0)
    schema = SCHEMA.with_metadata({ABOUT: json.dumps(about).encode(), **metadata})
    refused = 0
    with ExitStack() as stack:
        # Renamed in the opposite order: the table comes last, when all that lies beside it is there.
        table_file = stack.enter_context(replacing(output))
        rejects_file = stack.enter_context(replacing(rejects_path(output)))
        with parquet.ParquetWriter(table_file, schema, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(schema.metadata))
                answered += len(table)
                near += int(table["near_threshold"].to_numpy().sum())
                for label in labels:
                    labels[label] += int((table["label"].to_numpy() == label).sum())
        with rejects_file.open("w", newline="", encoding="utf-8") as content:
            lines = csv.writer(content, lineterminator="\n")
            lines.writerow(REJECT_COLUMNS)
            for row in rejected:
                lines.writerow(row)
                refused += 1
    return Counts(answered, near, labels, refused)


def write_heat_maps(path: Path, tables: Iterable[pa.Table], about: Mapping[str, Any]) -> None:
    """Write heat maps, a piece at a time."""
    schema = HEAT_MAPS.with_metadata({ABOUT: json.dumps(about).encode()})
    with replacing(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def read_pieces(path: Path) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file."""
    with parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def read_rejects(path: Path) -> Iterator[list[str]]:
    """Yield row, CATAID, file and reason of each line."""
    with path.open(newline="", encoding="utf-8") as content:
        lines = csv.reader(content)
        next(lines, None)
        yield from lines


def read_about(path: Path) -> dict[str, Any]:
    """Read what a table is of.

    Raises
    ------
    InputError
        When there is no such file, or `galmorph predict` did not write it.
    """
    found = _about(path) if path.is_file() else None
    if found is None:
        raise InputError(
            f"{path}: not a table of `{WRITER}`. Give the files that it wrote. "
            f"Received: {'another file' if path.exists() else 'no such file'}"
        )
    return found


def _about(path: Path) -> dict[str, Any] | None:
    try:
        with parquet.ParquetFile(path) as file:
            about = json.loads((file.metadata.metadata or {}).get(ABOUT, b"{}"))
    except (pa.ArrowException, OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.get(WRITTEN_BY) == WRITER else None
