"""Pictures, the sample and the page."""

import numpy as np
import pytest

from galmorph.explain.heatmap import normalised, overlay
from galmorph.explain.report import data_url, png, render
from galmorph.explain.sheet import Explained, panel, sheet
from galmorph.params import PreprocessParams

SIZE = PreprocessParams(crop=0.5, image_size=24)


def test_normalisation_keeps_an_empty_map_empty():
    assert not normalised(np.zeros((4, 4))).any()
    np.testing.assert_allclose(normalised(np.array([[-1.0, 2.0], [0.0, 4.0]])), [[0, 0.5], [0, 1]])


def test_the_overlay_mixes_image_and_colour():
    image = np.full((2, 2, 3), 100, np.uint8)
    np.testing.assert_array_equal(overlay(image, np.ones((2, 2)), "viridis", 0.0), image)
    full = overlay(image, np.array([[0.0, 1.0], [0.0, 0.0]]), "viridis", 1.0)
    np.testing.assert_array_equal(full[0, 1], [253, 231, 37])  # viridis ends in yellow
    assert overlay(image, np.ones((2, 2)), "viridis", 0.6).dtype == np.uint8


@pytest.fixture
def explained():
    rng = np.random.default_rng(1)
    return [
        Explained(
            cataid=f"<{number}>", label="Other", predicted=answer, p_elliptical=0.3, chosen_as="random",
            image=rng.integers(0, 90, (60, 80, 3), np.uint8),
            attribution=np.eye(60, 80, dtype=np.float32) * (number > 0),
        )
        for number, answer in enumerate(["Other", "Elliptical", "Other", "Other", "Other"])
    ]  # fmt: skip


def test_sheets_and_panels_are_pictures(explained):
    for figure in (sheet(explained, SIZE, "viridis", 0.6), panel(explained[0], SIZE, "viridis", 0.6)):
        assert png(figure).startswith(b"\x89PNG")


def test_the_report_needs_no_network_and_says_what_is_wrong_or_empty(explained):
    rows = [
        {
            "cataid": galaxy.cataid, "label": galaxy.label, "predicted": galaxy.predicted, "p_elliptical": 0.3,
            "right": galaxy.right, "empty": galaxy.empty, "kind": "drawn at random",
            "picture": data_url(b"\x89PNG"),
        }
        for galaxy in explained
    ]  # fmt: skip
    facts = dict.fromkeys(("experiment", "architecture", "variant", "layer", "colour_map", "split", "data_digest"), "x")
    page = render(
        {**facts, "method": "grad_cam", "image_size": 24, "crop": 0.5, "alpha": 0.6},
        {"accuracy": {"value": 0.9, "low": None, "high": None}, "ece": {"value": 0.1, "low": 0.05, "high": 0.2}},
        rows,
    )
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<img ") == page.count("alt=") == 5
    assert page.count('class="wrong"') == 1
    assert "The map is empty" in page
    assert "&lt;0&gt;" in page, "an id from a catalogue must not become markup"
    assert "<dd>0.900</dd>" in page
    assert "0.100 (0.050 to 0.200)" in page
