"""The table of predictions: its columns and what they mean, and how parts of the work become rows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galmorph.data.dataset import POSITIVE, classes_of, near_threshold, without_evidence


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    name, kind
        Its name and Arrow type.
    description
        What it says, for TOPCAT and for people.
    ucd
        What it is, in the words of the Virtual Observatory (UCD1+, IVOA 2023).
    """

    name: str
    kind: pa.DataType
    description: str
    ucd: str


COLUMNS = (
    Column("CATAID", pa.string(), "The galaxy's id, as in the catalogue or in its image's name", "meta.id;meta.main"),
    Column("p_elliptical", pa.float64(), "Calibrated probability that it is Elliptical", "stat.probability;src.morph"),
    Column("label", pa.string(), "Elliptical from the model's threshold up, else Other", "src.morph.type"),
    Column("near_threshold", pa.bool_(), "So near to the threshold that a person should look", "meta.code.qual"),
    Column("model_version", pa.string(), "The registered model and its version", "meta.version"),
    Column("data_digest", pa.string(), "SHA-256 that names the galaxies the model was trained on", "meta.checksum"),
    Column("sha256", pa.string(), "SHA-256 of the image's file", "meta.checksum;meta.file"),
)
SCHEMA = pa.schema([pa.field(one.name, one.kind, nullable=False) for one in COLUMNS])

#: A part of the work as it is kept until all parts are there: every galaxy of it, with an answer or a reason.
PART = pa.schema([
    ("row", pa.string()), ("CATAID", pa.string()), ("file", pa.string()), ("reason", pa.string()),
    ("p_elliptical", pa.float64()), ("sha256", pa.string()), ("heat_map", pa.list_(pa.float32())),
])  # fmt: skip

#: Of the heat maps, one a galaxy with an answer.
HEAT_MAPS = pa.schema([
    pa.field("CATAID", pa.string(), nullable=False),
    pa.field("label", pa.string(), nullable=False),
    pa.field("empty", pa.bool_(), nullable=False),
    pa.field("heat_map", pa.list_(pa.float32()), nullable=False),
])  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What makes an answer of a probability.

    Attributes
    ----------
    threshold
        From this `p_elliptical` up the answer is Elliptical.
    near_threshold
        Answers nearer to it than this are marked.
    model_version, data_digest
        Of the model.
    """

    threshold: float
    near_threshold: float
    model_version: str
    data_digest: str


def rows(part: pa.Table, verdict: Verdict) -> pa.Table:
    """Make rows of the table of a part's answers.

    Parameters
    ----------
    part
        Of schema `PART`.

    Returns
    -------
    pyarrow.Table
        Of schema `SCHEMA`, in the order of the part.
    """
    answered = part.filter(pc.field("reason").is_null())
    p = answered["p_elliptical"].to_numpy()
    constant = {"model_version": verdict.model_version, "data_digest": verdict.data_digest}
    columns = {
        "CATAID": answered["CATAID"],
        "p_elliptical": p,
        "label": classes_of(p, verdict.threshold),
        "near_threshold": near_threshold(p, verdict.threshold, verdict.near_threshold),
        **{name: pa.array([value] * len(p), pa.string()) for name, value in constant.items()},
        "sha256": answered["sha256"],
    }
    return pa.table(columns, SCHEMA)


def heat_map_rows(part: pa.Table, threshold: float) -> pa.Table:
    """Make rows of the heat maps of a part's answers; of schema `HEAT_MAPS`."""
    answered = part.filter(pc.field("reason").is_null())
    found = classes_of(answered["p_elliptical"].to_numpy(), threshold)
    maps = answered["heat_map"].combine_chunks()
    values = maps.flatten().to_numpy().reshape(len(answered), -1) if len(answered) else np.zeros((0, 1), np.float32)
    empty = without_evidence(values * np.where(found == POSITIVE, 1, -1)[:, None])
    return pa.table({"CATAID": answered["CATAID"], "label": found, "empty": empty, "heat_map": maps}, HEAT_MAPS)


def rejected_rows(part: pa.Table) -> list[tuple[str, str, str, str]]:
    """Return row, CATAID, file and reason of a part's galaxies without an answer."""
    found = part.filter(pc.field("reason").is_valid())
    return list(zip(*(found[name].to_pylist() for name in ("row", "CATAID", "file", "reason")), strict=True))


def part_table(
    galaxies: Sequence[tuple[str, str, str]],
    reasons: Sequence[str | None],
    digests: Sequence[str | None],
    p_elliptical: Sequence[float | None],
    maps: Sequence[np.ndarray | None],
) -> pa.Table:
    """Put together a part.

    Parameters
    ----------
    galaxies
        Row, CATAID and file of each.
    reasons
        Why it has no answer; None where it has one.
    digests, p_elliptical
        SHA-256 of its file, and its answer; None without one.
    maps
        `(h, w)` float32, as `galmorph.serving.runtime.Answers` has them; None without one.
    """
    columns: Mapping[str, Any] = {
        **dict(zip(("row", "CATAID", "file"), zip(*galaxies, strict=True), strict=True)),
        "reason": reasons,
        "p_elliptical": p_elliptical,
        "sha256": digests,
        "heat_map": [None if one is None else one.ravel() for one in maps],
    }
    return pa.table({name: pa.array(columns[name], PART.field(name).type) for name in PART.names}, PART)
