"""The leaderboard as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from galmorph.evaluation.complexity import ranking_text, speed_text
from galmorph.evaluation.leaderboard import HEADLINE, OURS, Entry
from galmorph.evaluation.metrics import CLASSES
from galmorph.evaluation.text import NONE, large


def leaderboard_markdown(
    entries: Sequence[Entry],
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    best: Mapping[str, Any],
    complexity: pd.DataFrame,
    mistakes: pd.DataFrame,
) -> str:
    """Write the leaderboard as Markdown.

    Parameters
    ----------
    entries, facts
        What `leaderboard.leaderboard_entries` and `caveats.leaderboard_facts` gave.
    notes
        About the published rows.
    best
        What `selection.choose_best` gave.
    complexity, mistakes
        What `complexity.complexity_table` and `mistakes.confident_mistakes` gave.
    """
    return "\n".join(
        [
            "# Leaderboard",
            "",
            f"Chosen on validation: **{best['experiment']}**. {best['reason']}",
            "",
            *(f"- **{heading}**: {sentence}" for heading, sentence in facts),
            "",
            *_table(*_scores(entries, best)),
            "",
            "About the published rows:",
            "",
            *(f"- {note}" for note in notes),
            "",
            "## Complexity and interpretability",
            "",
            f"{ranking_text(complexity)} {speed_text(complexity)}",
            "",
            *_table(*_complexity(complexity)),
            "",
            "## Most confident mistakes",
            "",
            *_mistakes(mistakes, best["experiment"]),
            "",
        ]
    )


def _scores(entries: Sequence[Entry], best: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    reference = next((entry.comparison.reference for entry in entries if entry.comparison), "")
    headings = ["experiment", "from", "scored on", *(heading for _, heading in HEADLINE)]
    headings += [f"{label} P / R / F1 (galaxies)" for label in CLASSES]
    headings += [f"accuracy less that of {reference}"] if reference else []
    rows = []
    for entry in entries:
        against, counts = entry.against()
        row = [
            _name(entry, best),
            entry.source if entry.source == OURS else f"*{entry.source}*",
            f"{entry.split}, n = {entry.n:,}",
            *(f"{entry.text(name)} {entry.interval(name)}".strip() for name, _ in HEADLINE),
            *(entry.triple(label) + _bracketed(entry.support(label)) for label in CLASSES),
        ]
        rows.append(row + ([f"{against or NONE}{_bracketed(counts)}"] if reference else []))
    return headings, rows


def _name(entry: Entry, best: Mapping[str, Any]) -> str:
    if entry.source != OURS:
        return entry.experiment
    if entry.experiment == best["experiment"]:
        return f"**{entry.experiment}** (chosen)"
    return entry.experiment + (" (tied at the choice)" if entry.experiment in best["indistinguishable"] else "")


def _complexity(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    headings = ["experiment", "the study", "layers", "parameters", "trainable", "FLOPs an image", "images/s"]
    rows = [
        [
            row["experiment"],
            row["study_said"],
            str(row["layers"]),
            *(large(row[key]) for key in ("parameters", "trainable_parameters", "flops", "images_per_second")),
        ]
        for row in table.to_dict("records")
    ]
    return headings, rows


def _mistakes(mistakes: pd.DataFrame, chosen: str) -> list[str]:
    if mistakes.empty:
        return [f"{chosen} makes none."]
    headings = ["CATAID", "label", "p_elliptical", "experiments that are wrong"]
    rows = [
        [row["CATAID"], row["label"], f"{row['p_elliptical']:.3f}", f"{row['wrong']} of {row['of']}"]
        for row in mistakes.to_dict("records")
    ]
    return [f"Of {chosen}; pictures are in mistakes.png beside this file.", "", *_table(headings, rows)]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (headings, ["---"] * len(headings), *rows)]


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""
