import json

import numpy as np
import pandas as pd
import pytest

from galmorph.errors import InputError, ParamsError
from galmorph.evaluation.check_figures import slice_figure
from galmorph.evaluation.slices import slice_record, slice_table, slice_warnings


def manifest_of(predictions, seed=0, **columns):
    n = len(predictions)
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "CATAID": predictions["CATAID"],
            "accepted": True,
            "reasons": "",
            "blank_channel": "",
            "radius_pixels": random.uniform(2, 20, n),
            "width": pd.array([100] * n, "Int64"),
            "height": pd.array([200] * n, "Int64"),
            "galaxy_r": random.uniform(10, 90, n),
            "galaxy_g": random.uniform(10, 90, n),
            "galaxy_b": random.uniform(10, 90, n),
            **columns,
        }
    )


def answers(table, right, p=0.9):
    """Galaxies of either class in turn, answered with the same certainty, rightly where `right` says."""
    labels = np.where(np.arange(len(right)) % 2, "Elliptical", "Other")
    sure = np.where((labels == "Elliptical") == np.asarray(right), p, 1 - p)
    return table(labels, sure)


def with_slices(params, **changes):
    return params.model_copy(update={"slices": params.slices.model_copy(update=changes)})


def part(found, group, name):
    (row,) = found[(found["group"] == group) & (found["slice"] == name)].to_dict("records")
    return row


def test_a_slice_that_is_worse_is_flagged_and_no_other(table, params):
    right = np.r_[np.zeros(20, bool), np.ones(20, bool), np.ones(160, bool)]
    predictions = answers(table, right)
    manifest = manifest_of(predictions, blank_channel=["b"] * 40 + [""] * 160)
    found = slice_table(predictions, manifest, params)
    blank = part(found, "blank channel", "any")
    assert (blank["n"], blank["support Elliptical"], blank["support Other"]) == (40, 20, 20)
    assert blank["accuracy"] == 0.5
    assert blank["difference"] == pytest.approx(-0.5)
    assert blank["low"] == pytest.approx(0.352, abs=1e-3)  # Wilson, 20 of 40
    assert blank["high"] == pytest.approx(0.648, abs=1e-3)
    assert blank["warning"]
    assert blank["p_holm"] >= blank["p_value"]
    assert found["warning"].sum() == 1
    (sentence,) = slice_warnings(found)
    assert sentence.startswith("blank channel: accuracy 0.500 [0.352, 0.648] on 40 galaxies, 50.0 points below")


def test_a_slice_that_is_better_is_not_flagged(table, params):
    predictions = answers(table, np.r_[np.ones(40, bool), np.arange(160) % 2 == 0])
    manifest = manifest_of(predictions, blank_channel=["b"] * 40 + [""] * 160)
    found = slice_table(predictions, manifest, params)
    assert part(found, "blank channel", "any")["difference"] > 0.4
    assert not found["warning"].any()


def test_chance_is_flagged_no_oftener_than_confidence_allows(table, params):
    """Fifteen slices each time that mean nothing: without Holm most of these tables would hold a warning."""
    params = with_slices(params, columns=("a", "b", "c"))
    raised, unadjusted = 0, 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        predictions = answers(table, random.random(240) < 0.85)
        extra = {name: random.random(240) for name in "abc"}
        found = slice_table(predictions, manifest_of(predictions, 1000 + seed, **extra), params)
        raised += bool(found["warning"].any())
        unadjusted += bool((found["p_value"] < 0.05).any())
    assert raised <= 6
    assert unadjusted > 12


def test_size_is_relative_to_the_shorter_side_and_cut_into_thirds(table, params):
    predictions = answers(table, np.ones(90, bool))
    manifest = manifest_of(predictions, radius_pixels=np.arange(90.0))
    found = slice_table(predictions, manifest, params)
    sizes = found[found["group"] == "apparent size"]
    assert sizes["slice"].tolist() == ["1 of 3", "2 of 3", "3 of 3"]
    assert sizes["n"].tolist() == [30, 30, 30]
    assert sizes["range"].tolist() == ["below 0.297", "from 0.297 below 0.593", "from 0.593"]


def test_galaxies_that_were_not_found_are_a_slice(table, params):
    predictions = answers(table, np.r_[np.zeros(15, bool), np.ones(85, bool)])
    manifest = manifest_of(predictions)
    manifest.loc[:14, ["radius_pixels", "galaxy_r", "galaxy_g", "galaxy_b"]] = np.nan
    found = slice_table(predictions, manifest, params)
    row = part(found, "apparent size", "no galaxy found")
    assert (row["n"], row["accuracy"], row["warning"]) == (15, 0.0, True)
    assert found.loc[found["group"] == "apparent size", "n"].sum() == 100


def test_near_even_odds_says_what_the_model_promised(table, params):
    near, sure = np.full(60, 0.55), np.full(140, 0.95)
    labels = np.r_[np.where(np.arange(60) < 33, "Elliptical", "Other"), np.full(140, "Elliptical")]
    predictions = table(labels, np.r_[near, sure])
    found = slice_table(predictions, manifest_of(predictions), params)
    row = part(found, "near even odds", "any")
    assert (row["n"], row["promised"], row["warning"]) == (60, pytest.approx(0.55), True)
    (sentence,) = [text for text in slice_warnings(found) if text.startswith("near even odds")]
    assert "probabilities promise 0.550" in sentence


def test_columns_of_the_manifest(table, params):
    predictions = answers(table, np.ones(60, bool))
    kinds = ["S0"] * 30 + ["Sa"] * 20 + ["Im"] * 4 + ["E"] * 5 + [""]
    manifest = manifest_of(predictions, kind=kinds, redshift=np.linspace(0, 1, 60), code=[1, 11, 12] * 20)
    found = slice_table(predictions, manifest, with_slices(params, columns=("kind", "redshift", "code")))
    counts = {(row["group"], row["slice"]): row["n"] for row in found.to_dict("records")}
    assert (counts["kind", "S0"], counts["kind", "Sa"], counts["kind", "rarer values"]) == (30, 20, 10)
    assert part(found, "kind", "rarer values")["range"] == "E, Im, missing"
    assert (counts["redshift", "1 of 3"], counts["redshift", "3 of 3"]) == (20, 20)
    assert (counts["code", "1"], counts["code", "11"]) == (20, 20)


def test_a_column_that_is_not_there_lists_the_known_ones(table, params):
    predictions = answers(table, np.ones(30, bool))
    with pytest.raises(ParamsError, match=r"evaluate\.slices\.columns: .* no column hubble.*Known: .*galaxy_b.*hubble"):
        slice_table(predictions, manifest_of(predictions), with_slices(params, columns=("hubble",)))


def test_few_galaxies_are_listed_and_not_tested(table, params):
    predictions = answers(table, np.r_[np.zeros(5, bool), np.ones(95, bool)])
    found = slice_table(predictions, manifest_of(predictions, blank_channel=["g"] * 5 + [""] * 95), params)
    row = part(found, "blank channel", "any")
    assert (row["n"], row["accuracy"], row["warning"]) == (5, 0.0, False)
    assert np.isnan(row["p_value"])


def test_a_galaxy_that_the_manifest_does_not_know(table, params):
    predictions = answers(table, np.ones(30, bool))
    with pytest.raises(InputError, match=r"galaxy 000029 of the predictions.*Received: 1 such"):
        slice_table(predictions, manifest_of(predictions)[:29], params)


def test_rejected_rows_and_the_order_of_the_manifest_do_not_matter(table, params):
    predictions = answers(table, np.arange(90) % 5 > 0)
    manifest = manifest_of(predictions)
    more = manifest.assign(accepted=False, blank_channel="g")
    shuffled = pd.concat([more, manifest]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        slice_table(predictions, manifest, params), slice_table(predictions, shuffled, params)
    )


def test_a_manifest_of_an_older_galmorph(table, params):
    predictions = answers(table, np.ones(30, bool))
    with pytest.raises(InputError, match=r"column radius_pixels is missing\. Run validate again"):
        slice_table(predictions, manifest_of(predictions).drop(columns="radius_pixels"), params)


def test_one_class_alone_and_everything_right(table, params):
    predictions = table(["Other"] * 40, np.full(40, 0.1))
    found = slice_table(predictions, manifest_of(predictions), params)
    assert not found["warning"].any()
    record = slice_record(found)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    size = record["apparent size"]["1 of 3"]
    assert size["support"] == {"Elliptical": 0, "Other": size["n"]}
    assert size["accuracy"]["high"] == 1


def test_figure_names_every_slice_and_marks_the_worse(table, params):
    predictions = answers(table, np.r_[np.zeros(20, bool), np.ones(180, bool)])
    found = slice_table(predictions, manifest_of(predictions, blank_channel=["b"] * 30 + [""] * 170), params)
    figure = slice_figure(found, 0.9, 0.95, "cnn_raw, test")
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == len(found)
    assert names[0] == "blank channel  n = 30"
    assert any("significantly worse" in label for label in axes.get_legend_handles_labels()[1])
