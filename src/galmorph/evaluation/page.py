"""The leaderboard as one page that needs nothing from elsewhere: no script, no font, no picture from a network."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd

from galmorph.evaluation.complexity import ranking_text, speed_text
from galmorph.evaluation.leaderboard import HEADLINE, OURS, Entry
from galmorph.evaluation.metrics import CLASSES
from galmorph.evaluation.text import large

#: Scores that were published too, and so can be drawn beside ours; whether more is better.
PLOTTED = (("accuracy", "Accuracy", True), ("loss", "Loss", False))
_DIGESTS = ("data_digest", "model_digest", "predictions_digest")


@dataclass(frozen=True)
class Mark:
    """A row of a plot: where its dot and its interval lie, in percent of the width."""

    entry: Entry
    at: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Plot:
    """A dot and an interval for each experiment, on one axis.

    Attributes
    ----------
    ticks
        Place in percent of the width, and label.
    """

    heading: str
    better: str
    ticks: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...]


def leaderboard_html(
    entries: Sequence[Entry],
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    best: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    complexity: pd.DataFrame,
    mistakes: pd.DataFrame,
    thumbnails: Sequence[bytes],
) -> str:
    """Write the leaderboard as a self-contained HTML page.

    Parameters
    ----------
    entries, facts
        What `leaderboard.leaderboard_entries` and `caveats.leaderboard_facts` gave.
    notes
        About the published rows.
    best
        What `selection.choose_best` gave.
    records
        Experiment to what `metrics.evaluation_record` gave for it, for the digests.
    complexity, mistakes
        What `complexity.complexity_table` and `mistakes.confident_mistakes` gave.
    thumbnails
        A JPEG of each mistake.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("galmorph.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["large"] = large
    ours = [entry for entry in entries if entry.source == OURS]
    pictures = ["data:image/jpeg;base64," + base64.b64encode(thumbnail).decode() for thumbnail in thumbnails]
    return environment.get_template("leaderboard.html").render(
        entries=entries,
        facts=facts,
        notes=notes,
        best=best,
        split=ours[0].split,
        plots=[plot(entries, name, heading, more) for name, heading, more in PLOTTED],
        headline=HEADLINE,
        classes=CLASSES,
        ours=OURS,
        digests={entry.experiment: {key: records[entry.experiment][key] for key in _DIGESTS} for entry in ours},
        digest_names=_DIGESTS,
        reference=next((entry.comparison.reference for entry in ours if entry.comparison), ""),
        complexity=complexity.astype(object).where(complexity.notna(), None).to_dict("records"),
        complexity_text=f"{ranking_text(complexity)} {speed_text(complexity)}",
        mistakes=list(zip(mistakes.to_dict("records"), pictures, strict=True)),
    )


def plot(entries: Sequence[Entry], name: str, heading: str, more_is_better: bool) -> Plot:
    """Place a score of every row that has it on an axis that holds them all, with round ends."""
    rows = [(entry, score) for entry in entries if (score := entry.score(name)) and score["value"] is not None]
    shown = [value for _, score in rows for value in score.values() if value is not None]
    ticks = round_ticks(min(shown), max(shown))
    start, end = ticks[0], ticks[-1]

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - start) / (end - start), 2)

    marks = tuple(
        Mark(
            entry,
            place(score["value"]) or 0.0,
            place(score["low"]),
            place(score["high"]),
            f"{entry.text(name)} {entry.interval(name)}".strip(),
        )
        for entry, score in rows
    )
    labels = tuple((place(tick) or 0.0, f"{tick:g}") for tick in ticks)
    return Plot(heading, "more is better" if more_is_better else "less is better", labels, marks)


def round_ticks(low: float, high: float) -> list[float]:
    """Return three to seven evenly spaced round numbers, the first not above `low`, the last not below `high`."""
    span = max(high - low, 0.01)
    power = 10.0 ** math.floor(math.log10(span / 3))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 2)
    return [round(step * index, 10) for index in range(first, last + 1)]
