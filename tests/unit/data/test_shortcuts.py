import numpy as np
import pandas as pd
import pytest

from galmorph.data.shortcuts import shortcuts, wilson


def galaxies(count=400, seed=0, **columns):
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(count) < 0.5, "Elliptical", "Other")
    table = pd.DataFrame({"CATAID": [str(k) for k in range(count)], "label": label})
    table["group"] = table["CATAID"]
    for name in ("mean_r", "mean_g", "mean_b", "galaxy_r", "galaxy_g", "galaxy_b"):
        table[name] = rng.normal(20, 5, count)
    table["axis_ratio_measured"] = rng.uniform(0.2, 1, count)
    table["radius_pixels"] = rng.uniform(10, 40, count)
    return table.assign(**columns)


def by_name(table):
    return {one.name: one for one in shortcuts(table)}


def test_numbers_that_say_nothing_are_near_chance():
    for one in shortcuts(galaxies()):
        assert one.accuracy == pytest.approx(0.5, abs=0.08)
        assert one.low < one.accuracy < one.high
        assert one.galaxies == 400


def test_a_colour_that_gives_the_class_away_is_seen():
    table = galaxies()
    red = np.where(table["label"] == "Elliptical", 30.0, 20.0) + np.random.default_rng(1).normal(0, 2, len(table))
    found = by_name(table.assign(mean_r=red))
    assert found["mean colours of the frame"].accuracy > 0.95
    assert found["mean colours of the galaxy"].accuracy < 0.65


def test_colours_and_brightness_are_told_apart():
    table = galaxies()
    elliptical = (table["label"] == "Elliptical").to_numpy()
    brighter = np.where(elliptical, 2.0, 1.0)[:, None] * np.array([30.0, 20.0, 10.0])
    found = by_name(table.assign(**dict(zip(("galaxy_r", "galaxy_g", "galaxy_b"), brighter.T, strict=True))))
    assert found["mean brightness of the galaxy"].accuracy == 1.0
    assert found["mean colours of the galaxy"].accuracy < 0.6
    redder = np.where(elliptical[:, None], [30.0, 20.0, 10.0], [10.0, 20.0, 30.0])
    found = by_name(table.assign(**dict(zip(("galaxy_r", "galaxy_g", "galaxy_b"), redder.T, strict=True))))
    assert found["mean colours of the galaxy"].accuracy == 1.0
    assert found["mean brightness of the galaxy"].accuracy < 0.6


def test_a_blank_channel_has_a_colour_too():
    table = galaxies()
    table.loc[:30, "galaxy_r"] = 0.0
    assert by_name(table)["mean colours of the galaxy"].galaxies == 400


def test_the_true_axis_ratio_is_listed_where_there_is_one():
    table = galaxies()
    assert "axis ratio, true" not in by_name(table)
    truth = np.where(table["label"] == "Elliptical", 0.9, 0.3)
    assert by_name(table.assign(axis_ratio=truth))["axis ratio, true"].accuracy == 1.0


def test_what_was_not_measured_is_left_out_of_the_judgement():
    table = galaxies()
    table.loc[:99, "axis_ratio_measured"] = np.nan
    assert by_name(table)["axis ratio, measured"].galaxies == 300


def test_a_twin_is_never_judged_by_a_fit_to_its_twin():
    # Labels at random and a number that names the pair: only a fit to the twin could know.
    rng = np.random.default_rng(5)
    once = galaxies(200, seed=3)
    twice = pd.concat([once, once.assign(CATAID=once["CATAID"] + "b")], ignore_index=True)
    noise = rng.normal(0, 1, 200)
    twice["mean_r"] = np.tile(noise, 2)
    assert by_name(twice)["mean colours of the frame"].accuracy < 0.62


@pytest.mark.parametrize("table", [galaxies(6), galaxies(0), galaxies(60).assign(label="Other")])
def test_too_few_galaxies_make_no_number(table):
    first, *others = shortcuts(table)
    assert first.galaxies == len(table)
    assert all(np.isnan(one.accuracy) and np.isnan(one.low) for one in others)


def test_wilson_agrees_with_its_published_values():
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert np.isnan(wilson(0.5, 0)).all()
