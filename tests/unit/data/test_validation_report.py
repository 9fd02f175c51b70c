import numpy as np
import pandas as pd
import pytest

from galmorph.data.validate import Result
from galmorph.data.validation_report import distribution, tally, verdict


def manifest(accepted=8, rejected=2):
    return pd.DataFrame({"accepted": [True] * accepted + [False] * rejected})


def result(name="ids unique", kind="whole", met=False, observed=2.0):
    return Result(name, "No CATAID is there twice", kind, met, observed)


def test_tally_counts_rules_and_keeps_the_first_ids():
    broken = [[("b", "b of 1")], [], [("a", "a of 3"), ("b", "b of 3")], *[[("a", f"a of {k}")] for k in range(4, 11)]]
    first, second = tally([str(k) for k in range(1, 11)], broken)
    assert (first.name, first.count, first.first) == ("a", 8, ("3", "4", "5", "6", "7"))
    assert first.example == "a of 3"
    assert (second.name, second.count, second.first) == ("b", 2, ("1", "3"))
    assert tally(["1"], [[]]) == []


def test_rules_broken_equally_often_come_by_name():
    assert [reason.name for reason in tally(["1", "2"], [[("z", "")], [("a", "")]])] == ["a", "z"]


def test_only_an_unmet_demand_on_the_whole_stops():
    fine = [result(met=True), result(kind="row"), result(kind="flag")]
    assert verdict(manifest(), fine, [], "catalogue.csv", "index.html") == ""


def test_the_verdict_names_counts_reasons_ids_page_and_remedy():
    reasons = tally(["7", "8"], [[("blank image", "blank")], [("blank image", "blank")]])
    said = verdict(
        manifest(), [result(), result("share of Other", observed=0.123)], reasons, "raw/catalogue.csv", "r/x.html"
    )
    assert said.startswith("raw/catalogue.csv: ")
    assert "No CATAID is there twice. Received: 2;" in said
    assert "Received: 12.3%" in said
    assert "2 of 10 galaxies: 2 x blank image (first: 7, 8)" in said
    assert "r/x.html shows more, and every one is in the table quarantined.csv" in said


def test_a_demand_that_saw_nothing_says_so():
    assert "Received: nothing" in verdict(manifest(0, 0), [result(observed=float("nan"))], [], "c", "p")


@pytest.mark.parametrize("values", [[0.2, 0.5, np.nan, 0.9], [np.nan] * 4, [0.5] * 4])
def test_a_distribution_has_labelled_axes(values):
    galaxies = pd.DataFrame({"label": ["Elliptical", "Other"] * 2, "axis_ratio_measured": values})
    (axes,) = distribution(galaxies, "axis_ratio_measured", "Axis ratio", "minor over major axis").axes
    assert axes.get_xlabel() == "minor over major axis"
    assert axes.get_ylabel() == "galaxies"


def test_a_distribution_counts_every_galaxy_once():
    rng = np.random.default_rng(0)
    galaxies = pd.DataFrame({"label": ["Elliptical", "Other"] * 300, "radius_pixels": rng.lognormal(3, 1, 600)})
    (axes,) = distribution(galaxies, "radius_pixels", "Size", "pixels").axes
    counts = [patch.get_data().values.sum() for patch in axes.patches]
    assert counts == [300, 300]
