"""Figures of what a set of explanations says together."""

import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from galmorph.evaluation.text import NONE
from galmorph.explain.embedding import png
from galmorph.explain.figures import agreement_figure, on_galaxy_figure, randomisation_figure
from tests.explained import METHODS, checked, explained, score

TITLES = {about.name: about.title for about in METHODS}


@pytest.fixture(scope="module")
def found():
    return checked([explained(number) for number in range(4)])


def written(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def scores_of(found):
    return {name: one["scores"] for name, one in found.record["methods"].items()}


def test_every_galaxy_and_every_mean_is_drawn(found):
    uniform = found.record["on_galaxy"]["uniform"]
    (axes,) = on_galaxy_figure(found.shares, scores_of(found), uniform, TITLES).axes
    dots = [line for line in axes.lines if line.get_linestyle() == "None" and len(line.get_xdata()) == 4]
    assert len(dots) == len(METHODS)
    first = found.shares.loc[found.shares["method"] == "grad_cam", "galaxy"]
    np.testing.assert_allclose(sorted(dots[0].get_xdata()), sorted(first))
    means = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert means == [scores["galaxy_share"]["value"] for scores in scores_of(found).values()]
    (line,) = [line for line in axes.lines if line.get_label() == "even map, 0.30"]
    assert set(line.get_xdata()) == {0.3}
    assert axes.get_xlabel()


def test_shares_that_are_not_defined_are_said(found):
    shares = pd.DataFrame({"CATAID": ["1"], "method": ["lime"], "galaxy": [np.nan]})
    nothing = score(None, 0)
    figure = on_galaxy_figure(shares, {"lime": {"galaxy_share": nothing}}, nothing, TITLES)
    assert "not defined" in written(figure)
    assert png(figure).startswith(b"\x89PNG")


def test_a_mean_without_an_interval_is_drawn(found):
    bare = {"lime": {"galaxy_share": {"value": 0.4, "low": None, "high": None, "n": 1}}}
    (axes,) = on_galaxy_figure(found.shares, bare, score(0.3), TITLES).axes
    assert axes.containers[0].lines[0].get_xdata()[0] == 0.4


def test_the_matrix_shows_each_number_and_what_is_missing():
    record = {"methods": ["grad_cam", "lime"], "matrix": [[1.0, -0.001], [None, 1.0]]}
    text = written(agreement_figure(record, TITLES))
    assert text.count("1.00") == 2
    assert "0.00" in text, "no minus before it"
    assert NONE in text
    assert "LIME  2" in text


def test_curves_run_from_the_answer_down(found):
    figure = randomisation_figure(found.record["randomisation"], 0.5, TITLES)
    (axes,) = figure.axes
    assert len(axes.containers) == len(METHODS)
    x, y = axes.containers[3].lines[0].get_data()
    np.testing.assert_allclose(x, [0, 1 / 3, 2 / 3, 1], atol=0.05)
    np.testing.assert_allclose(y, [1, 0.9, 0.8, 0.7])
    assert any(set(line.get_ydata()) == {0.5} for line in axes.lines), "the line at which a method fails"
    styles = [(one.lines[0].get_color(), one.lines[0].get_marker()) for one in axes.containers]
    assert len(set(styles)) == len(METHODS)


def test_points_that_are_not_defined_are_left_out():
    curve = [{"layers": k, "of": 2, "correlation": score(value)} for k, value in enumerate((1.0, None, 0.2))]
    (axes,) = randomisation_figure({"lime": curve}, 0.5, TITLES).axes
    np.testing.assert_allclose(axes.containers[0].lines[0].get_xdata(), [0, 1])
    assert png(randomisation_figure({"lime": [{**curve[1]}]}, 0.5, TITLES)).startswith(b"\x89PNG")
