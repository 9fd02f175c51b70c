import io

import numpy as np
import pytest
from PIL import Image

from galmorph.evaluation.figures import evaluation_figures
from galmorph.evaluation.metrics import score


def texts(figure):
    found = [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title]]
    for holder in [figure, *figure.axes]:
        for legend in getattr(holder, "legends", []) or filter(None, [getattr(holder, "get_legend", lambda: None)()]):
            found += [text.get_text() for text in legend.get_texts()]
    return found


@pytest.fixture(scope="module")
def drawn(draw, params):
    predictions = draw(200, seed=4)
    scores = score(predictions, params)
    return predictions, scores, evaluation_figures(predictions, scores, params.calibration_bins, "cnn_raw, test")


@pytest.mark.parametrize("name", ["confusion", "roc", "calibration", "probability"])
def test_every_figure_is_drawn_with_labels(drawn, name):
    figure = drawn[2][name]
    image = Image.open(io.BytesIO(_png(figure)))
    assert min(image.size) > 300
    assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert figure.get_suptitle() == "cnn_raw, test"
    assert figure.axes[-1].get_xlabel()
    assert figure.axes[-1].get_ylabel()


def _png(figure):
    held = io.BytesIO()
    figure.savefig(held, format="png")
    return held.getvalue()


def test_confusion_figure_shows_counts_and_shares_of_rows(drawn):
    predictions, _, figures = drawn
    elliptical = predictions[predictions["label"] == "Elliptical"]
    found = (elliptical["predicted"] == "Elliptical").sum()
    shown = texts(figures["confusion"])
    assert f"{found:,}" in shown
    assert f"{found / len(elliptical):.1%}" in shown


def test_roc_figure_shows_the_area_with_its_interval(drawn):
    _, scores, figures = drawn
    area = scores["roc_auc"]
    assert f"area {area['value']:.3f} [{area['low']:.3f}, {area['high']:.3f}]" in texts(figures["roc"])


def test_calibration_figure_shows_the_error_and_the_counts(drawn):
    predictions, scores, figures = drawn
    shown = texts(figures["calibration"])
    assert any(f"{scores['ece']['value']:.3f}" in text for text in shown)
    counts = [int(text) for text in shown if text.isdigit()]
    assert sum(counts) == len(predictions)


def test_one_class_is_drawn_and_says_so(table, params):
    predictions = table(["Other"] * 4, [0.1, 0.2, 0.6, 1.0])
    figures = evaluation_figures(predictions, score(predictions, params), 10, "one class")
    assert "not defined: one class only" in texts(figures["roc"])
    for figure in figures.values():
        _png(figure)
