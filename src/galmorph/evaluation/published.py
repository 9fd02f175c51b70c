"""The published figures that stand beside ours; the numbers are in published.yaml."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from galmorph.evaluation.bootstrap import wilson_interval
from galmorph.evaluation.metrics import CLASSES, PER_CLASS

#: Of the intervals that are worked out here for the published accuracies.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PublishedRow:
    """What was published for one experiment.

    Attributes
    ----------
    scores
        In the layout of `metrics.score`, as far as published; accuracy with an interval worked out from the number of
        galaxies.
    approximate
        Whether the numbers were given as "about".
    """

    experiment: str
    architecture: str
    variant: str
    scores: dict[str, Any]
    approximate: bool
    note: str


@dataclass(frozen=True)
class Published:
    """A study's figures, and what they were measured on."""

    source: str
    split: str
    n: int
    image_size: int
    crop: float
    caveats: tuple[str, ...]
    rows: tuple[PublishedRow, ...]

    def notes(self) -> list[str]:
        """Return what to know about the study, then about single rows, a sentence each."""
        return [*self.caveats, *(f"{row.experiment}: {row.note}." for row in self.rows if row.note)]


@cache
def published() -> Published:
    """Return the published figures."""
    text = resources.files("galmorph.evaluation").joinpath("published.yaml").read_text("utf-8")
    values = YAML(typ="safe").load(text)
    rows = tuple(_row(row, values["n"]) for row in values.pop("rows"))
    return Published(**{**values, "caveats": tuple(values["caveats"])}, rows=rows)


def _row(row: dict[str, Any], n: int) -> PublishedRow:
    scores: dict[str, Any] = {"n": n}
    if "accuracy" in row:
        low, high = wilson_interval(np.array([row["accuracy"]]), np.array([n]), CONFIDENCE)
        scores["accuracy"] = {"value": row["accuracy"], "low": float(low[0]), "high": float(high[0])}
        scores["loss"] = {"value": row["loss"], "low": None, "high": None}
    given = {label: row[label] for label in CLASSES if label in row}
    if given:
        scores["support"] = {label: values[-1] for label, values in given.items()}
        for index, name in enumerate(PER_CLASS):
            scores[name] = {
                label: {"value": values[index], "low": None, "high": None} for label, values in given.items()
            }
    return PublishedRow(
        row["experiment"],
        row["architecture"],
        row["variant"],
        scores,
        row.get("approximate", False),
        row.get("note", ""),
    )
