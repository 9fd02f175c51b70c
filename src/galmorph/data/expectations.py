"""The Great Expectations suite over the manifest: the rules of `galmorph.data.validate`, and what the whole must be.

An ephemeral context holds all of it in memory: nothing is written under the home folder, and nothing is sent. The
pages are Great Expectations' own, taken off the content networks they load their styles and scripts from.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations import expectations as gxe
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from galmorph.data.validate import (
    LABELS,
    SUITE_PAGE,
    VALIDATION_PAGE,
    Check,
    Result,
    Rule,
    copy_rule,
    flags,
    rules,
)
from galmorph.params import ValidateParams

_SHOWN = 20


@dataclass(frozen=True)
class Demand:
    """What the data as a whole must be; a demand that is not met stops the stage.

    Attributes
    ----------
    name, says
        Its short name, and what it demands.
    expectation
        What Great Expectations checks.
    """

    name: str
    says: str
    expectation: Any


@dataclass(frozen=True)
class Examination:
    """What Great Expectations found, and its pages: HTML by file name."""

    results: tuple[Result, ...]
    pages: dict[str, str]


def demands(params: ValidateParams) -> tuple[Demand, ...]:
    """Return what the data as a whole must be."""
    low, high = params.class_share
    shares = tuple(
        Demand(
            f"share of {label}",
            f"{low:.0%} to {high:.0%} of the accepted galaxies are {label} (validate.class_share)",
            gxe.ExpectColumnMeanToBeBetween(column=_share_column(label), min_value=low, max_value=high),
        )
        for label in LABELS
    )
    return (
        Demand("galaxies", "There is a galaxy", gxe.ExpectTableRowCountToBeBetween(min_value=1)),
        Demand("ids given", "Every galaxy has a CATAID", gxe.ExpectColumnValuesToNotBeNull(column="CATAID")),
        Demand("ids unique", "No CATAID is there twice", gxe.ExpectColumnValuesToBeUnique(column="CATAID")),
        Demand(
            "share quarantined",
            f"At most {params.max_rejected:.0%} of the galaxies are quarantined (validate.max_rejected)",
            gxe.ExpectColumnMeanToBeBetween(column="quarantined", max_value=params.max_rejected),
        ),
        *shares,
    )


def _share_column(label: str) -> str:
    return f"is_{label}"


def _expected(check: Check, mostly: float) -> Any:
    """Return the expectation that says what a check says."""
    common = {"column": check.column, "mostly": mostly}
    match check.kind:
        case "present":
            return gxe.ExpectColumnValuesToNotBeNull(**common)
        case "absent":
            return gxe.ExpectColumnValuesToBeNull(**common)
        case "one_of":
            return gxe.ExpectColumnValuesToBeInSet(value_set=list(check.values), **common)
        case "unique":
            return gxe.ExpectColumnValuesToBeUnique(**common)
        case _:
            return gxe.ExpectColumnValuesToBeBetween(min_value=check.low, max_value=check.high, **common)


def examine(view: pd.DataFrame, params: ValidateParams) -> Examination:
    """Run the suite.

    Parameters
    ----------
    view
        As `galmorph.data.validate.prepared` makes it, with `copy`, `group` and `accepted` filled in.
    params
        The limits.

    Returns
    -------
    Examination
        A result for each rule, flag and demand, and the pages.
    """
    # The pages show values as they are given: what a catalogue holds must not become markup.
    table = view.map(lambda value: html.escape(value) if isinstance(value, str) else value)
    table["quarantined"] = 1.0 - table["accepted"].astype(float)
    for label in LABELS:
        is_label = (table["label"] == label).astype(float)
        table[_share_column(label)] = is_label.where(table["accepted"].astype(bool))

    mostly = 1 - params.max_rejected
    expected: list[tuple[str, Rule | Demand, Any]] = [
        *(("whole", demand, demand.expectation) for demand in demands(params)),
        *(("row", rule, _expected(rule.check, mostly)) for rule in (*rules(params), copy_rule())),
        *(("flag", rule, _expected(rule.check, 0.0)) for rule in flags(params)),
    ]
    for kind, demanded, expectation in expected:
        expectation.meta = {"name": demanded.name, "kind": kind}
        expectation.severity = {"whole": "critical", "row": "warning", "flag": "info"}[kind]
        expectation.description = f"{demanded.says}. {_CONSEQUENCE[kind]}"

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    suite = context.suites.add(
        gx.ExpectationSuite(name="manifest", expectations=[expectation for *_, expectation in expected])
    )
    batch = context.data_sources.add_pandas("galmorph").add_dataframe_asset("manifest")
    definition = gx.ValidationDefinition(
        name="manifest", data=batch.add_batch_definition_whole_dataframe("all galaxies"), suite=suite
    )
    outcome = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table},
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": ["CATAID"],
            "partial_unexpected_count": _SHOWN,
        },
    )
    found = {one.expectation_config.meta["name"]: one for one in outcome.results}
    results = tuple(
        Result(demanded.name, demanded.says, kind, bool(found[demanded.name].success), _observed(found[demanded.name]))
        for kind, demanded, _ in expected
    )
    return Examination(results, _pages(outcome, suite))


_CONSEQUENCE = {
    "whole": "Otherwise the stage stops.",
    "row": "A galaxy that fails is quarantined.",
    "flag": "A galaxy that fails is flagged, and kept.",
}


def _observed(one: Any) -> float:
    """Return the number an expectation saw, plain: Great Expectations' pages show no NumPy scalar."""
    value = one.result.get("observed_value", one.result.get("unexpected_count"))
    if value is None:
        return float("nan")
    if "observed_value" in one.result:
        one.result["observed_value"] = round(float(value), 4)
    return float(value)


def _pages(outcome: Any, suite: Any) -> dict[str, str]:
    view = DefaultJinjaPageView()
    return {
        VALIDATION_PAGE: _stand_alone(view.render(ValidationResultsPageRenderer().render(outcome))),
        SUITE_PAGE: _stand_alone(view.render(ExpectationSuitePageRenderer().render(suite))),
    }


#: What a page loads or links to elsewhere, and what does nothing without it.
_ELSEWHERE: Sequence[str] = (
    r"<script\b[^>]*\bsrc=[^>]*>\s*</script>",
    r"<script\b.*?</script>",
    r"<link\b[^>]*>",
    r"<img\b[^>]*>",
    r"<footer\b.*?</footer>",
    r"<title>\s*</title>",
)


def _stand_alone(page: str) -> str:
    """Take a page of Great Expectations off the network, and point its links at its neighbours."""
    for pattern in _ELSEWHERE:
        page = re.sub(pattern, "", page, flags=re.DOTALL | re.IGNORECASE)
    page = re.sub(r"url\(['\"]?https?:[^)]*\)", "none", page)
    page = re.sub(r'href="(?:\.\./)+index\.html"', 'href="../index.html"', page)
    page = re.sub(r'href="(?:\.\./)+expectations/manifest\.html"', f'href="{SUITE_PAGE}"', page)
    # Of a context that lives in memory these say nothing.
    page = re.sub(r"Validations / manifest / [^<]*", "Validation of the manifest", page)
    page = re.sub(r"Data asset: None\s*<br>", "", page)
    style = resources.files("galmorph.data").joinpath("templates/great_expectations.css").read_text()
    return page.replace("</head>", f"<style>\n{style}</style>\n</head>", 1)
