"""The explanation report: one HTML file, with everything in it and nothing fetched."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd

from galmorph.evaluation.text import score_text
from galmorph.explain.embedding import drawing_url, photograph_url, png
from galmorph.explain.explained import KINDS, AboutMethod, Explained
from galmorph.explain.figures import agreement_figure, on_galaxy_figure, randomisation_figure
from galmorph.explain.panel import Cell, cells, gradient, scale_note
from galmorph.explain.reason import Reason
from galmorph.explain.report_words import CHECKS, MARKS, QUALITY, SCORES, in_short, listed_galaxies
from galmorph.params import ExplainParams, PreprocessParams

#: A figure is drawn at this resolution, sharp on a phone; an activation sheet has more filters than a screen is wide.
_FIGURE_DPI, _SHEET_WIDTH = 200, 1400
#: Colours of a colour bar: the browser blends those between.
_STOPS = 17


@dataclass(frozen=True)
class Model:
    """The model that is explained.

    Attributes
    ----------
    facts
        What it is, each as a heading and a text.
    preprocess
        What it sees of a cutout.
    split
        The split that `scores` belong to.
    scores
        By name: `value`, `low` and `high`.
    """

    experiment: str
    facts: Sequence[tuple[str, str]]
    preprocess: PreprocessParams
    split: str
    scores: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Checked:
    """How the explanations were checked.

    Attributes
    ----------
    record
        What `galmorph.explain.faithfulness` gave: `scored_split`, `galaxies`, `methods`, `agreement`, `on_galaxy`,
        `randomisation`, `seed`.
    shares
        A row a galaxy and method: `CATAID`, `method`, and the shares `galaxy`, `neighbours`, `sky`, `uniform`.
    """

    record: Mapping[str, Any]
    shares: pd.DataFrame


@dataclass(frozen=True)
class Reported:
    """A galaxy of the report, and the answer's reasons in words."""

    galaxy: Explained
    reasons: Sequence[Reason]


def render(
    model: Model,
    methods: Sequence[AboutMethod],
    galaxies: Sequence[Reported],
    checked: Checked | None,
    activations: Mapping[str, bytes],
    params: ExplainParams,
) -> str:
    """Write the page.

    Parameters
    ----------
    model
        What is explained.
    methods
        Those that were used, in the order of the page.
    galaxies
        In the order of the sample, which puts what went wrong first; they are grouped by why they were chosen.
    checked
        None where explanations were not checked: the page says so.
    activations
        Layer to its sheet of filters, as PNG.
    params
        Printed in full, and asked for the pictures' colours.

    Returns
    -------
    str
        HTML that needs no network. Sixteen galaxies with a dozen pictures each make about 2 MB.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("galmorph.explain"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = score_text
    return environment.get_template("report.html").render(
        model=model,
        methods=methods,
        in_short=in_short(model.scores, model.split, checked.record if checked else None),
        checked=checked,
        figures=_figures(methods, checked, params) if checked else {},
        lists=_lists(checked) if checked else [],
        max_listed=params.faithfulness.max_listed,
        check_names=CHECKS,
        score_names=SCORES,
        marks=MARKS,
        failed=_failed(checked) if checked else {},
        quality=QUALITY,
        groups=_groups(galaxies, model.preprocess, params),
        shown={reported.galaxy.cataid for reported in galaxies},
        activations={layer: drawing_url(sheet, _SHEET_WIDTH) for layer, sheet in activations.items()},
        bars={name: gradient(name, _STOPS) for name in {params.picture.colour_map, params.picture.signed_colour_map}},
        picture=params.picture,
        scale_note=scale_note(params.picture),
        seeds={"sample and methods": params.seed, **({"checks": checked.record["seed"]} if checked else {})},
        parameters=json.dumps(params.model_dump(mode="json"), indent=2, ensure_ascii=False),
    )


def _groups(
    galaxies: Sequence[Reported], preprocess: PreprocessParams, params: ExplainParams
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return galaxies by kind; jinja's own groupby would sort the kinds by name."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for reported in galaxies:
        galaxy = reported.galaxy
        shown = [_picture(cell) for cell in cells(galaxy, preprocess, params.picture)]
        groups.setdefault(KINDS[galaxy.chosen_as], []).append(
            {"galaxy": galaxy, "cells": shown, "reasons": reported.reasons}
        )
    return list(groups.items())


def _picture(cell: Cell) -> dict[str, Any]:
    height, width = cell.picture.shape[:2]
    return {"cell": cell, "url": photograph_url(cell.picture), "width": width, "height": height}


def _figures(methods: Sequence[AboutMethod], checked: Checked, params: ExplainParams) -> dict[str, tuple[str, str]]:
    """Draw what the checks found: name to picture and alternative text."""
    record = checked.record
    titles = {about.name: about.title for about in methods if about.name in record["methods"]}
    scores = {name: record["methods"][name]["scores"] for name in titles}
    limit = params.faithfulness.randomisation.max_correlation
    uniform = record["on_galaxy"]["uniform"]
    made = {
        "on_galaxy": (
            on_galaxy_figure(checked.shares, scores, uniform, titles),
            f"Dots: share of each galaxy's map that lies on it; an even map has {score_text(uniform, 2)}. Means: "
            + _said(titles, {name: one.get("galaxy_share") for name, one in scores.items()}),
        ),
        "agreement": (
            agreement_figure(record["agreement"], titles),
            f"Matrix of mean rank correlations between the maps of {', '.join(titles.values())}",
        ),
        "randomisation": (
            randomisation_figure(record["randomisation"], limit, titles),
            "Rank correlation with the true maps while layers are made random. With all of them random: "
            + _said(
                titles, {name: (points or [{}])[-1].get("correlation") for name, points in _curves(record).items()}
            ),
        ),
    }
    return {name: (drawing_url(png(figure, _FIGURE_DPI), _SHEET_WIDTH), alt) for name, (figure, alt) in made.items()}


def _curves(record: Mapping[str, Any]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = record["randomisation"]
    return curves


def _said(titles: Mapping[str, str], scores: Mapping[str, Mapping[str, Any] | None]) -> str:
    return "; ".join(f"{title} {score_text(scores.get(name), 2)}" for name, title in titles.items())


def _failed(checked: Checked) -> dict[str, str]:
    """Name the checks that each method failed, for those that failed any."""
    said = {
        name: ", ".join(
            CHECKS[check][0].lower() for check, given in one["verdicts"].items() if given["verdict"] == "failed"
        )
        for name, one in checked.record["methods"].items()
    }
    return {name: checks for name, checks in said.items() if checks}


def _lists(checked: Checked) -> list[tuple[str, list[tuple[str, str]], int]]:
    """Galaxies to be wary of: a heading, of each its id and what is said of it, and the number of rows."""
    titles = {name: one["title"] for name, one in checked.record["methods"].items()}
    found = checked.record["on_galaxy"]
    return [
        (heading, listed_galaxies(found[name], titles), len(found[name]))
        for heading, name in (
            ("Explained by their neighbours", "neighbours"),
            ("Explained by a blank channel", "blank_channel"),
        )
    ]
