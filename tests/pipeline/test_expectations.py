import dataclasses
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from galmorph.data.facts import Facts, facts_table
from galmorph.data.validate import (
    SUITE_PAGE,
    VALIDATION_PAGE,
    broken,
    copy_rule,
    flags,
    prepared,
    rules,
)

with warnings.catch_warnings():
    # Great Expectations imports them.
    warnings.filterwarnings("ignore", "module 'sre_(constants|parse|compile)' is deprecated", DeprecationWarning)
    from galmorph.data.expectations import examine

GOOD = Facts(
    sha256="0",
    format="PNG",
    mode="RGB",
    width=300,
    height=300,
    contrast_r=20.0,
    contrast_g=18.0,
    contrast_b=16.0,
    saturated=0.0,
    axis_ratio_measured=0.7,
    radius_pixels=30.0,
    phash="0123456789abcdef",
)


@pytest.fixture
def limits(params):
    return params.validate_


def examined(limits, count=60, facts=None, **columns):
    """Some galaxies, and what the suite says of them; `columns` and `facts` change rows by position."""
    table = pd.DataFrame(
        {"CATAID": [f"{k:03d}" for k in range(count)], "label": ["Elliptical", "Other"] * (count // 2)}
    )
    table = table.assign(row=range(2, count + 2), rejected="", RA=np.full(count, 130.0), Dec=np.zeros(count))
    for name, changes in columns.items():
        values = table[name].tolist()
        for position, value in changes.items():
            values[position] = value
        table[name] = values
    measured = [dataclasses.replace(GOOD, **(facts or {}).get(k, {})) for k in range(count)]
    view = prepared(facts_table(table, measured), limits).assign(group=table["CATAID"])
    found = broken(view, rules(limits))
    view["accepted"] = [not reasons for reasons in found]
    outcome = examine(view, limits)
    return view, {result.name: result for result in outcome.results}, outcome


def test_good_data_meet_every_expectation(limits):
    _, results, _ = examined(limits)
    assert all(result.met for result in results.values())
    assert results["galaxies"].observed == 60
    assert results["share of Elliptical"].observed == pytest.approx(0.5)
    assert results["share quarantined"].observed == 0


def test_the_suite_counts_the_rows_that_the_rules_find(limits):
    view, results, _ = examined(
        limits,
        label={3: "Spiral", 5: "", 6: "spiral"},
        rejected={9: "no image", 10: "no image"},
        RA={12: 10.0, 13: 300.0, 14: None},
        facts={
            20: {"problem": "broken"},
            21: {"width": 10, "height": 3},
            22: {"mode": "L", "format": "JPEG"},
            23: {"contrast_r": 0.1, "contrast_g": 0.2, "contrast_b": 0.0, "blank_channel": "rgb"},
            24: {"contrast_r": 0.1, "blank_channel": "r"},
            25: {"saturated": 0.5, "axis_ratio_measured": np.nan},
        },
    )
    asked = (*rules(limits), copy_rule(), *flags(limits))
    expected = {rule.name: int((~rule.check.passes(view).astype(bool)).sum()) for rule in asked}
    assert {name: results[name].observed for name in expected} == expected
    assert sum(expected.values()) >= 15
    assert {results[rule.name].kind for rule in rules(limits)} == {"row"}
    assert {results[rule.name].kind for rule in flags(limits)} == {"flag"}


def test_a_few_bad_rows_leave_the_suite_met_and_many_do_not(limits):
    few = examined(limits, label=dict.fromkeys(range(4), "Spiral"))[1]
    assert few["unknown label"].met
    assert few["share quarantined"].met
    many = examined(limits, label=dict.fromkeys(range(12), "Spiral"))[1]
    assert not many["unknown label"].met
    assert not many["share quarantined"].met
    assert many["share quarantined"].observed == pytest.approx(0.2)


def test_a_flag_is_never_unmet(limits):
    _, results, _ = examined(limits, facts={k: {"contrast_b": 0.0, "blank_channel": "b"} for k in range(60)})
    assert results["blank channel"].met
    assert results["blank channel"].observed == 60


def test_an_id_that_is_there_twice_is_seen(limits):
    _, results, _ = examined(limits, CATAID={7: "003"})
    assert not results["ids unique"].met
    assert results["ids unique"].kind == "whole"


def test_class_balance_is_of_the_accepted_galaxies(limits):
    _, results, _ = examined(limits, label=dict.fromkeys(range(0, 52, 2), "Other"))
    assert not results["share of Elliptical"].met
    assert not results["share of Other"].met
    assert results["share of Elliptical"].observed == pytest.approx(4 / 60)
    rejected = dict.fromkeys(range(0, 60, 2), "gone")  # every elliptical
    assert examined(limits, rejected=rejected)[1]["share of Elliptical"].observed == 0


def test_no_galaxy_at_all_is_unmet_not_a_crash(limits):
    _, results, _ = examined(limits, count=0)
    assert not results["galaxies"].met
    assert all(isinstance(result.observed, float) for result in results.values())


def test_nothing_accepted_is_unmet(limits):
    _, results, _ = examined(limits, rejected=dict.fromkeys(range(60), "gone"))
    assert not results["share quarantined"].met
    assert not results["share of Other"].met


def test_the_pages_need_no_network(limits):
    pages = examined(limits, label={3: "Spiral"})[2].pages
    assert set(pages) == {VALIDATION_PAGE, SUITE_PAGE}
    for page in pages.values():
        assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
        assert not re.search(r"<script|<link|<img", page, re.IGNORECASE)
        assert "../index.html" in page
    assert "Spiral" in pages[VALIDATION_PAGE]
    assert f'href="{SUITE_PAGE}"' in pages[VALIDATION_PAGE]
    assert "A galaxy that fails is quarantined." in pages[SUITE_PAGE]


def test_markup_in_the_data_stays_text(limits):
    page = examined(limits, label={3: "<b onclick=x>Spiral</b>"})[2].pages[VALIDATION_PAGE]
    assert "<b onclick" not in page


def test_nothing_is_written_under_the_home_folder_or_the_working_folder(tmp_path, repository):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    code = (
        "import pandas as pd\n"
        "from pathlib import Path\n"
        "from galmorph.data import expectations, facts, validate\n"
        "from galmorph.params import check, read_values\n"
        f"limits = check(read_values(Path({str(repository / 'params.yaml')!r})), 'params.yaml').validate_\n"
        "table = pd.DataFrame({'CATAID': ['1'], 'label': ['Other'], 'row': [2], 'rejected': ['']})\n"
        "view = validate.prepared(facts.facts_table(table, [facts.Facts(width=40, height=40)]), limits)\n"
        "expectations.examine(view.assign(group=['1'], accepted=[True]), limits)\n"
    )
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, check=True, timeout=300)
    assert list(home.rglob("*")) == []
    assert list(work.rglob("*")) == []
