"""The leaderboard: our scores with their intervals beside the published ones, as a table, as Markdown and as a page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from galmorph.evaluation.metrics import CLASSES, OVERALL, PER_CLASS
from galmorph.evaluation.published import Published, PublishedRow
from galmorph.evaluation.selection import ranking_key
from galmorph.evaluation.text import NONE, interval_text, percent, score_text
from galmorph.params import CompareStageParams

OURS, THEIRS = "galmorph", "published"
#: Columns of the Markdown table and of the page that hold one score: name, heading.
HEADLINE = (("accuracy", "accuracy"), ("loss", "loss"), ("roc_auc", "ROC AUC"), ("ece", "calibration error"))
SOURCES = {
    "simulate": "simulated by galmorph; what is scored here says nothing yet about a real survey",
    "archive": "a labelled archive",
    "cutouts": "survey cutouts fetched for a catalogue",
    None: "not recorded",
}


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
        What the model was: image size, crop, phases.
    scores
        In the layout of `metrics.score`; a published row has some of them.
    """

    experiment: str
    source: str
    architecture: str
    variant: str
    scale: str
    split: str
    n: int
    scores: Mapping[str, Any]
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

    def support(self, label: str) -> str:
        """Write how many galaxies of a class were scored; nothing where that is not known."""
        count = self.scores.get("support", {}).get(label)
        return "" if count is None else f"{count:,}"


def leaderboard_entries(
    records: Mapping[str, Mapping[str, Any]], published: Published, params: CompareStageParams
) -> list[Entry]:
    """Lay out the rows: ours by their score on validation, best first, each followed by its published counterpart.

    Parameters
    ----------
    records
        Experiment to what `metrics.evaluation_record` gave for it.
    published
        What stands beside them; published experiments that were not run here come last, those
        without a figure not at all.

    Returns
    -------
    list of Entry
        Ordered by validation, also where test is shown: an order by test would invite to choose by it.
    """
    theirs = {row.experiment: _published_entry(row, published) for row in published.rows if "accuracy" in row.scores}
    ranked = sorted(records, key=lambda name: ranking_key(records[name], params.compare.select_by))
    entries = []
    for name in ranked:
        entries.append(_our_entry(records[name], params.experiments[name].phases))
        if name in theirs:
            entries.append(theirs.pop(name))
    return entries + list(theirs.values())


def _our_entry(record: Mapping[str, Any], phases: Sequence[str]) -> Entry:
    split = record["scored_split"]
    return Entry(
        record["experiment"],
        OURS,
        record["architecture"],
        record["variant"],
        f"{record['image_size']} px of the central {percent(record['crop'])}, {' + '.join(phases)}",
        split,
        record[split]["n"],
        record[split],
    )


def _published_entry(row: PublishedRow, published: Published) -> Entry:
    return Entry(
        row.experiment,
        THEIRS,
        row.architecture,
        row.variant,
        f"{published.image_size} px of the whole frame",
        published.split,
        published.n,
        row.scores,
        row.approximate,
    )


def leaderboard_table(entries: Iterable[Entry]) -> pd.DataFrame:
    """Lay the rows out as a table, every score with its interval.

    Returns
    -------
    pandas.DataFrame
        `experiment`, `source` (galmorph or published), `architecture`, `variant`, `scale`, `split`, `n`, `support` of
        each class, `<score>`, `<score>_low`, `<score>_high`, `<score>_<class>` likewise, `approximate`. Missing numbers
        are empty.
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
    return row | {"approximate": entry.approximate}


def leaderboard_facts(records: Mapping[str, Mapping[str, Any]], published: Published) -> list[tuple[str, str]]:
    """Say what a reader must know before comparing: a heading and a sentence each."""
    record = next(iter(records.values()))
    split = record["scored_split"]
    sizes = sorted({one["image_size"] for one in records.values()})
    confidence = percent(record[split]["confidence"])
    numbers = ", ".join(f"{count:,} {label}" for label, count in record[split]["support"].items())
    held_out = (
        f"test, n = {record[split]['n']:,} ({numbers}), never trained on and never chosen by."
        if split == "test"
        else f"VALIDATION, n = {record[split]['n']:,} ({numbers}): the published split has no test galaxies. Training "
        "stopped by these galaxies and the best was chosen on them, so the scores flatter."
    )
    chance = (
        f"{confidence}, by resampling the scored galaxies; they hold the chance of which galaxies were scored, not of "
        "another training run. Published accuracies carry the interval that their number of galaxies implies."
    )
    apart = (
        f"Published rows come from {published.source}: {published.split}, n = {published.n:,}. They are another split "
        "at best, and other galaxies unless these are that study's: read them as a scale, not as an opponent."
    )
    source = record.get("data_source")
    return [
        ("Galaxies", f"{SOURCES.get(source, source)}."),
        ("Scored on", held_out),
        ("Image size", f"{' and '.join(f'{size} px' for size in sizes)}; published: {published.image_size} px."),
        ("Intervals", chance),
        ("Not one to one", apart),
    ]


def leaderboard_markdown(
    entries: Sequence[Entry],
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    best: Mapping[str, Any],
) -> str:
    """Write the leaderboard as Markdown.

    Parameters
    ----------
    entries, facts
        What `leaderboard_entries` and `leaderboard_facts` gave.
    notes
        About the published rows.
    best
        What `selection.choose_best` gave.
    """
    headings = ["experiment", "from", "scored on", *(heading for _, heading in HEADLINE)]
    headings += [f"{label} P / R / F1 (galaxies)" for label in CLASSES]
    rows = [
        [
            f"**{entry.experiment}** (chosen)"
            if entry.source == OURS and entry.experiment == best["experiment"]
            else entry.experiment,
            entry.source if entry.source == OURS else f"*{entry.source}*",
            f"{entry.split}, n = {entry.n:,}",
            *(f"{entry.text(name)} {entry.interval(name)}".strip() for name, _ in HEADLINE),
            *(entry.triple(label) + _bracketed(entry.support(label)) for label in CLASSES),
        ]
        for entry in entries
    ]
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(
        [
            "# Leaderboard",
            "",
            f"Chosen on validation: **{best['experiment']}**. {best['reason']}",
            "",
            *(f"- **{heading}**: {sentence}" for heading, sentence in facts),
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
            "About the published rows:",
            "",
            *(f"- {note}" for note in notes),
            "",
        ]
    )


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""
