"""The published figures that stand beside ours; the numbers are in published.yaml."""

from collections.abc import Sequence
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
    weights
        What the network started from, as `train.transfer.weights` names it.
    """

    experiment: str
    architecture: str
    variant: str
    scores: dict[str, Any]
    approximate: bool
    weights: str
    note: str


@dataclass(frozen=True)
class Rank:
    """A place in the study's ranking of complexity against interpretability.

    Attributes
    ----------
    place
        1 is the simplest and easiest to interpret.
    architectures
        What stands there.
    frozen
        Whether that is with a backbone that only extracts features, or one that learns too; None: either.
    said
        What the study says of it.
    """

    place: int
    architectures: tuple[str, ...]
    frozen: bool | None
    said: str


@dataclass(frozen=True)
class Published:
    """A study's figures, what they were measured on, and its ranking of complexity."""

    source: str
    split: str
    n: int
    image_size: int
    crop: float
    caveats: tuple[str, ...]
    ranking: tuple[Rank, ...]
    rows: tuple[PublishedRow, ...]

    def rank(self, architecture: str, phases: Sequence[str]) -> Rank | None:
        """Return an experiment's place in the study's ranking, or None where it has none.

        Parameters
        ----------
        architecture, phases
            What was trained, and the phases that were run.
        """
        frozen = tuple(phases) == ("frozen",)
        return next(
            (one for one in self.ranking if architecture in one.architectures and one.frozen in (None, frozen)), None
        )

    def notes(self) -> list[str]:
        """Return what to know about the study, then about single rows, a sentence each."""
        return [*self.caveats, *(f"{row.experiment}: {row.note}." for row in self.rows if row.note)]


@cache
def published() -> Published:
    """Return the published figures."""
    text = resources.files("galmorph.evaluation").joinpath("published.yaml").read_text("utf-8")
    values = YAML(typ="safe").load(text)
    pretrained = values.pop("pretrained")
    rows = tuple(_row(row, values["n"], pretrained.get(row["architecture"], "none")) for row in values.pop("rows"))
    ranking = tuple(
        Rank(one["place"], tuple(one["architectures"]), one["frozen"], one["said"]) for one in values.pop("ranking")
    )
    return Published(**{**values, "caveats": tuple(values["caveats"])}, ranking=ranking, rows=rows)


def _row(row: dict[str, Any], n: int, weights: str) -> PublishedRow:
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
        weights,
        row.get("note", ""),
    )
