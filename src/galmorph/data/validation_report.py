"""The data report: one page that shows what the galaxies are like, what was put aside and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from galmorph.data.montage import as_png, data_url
from galmorph.data.shortcuts import Shortcut
from galmorph.data.validate import LABELS, SUITE_PAGE, VALIDATION_PAGE, Result
from galmorph.params import ValidateParams

#: Where the pages of Great Expectations lie, beside the report.
EXPECTATIONS = "great_expectations"
#: Tables beside the report, where there is anything to list.
QUARANTINED, NEAR_DUPLICATES = "quarantined.csv", "near_duplicates.csv"
#: Of Okabe and Ito's colours, safe for the colour-blind.
_COLOURS = {"Elliptical": "#D55E00", "Other": "#0072B2"}
_FIRST = 5

#: What is drawn of the accepted galaxies: column, title, axis with unit.
_DISTRIBUTIONS = (
    ("axis_ratio_measured", "Axis ratio", "minor over major axis"),
    ("radius_pixels", "Size", "half-light radius (pixels)"),
    ("mean_r", "Red channel", "mean of the frame (of 255)"),
    ("mean_g", "Green channel", "mean of the frame (of 255)"),
    ("mean_b", "Blue channel", "mean of the frame (of 255)"),
    ("contrast_g", "Contrast", "standard deviation, green (of 255)"),
)


@dataclass(frozen=True)
class Quarantined:
    """A reason that rows were quarantined for.

    Attributes
    ----------
    name
        Of the rule.
    count
        Rows that broke it.
    first
        The first of their CATAIDs, in the order of the catalogue.
    example
        What was said of the first.
    """

    name: str
    count: int
    first: tuple[str, ...]
    example: str


def tally(cataids: Sequence[str], broken: Sequence[Sequence[tuple[str, str]]]) -> list[Quarantined]:
    """Count the rules that were broken, the most frequent first.

    Parameters
    ----------
    cataids
        Of the catalogue.
    broken
        Of each row the (rule, reason) it is quarantined for, or flagged with.
    """
    counts = Counter(name for found in broken for name, _ in found)
    rows: dict[str, list[tuple[str, str]]] = {name: [] for name in counts}
    for cataid, found in zip(cataids, broken, strict=True):
        for name, reason in found:
            if len(rows[name]) < _FIRST:
                rows[name].append((cataid, reason))
    return [
        Quarantined(name, count, tuple(cataid for cataid, _ in rows[name]), rows[name][0][1])
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def verdict(
    manifest: pd.DataFrame, results: Sequence[Result], reasons: Sequence[Quarantined], source: str, page: str
) -> str:
    """Say why the data as a whole are not fit; empty when they are.

    Parameters
    ----------
    manifest
        With `accepted`.
    results
        Of the expectations.
    reasons
        What rows were quarantined for.
    source, page
        Where the data lie, and where the report does.
    """
    unmet = [result for result in results if result.kind == "whole" and not result.met]
    if not unmet:
        return ""
    lost = int((~manifest["accepted"]).sum())
    said = "; ".join(f"{result.says}. Received: {_shown(result)}" for result in unmet)
    worst = "; ".join(f"{reason.count} x {reason.name} (first: {', '.join(reason.first)})" for reason in reasons[:3])
    return (
        f"{source}: the data as a whole are not fit. {said}. Quarantined: {lost:,} of {len(manifest):,} galaxies"
        f"{': ' + worst if worst else ''}. {page} shows more, and every one is in the "
        f"table {QUARANTINED} beside it. Put the data right, or change `validate` in "
        f"params.yaml; a manifest that was there before is left as it was."
    )


def _shown(result: Result) -> str:
    if np.isnan(result.observed):
        return "nothing"
    return f"{result.observed:.1%}" if result.name.startswith("share") else f"{result.observed:g}"


def distribution(galaxies: pd.DataFrame, column: str, title: str, axis: str) -> Figure:
    """Draw how a measured number is distributed over each class.

    Parameters
    ----------
    galaxies
        The accepted rows of the manifest.
    column
        What is drawn; missing values are left out.
    title, axis
        Of the picture, and of its horizontal axis, with the unit.
    """
    figure = Figure(figsize=(4.0, 2.7), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    values = galaxies[column].to_numpy(float)
    known = values[np.isfinite(values)]
    if known.size:
        # The longest tail would squeeze the rest: beyond the 99.5th percentile is counted in the last bin.
        low, high = float(known.min()), float(np.percentile(known, 99.5))
        edges = np.linspace(low, high if high > low else low + 1, 26)
        for label in LABELS:
            own = values[(galaxies["label"] == label).to_numpy() & np.isfinite(values)]
            counts, _ = np.histogram(np.clip(own, edges[0], edges[-1]), edges)
            line = "-" if label == LABELS[0] else "--"
            axes.stairs(counts, edges, label=label, color=_COLOURS[label], linewidth=1.6, linestyle=line)
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing measured", ha="center", transform=axes.transAxes)
    axes.set_title(title, size=10, loc="left", weight="bold")
    axes.set_xlabel(axis, size=9)
    axes.set_ylabel("galaxies", size=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def render(
    manifest: pd.DataFrame,
    results: Sequence[Result],
    reasons: Sequence[Quarantined],
    marks: Sequence[Quarantined],
    found: Sequence[Shortcut],
    sheets: Mapping[str, tuple[str, Figure]],
    pairs: Mapping[str, int],
    params: ValidateParams,
    problem: str,
) -> str:
    """Write the page.

    Parameters
    ----------
    manifest
        All of it.
    results
        Of the expectations.
    reasons, marks
        What rows were quarantined for, and flagged with.
    found
        The shortcuts.
    sheets
        Contact sheets by heading, each with what it shows in words.
    pairs
        Of near duplicates: `candidates`, `proven`, `groups`, `largest`.
    params
        The limits.
    problem
        Why the stage stops; empty when it does not.

    Returns
    -------
    str
        HTML that needs no network.
    """
    galaxies = manifest[manifest["accepted"]]
    sizes = Counter(zip(galaxies["width"], galaxies["height"], strict=True)).most_common(_FIRST)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("galmorph.data"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("validation.html").render(
        total=len(manifest),
        accepted=len(galaxies),
        counts={label: int((galaxies["label"] == label).sum()) for label in LABELS},
        sizes=[(f"{width} × {height}", count) for (width, height), count in sizes],  # noqa: RUF001
        results=results,
        reasons=reasons,
        marks=marks,
        shortcuts=found,
        limit=params.max_shortcut,
        sheets=[(title, text, data_url(as_png(figure))) for title, (text, figure) in sheets.items()],
        pairs=pairs,
        correlation=params.duplicate_correlation,
        distributions=[
            (title, axis, data_url(as_png(distribution(galaxies, column, title, axis))))
            for column, title, axis in _DISTRIBUTIONS
        ],
        problem=problem,
        validation_page=f"{EXPECTATIONS}/{VALIDATION_PAGE}",
        quarantined_table=QUARANTINED,
        pairs_table=NEAR_DUPLICATES,
        suite_page=f"{EXPECTATIONS}/{SUITE_PAGE}",
    )
