"""The models here are functions of pixels: one looks at the galaxy alone, one at the sky alone."""

import json

import numpy as np
import pandas as pd
import pytest

from galmorph.evaluation.check_figures import shortcut_figure
from galmorph.evaluation.masking import masked
from galmorph.evaluation.shortcut import shortcut_record, shortcut_warning
from galmorph.params import PreprocessParams

SIDE, MARGIN = 80, 0.05


def cutout(elliptical, seed):
    """Ellipticals are brighter in the middle, and lie on a brighter sky: a survey's accident."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    sky = (18 if elliptical else 12) + random.normal(0, 2, (SIDE, SIDE, 3))
    light = (190 if elliptical else 110) * np.exp(-np.hypot(y, x) / 5)[..., None]
    return np.clip(np.rint(sky + light), 0, 255).astype(np.uint8)


def reads_the_sky(image):
    return 0.9 if image[:12].mean() > 15 else 0.1


def reads_the_galaxy(image):
    return 0.9 if image[38:42, 38:42].mean() > 130 else 0.1


@pytest.fixture(scope="module")
def galaxies():
    return [(("Elliptical", "Other")[k % 2], cutout(k % 2 == 0, k)) for k in range(40)]


def answers(model, galaxies):
    rows = []
    for index, (label, image) in enumerate(galaxies):
        changed = masked(image, MARGIN, 0, str(index))
        kinds = (image, changed.without_galaxy, changed.without_surroundings)
        rows.append((f"{index:03d}", label, *map(model, kinds)))
    return pd.DataFrame(rows, columns=["CATAID", "label", "original", "without_galaxy", "without_surroundings"])


def test_a_model_that_reads_only_the_sky_is_flagged(galaxies, params):
    record = shortcut_record(answers(reads_the_sky, galaxies), 0, params)
    assert record["original"]["accuracy"]["value"] == 1
    without = record["without_galaxy"]
    assert (without["accuracy"]["value"], without["warning"]) == (1, True)
    assert without["p_value"] < 1e-4
    sentence = shortcut_warning(record)
    assert "is still 1.000" in sentence
    assert "always answering Elliptical reaches 0.500" in sentence
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_model_that_reads_the_galaxy_is_not(galaxies, params):
    record = shortcut_record(answers(reads_the_galaxy, galaxies), 3, params)
    without, around = record["without_galaxy"], record["without_surroundings"]
    assert without["accuracy"]["value"] == 0.5
    assert without["difference"]["value"] == -0.5
    assert without["difference"]["high"] < -0.3
    assert not without["warning"]
    assert shortcut_warning(record) is None
    assert around["accuracy"]["value"] == 1
    assert around["difference"] == {"value": 0.0, "low": None, "high": None}
    assert (record["n"], record["not_found"]) == (40, 3)


def test_blind_answers_are_no_shortcut_however_uneven_the_classes(params):
    labels = np.array(["Other"] * 80 + ["Elliptical"] * 20)
    table = pd.DataFrame({"CATAID": [str(k) for k in range(100)], "label": labels})
    record = shortcut_record(table.assign(original=0.2, without_galaxy=0.2, without_surroundings=0.2), 0, params)
    assert record["blind"] == {"answer": "Other", "accuracy": 0.8}
    assert record["without_galaxy"]["accuracy"]["value"] == 0.8
    assert not record["without_galaxy"]["warning"]
    assert record["without_galaxy"]["roc_auc"]["value"] == 0.5


def test_guessing_is_flagged_no_oftener_than_confidence_allows(params):
    params = params.model_copy(update={"bootstrap": 20})
    raised = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        labels = np.where(random.random(120) < 0.5, "Elliptical", "Other")
        table = pd.DataFrame({"CATAID": [str(k) for k in range(120)], "label": labels})
        guess = random.random((120, 3))
        table[["original", "without_galaxy", "without_surroundings"]] = guess
        raised += shortcut_warning(shortcut_record(table, 0, params)) is not None
    assert raised <= 6


def test_one_class_and_no_galaxy(galaxies, params):
    one = [galaxy for galaxy in galaxies if galaxy[0] == "Other"]
    record = shortcut_record(answers(reads_the_sky, one), 0, params)
    assert record["without_galaxy"]["roc_auc"]["value"] is None
    assert not record["without_galaxy"]["warning"]
    assert shortcut_record(answers(reads_the_sky, one)[:0], 20, params) is None
    assert shortcut_warning(None) is None


def test_figure_shows_three_pictures_a_galaxy(galaxies):
    shown = [(str(k), galaxies[k][1], masked(galaxies[k][1], MARGIN, 0, str(k))) for k in range(3)]
    figure = shortcut_figure(shown, PreprocessParams(crop=0.6, image_size=32), "cnn_raw")
    assert [axes.get_title() for axes in figure.axes[:3]] == ["0", "galaxy masked", "sky and neighbours replaced"]
    assert len(figure.axes) == 9
