"""The leaderboard's rows: our scores with their intervals beside the published ones, and what to know about them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from galmorph.evaluation.mcnemar import Comparison
from galmorph.evaluation.metrics import CLASSES, OVERALL, PER_CLASS
from galmorph.evaluation.published import Published, PublishedRow
from galmorph.evaluation.selection import ranking_key
from galmorph.evaluation.text import NONE, interval_text, p_text, percent, score_text, signed
from galmorph.params import CompareStageParams

OURS, THEIRS = "galmorph", "published"
#: Columns of the Markdown table and of the page that hold one score: name, heading.
HEADLINE = (("accuracy", "accuracy"), ("loss", "loss"), ("roc_auc", "ROC AUC"), ("ece", "calibration error"))
_COMPARED = (
    "reference", "b", "c", "p_mcnemar", "p_holm",
    "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high", "told_apart",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard.

    Attributes
    ----------
    source
        `galmorph` or `published`.
    split
        What was scored, `n` galaxies of it.
    scale
        What the model was: image size, crop, phases and epochs, weights.
    scores
        In the layout of `metrics.score`; a published row has some of them.
    weights, epochs
        What the model started from, and how many epochs it was trained for; None where that was not published.
    comparison
        With the reference, on the same galaxies; None for the reference itself and for published rows.
    """

    experiment: str
    source: str
    architecture: str
    variant: str
    scale: str
    split: str
    n: int
    scores: Mapping[str, Any]
    weights: str | None = None
    epochs: int | None = None
    comparison: Comparison | None = None
    approximate: bool = False

    def score(self, name: str, label: str | None = None) -> Mapping[str, float | None] | None:
        """Return a score with its interval; None where the row has none."""
        found = self.scores.get(name)
        if label is not None and found is not None:
            found = found.get(label)
        return found

    def text(self, name: str) -> str:
        """Write a score's value."""
        found = self.score(name)
        about = "≈ " if self.approximate and found is not None else ""
        return about + score_text(found and {"value": found["value"]})

    def interval(self, name: str) -> str:
        """Write a score's interval; nothing where there is none."""
        return interval_text(self.score(name) or {}).strip()

    def triple(self, label: str) -> str:
        """Write a class's precision, recall and F1."""
        scores = [self.score(name, label) for name in PER_CLASS]
        if not any(scores):
            return NONE
        return " / ".join(score_text(score and {"value": score["value"]}, 2) for score in scores)

    def against(self) -> tuple[str, str]:
        """Write how the row stands against the reference: the difference, then the verdict and what it rests on."""
        if self.comparison is None:
            return "", ""
        verdict = "told apart" if self.comparison.told_apart else "tied"
        counts = f"{verdict}: b {self.comparison.b:,}, c {self.comparison.c:,}, p {p_text(self.comparison.p_holm)}"
        return signed(self.comparison.difference), counts

    def support(self, label: str) -> str:
        """Write how many galaxies of a class were scored; nothing where that is not known."""
        count = self.scores.get("support", {}).get(label)
        return "" if count is None else f"{count:,}"


def leaderboard_entries(
    records: Mapping[str, Mapping[str, Any]],
    published: Published,
    params: CompareStageParams,
    comparisons: Mapping[str, Comparison],
) -> list[Entry]:
    """Lay out the rows: ours by their score on validation, best first, each followed by its published counterpart.

    Parameters
    ----------
    records
        Experiment to what `metrics.evaluation_record` gave for it.
    published
        What stands beside them; published experiments that were not run here come last, those
        without a figure not at all.
    comparisons
        What `mcnemar.compare_with` gave on the scored split.

    Returns
    -------
    list of Entry
        Ordered by validation, also where test is shown: an order by test would invite to choose by it.
    """
    theirs = {row.experiment: _published_entry(row, published) for row in published.rows if "accuracy" in row.scores}
    ranked = sorted(records, key=lambda name: ranking_key(records[name], params.compare.select_by))
    entries = []
    for name in ranked:
        entries.append(_our_entry(records[name], comparisons.get(name)))
        if name in theirs:
            entries.append(theirs.pop(name))
    return entries + list(theirs.values())


def _our_entry(record: Mapping[str, Any], comparison: Comparison | None) -> Entry:
    split, recipe = record["scored_split"], record["recipe"]
    return Entry(
        record["experiment"],
        OURS,
        record["architecture"],
        record["variant"],
        f"{record['image_size']} px of the central {percent(record['crop'])}, {_phases(recipe)}, "
        f"{weights_text(recipe['weights'])}",
        split,
        record[split]["n"],
        record[split],
        recipe["weights"],
        sum(recipe["epochs"]),
        comparison,
    )


def _phases(recipe: Mapping[str, Any]) -> str:
    each = [f"{phase} {epochs}" for phase, epochs in zip(recipe["phases"], recipe["epochs"], strict=True)]
    return f"{' + '.join(each)} epochs"


def weights_text(weights: str) -> str:
    """Write what a network started from."""
    named = {"none": "no pretrained weights", "imagenet": "ImageNet weights"}
    return named.get(weights, f"weights of {weights}")


def _published_entry(row: PublishedRow, published: Published) -> Entry:
    return Entry(
        row.experiment,
        THEIRS,
        row.architecture,
        row.variant,
        f"{published.image_size} px of the whole frame"
        + (f", {weights_text(row.weights)}" if row.weights != "none" else ""),
        published.split,
        published.n,
        row.scores,
        row.weights,
        approximate=row.approximate,
    )


def leaderboard_table(entries: Iterable[Entry]) -> pd.DataFrame:
    """Lay the rows out as a table, every score with its interval.

    Returns
    -------
    pandas.DataFrame
        `experiment`, `source` (galmorph or published), `architecture`, `variant`, `scale`, `split`, `n`, `support` of
        each class, `<score>`, `<score>_low`, `<score>_high`, `<score>_<class>` likewise; `weights`, `epochs`; against
        the `reference`: `b`, `c`, `p_mcnemar`, `p_holm`, `accuracy_difference` with its interval, `told_apart`;
        `approximate`. Missing numbers are empty.
    """
    return pd.DataFrame([_flat(entry) for entry in entries])


def _flat(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = {
        key: getattr(entry, key) for key in ("experiment", "source", "architecture", "variant", "scale", "split", "n")
    }
    row |= {f"support_{label}": entry.scores.get("support", {}).get(label) for label in CLASSES}
    columns: list[tuple[str, str | None]] = [(name, None) for name in OVERALL]
    columns += [(name, label) for name in PER_CLASS for label in CLASSES]
    for name, label in columns:
        score = entry.score(name, label) or {}
        column = name if label is None else f"{name}_{label}"
        row |= {
            column: score.get("value"),
            f"{column}_low": score.get("low"),
            f"{column}_high": score.get("high"),
        }
    return row | {
        "weights": entry.weights,
        "epochs": entry.epochs,
        **_compared(entry.comparison),
        "approximate": entry.approximate,
    }


def _compared(comparison: Comparison | None) -> dict[str, Any]:
    if comparison is None:
        return dict.fromkeys(_COMPARED)
    difference = [comparison.difference[key] for key in ("value", "low", "high")]
    counted = (comparison.b, comparison.c, comparison.p, comparison.p_holm)
    return dict(zip(_COMPARED, (comparison.reference, *counted, *difference, comparison.told_apart), strict=True))
