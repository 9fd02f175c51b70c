import dataclasses
import hashlib
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from galmorph.data.facts import Facts, facts_table, measure
from galmorph.data.validate import (
    Check,
    broken,
    copy_rule,
    exact_copies,
    flags,
    prepared,
    rules,
)

GOOD = Facts(
    sha256="0" * 64,
    format="PNG",
    mode="RGB",
    width=300,
    height=300,
    mean_r=10.0,
    mean_g=9.0,
    mean_b=8.0,
    contrast_r=20.0,
    contrast_g=18.0,
    contrast_b=16.0,
    saturated=0.0,
    galaxy_r=40.0,
    galaxy_g=30.0,
    galaxy_b=20.0,
    axis_ratio_measured=0.7,
    radius_pixels=30.0,
    phash="0123456789abcdef",
)


@pytest.fixture
def limits(params):
    return params.validate_


def png(image):
    written = io.BytesIO()
    Image.fromarray(image).save(written, "PNG")
    return written.getvalue()


def picture(seed=0, side=100):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] - side / 2
    light = 150 * np.exp(-np.hypot(x, 2 * y) / (side / 10))
    channels = [light * c + 15 + rng.normal(0, 3, light.shape) for c in (1.0, 0.7, 0.4)]
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


def catalogue(count=3, **columns):
    table = pd.DataFrame(
        {"CATAID": [f"00{k}" for k in range(count)], "label": "Elliptical", "row": range(2, count + 2), "rejected": ""}
    )
    return table.assign(**columns)


def judged(table, facts, limits, asked=rules):
    return broken(prepared(facts_table(table, facts), limits), asked(limits))


def test_measure_knows_the_image(limits):
    image = picture()
    found = measure(png(image), "1.png", limits)
    assert found.problem == ""
    assert (found.width, found.height, found.format, found.mode) == (100, 100, "PNG", "RGB")
    assert found.sha256 == hashlib.sha256(png(image)).hexdigest()
    assert (found.mean_r, found.mean_g, found.mean_b) == pytest.approx(tuple(image.mean((0, 1))))
    assert (found.contrast_r, found.contrast_g, found.contrast_b) == pytest.approx(tuple(image.std((0, 1))))
    assert found.blank_channel == ""
    assert found.axis_ratio_measured == pytest.approx(0.5, abs=0.08)
    assert found.galaxy_r > found.galaxy_g > found.galaxy_b > 0
    assert len(found.phash) == 16


@pytest.mark.parametrize(("blank", "letters"), [((0,), "r"), ((2,), "b"), ((0, 1), "rg"), ((0, 1, 2), "rgb")])
def test_measure_names_the_blank_channels(limits, blank, letters):
    image = picture()
    image[..., list(blank)] = 7
    assert measure(png(image), "1.png", limits).blank_channel == letters


def test_measure_counts_saturated_pixels_once(limits):
    image = picture()
    image[:10, :, 0] = 255
    image[:5, :, 1] = 255
    assert measure(png(image), "1.png", limits).saturated == pytest.approx(0.1)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", png(picture())[:500], png(picture())[:-200]], ids=["0", "text", "half", "end"]
)
def test_a_broken_file_is_a_problem_not_an_error(limits, content):
    found = measure(content, "images/7.png", limits)
    assert found.problem.startswith("images/7.png")
    assert found.width is None
    assert np.isnan(found.mean_r)


def test_a_bomb_is_refused(limits):
    found = measure(png(np.zeros((200, 200, 3), np.uint8)), "7.png", limits.model_copy(update={"max_pixels": 39_999}))
    assert "max_pixels" in found.problem


def test_a_good_galaxy_breaks_no_rule_and_has_no_flag(limits):
    assert judged(catalogue(), [GOOD] * 3, limits) == [[], [], []]
    view = prepared(facts_table(catalogue(1), [GOOD]), limits).assign(group=["000"])
    assert broken(view, flags(limits)) == [[]]


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"problem": "x.png: truncated"}, "unreadable image", "x.png: truncated"),
        ({"mode": "L"}, "not 8-bit RGB", "Received: L"),
        ({"mode": "RGB;16"}, "not 8-bit RGB", "Received: RGB;16"),
        ({"format": "JPEG"}, "not a PNG", "Received: JPEG"),
        ({"width": 31}, "too narrow", "Received: 31"),
        ({"height": 8}, "too low", "Received: 8"),
        ({"contrast_r": 1.0, "contrast_g": 1.5, "contrast_b": 0.0}, "blank image", "at most 1.5"),
    ],
)
def test_a_bad_image_breaks_its_rule(limits, change, name, said):
    (found,) = judged(catalogue(1), [dataclasses.replace(GOOD, **change)], limits)
    assert [rule for rule, _ in found] == [name]
    assert said in found[0][1]


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"label": ""}, "no label", "no label"),
        ({"label": None}, "no label", "no label"),
        ({"label": "Spiral"}, "unknown label", "Received: 'Spiral'"),
        ({"RA": 10.0, "Dec": 0.0}, "outside the footprint", "Received: RA 10.0, Dec 0.0"),
    ],
)
def test_a_bad_row_breaks_its_rule(limits, change, name, said):
    (found,) = judged(catalogue(1, **change), [GOOD], limits)
    assert [rule for rule, _ in found] == [name]
    assert said in found[0][1]


def test_what_acquire_rejected_has_that_reason_alone(limits):
    (found,) = judged(catalogue(1, rejected="image without label"), [Facts()], limits)
    assert found == [("not acquired", "image without label")]


def test_a_blank_channel_and_saturation_are_flags(limits):
    facts = dataclasses.replace(GOOD, contrast_r=0.1, blank_channel="r", saturated=0.4, axis_ratio_measured=np.nan)
    table = catalogue(2)
    assert judged(table, [facts, GOOD], limits) == [[], []]
    view = prepared(facts_table(table, [facts, GOOD]), limits).assign(group=["000", "000"])
    first, second = broken(view, flags(limits))
    assert [reason for _, reason in first] == [
        "blank channel r",
        "saturated: 40% of the pixels",
        "no galaxy found at the centre",
        "near duplicate, group 000",
    ]
    assert [name for name, _ in second] == ["near duplicate"]


def test_the_first_of_equal_files_stays():
    reasons = exact_copies(["3", "1", "2", "9"], ["Other"] * 4, ["a", "b", "a", "a"])
    assert reasons[:2] == ["", ""]
    assert reasons[2] == reasons[3] == "exact duplicate: the same image file as 3, which is kept"


def test_of_equal_files_with_other_labels_none_stays():
    reasons = exact_copies(["3", "1", "2", "7"], ["Other", "Other", "Elliptical", "Other"], ["a", "b", "a", "a"])
    assert reasons[1] == ""
    assert all("nothing tells which is right" in reasons[k] for k in (0, 2, 3))
    assert "2 (Elliptical), 7 (Other)" in reasons[0]


def test_no_copies_of_no_galaxies():
    assert exact_copies([], [], []) == []
    assert copy_rule().check.kind == "absent"


def test_facts_lie_beside_the_catalogue_in_its_order():
    given = catalogue(2, sersic_n=[1.0, np.nan], note=["good", None]).iloc[::-1]
    table = facts_table(given, [GOOD, dataclasses.replace(GOOD, width=200)])
    assert table["CATAID"].tolist() == ["001", "000"]
    assert table["width"].tolist() == [300, 200]
    assert table["note"].tolist() == ["", "good"]
    assert np.isnan(table["sersic_n"].iloc[0])
    assert table.index.tolist() == [0, 1]


def test_a_column_of_the_catalogue_gives_way_to_a_fact():
    table = facts_table(catalogue(1, width=12.5, group="a"), [GOOD])
    assert table["width"].tolist() == [300]
    assert table["width_catalogue"].tolist() == [12.5]
    assert table["group_catalogue"].tolist() == ["a"]


def test_unknown_facts_are_missing_not_zero():
    table = facts_table(catalogue(1), [Facts(problem="gone")])
    assert table["width"].isna().all()
    assert table["mean_r"].isna().all()
    assert table["phash"].tolist() == [""]


@pytest.mark.parametrize(
    ("check", "passes"),
    [
        (Check("value", "between", low=1, high=2), [True, True, False, True]),
        (Check("value", "between", high=1), [True, False, False, True]),
        (Check("value", "present"), [True, True, True, False]),
        (Check("value", "absent"), [False, False, False, True]),
    ],
)
def test_a_check_lets_missing_values_pass_unless_they_must_be_there(check, passes):
    assert check.passes(pd.DataFrame({"value": [1.0, 2.0, 3.0, None]})).tolist() == passes


def test_text_checks():
    table = pd.DataFrame({"value": pd.Series(["a", "b", "a", None, None], dtype=object)})
    assert Check("value", "one_of", ("a",)).passes(table).tolist() == [True, False, True, True, True]
    assert Check("value", "unique").passes(table).tolist() == [False, True, False, True, True]
