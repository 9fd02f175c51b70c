import json

import numpy as np
import pytest

from galmorph.errors import ParamsError
from galmorph.evaluation.degrade import Setting
from galmorph.evaluation.robustness import robustness_curves, robustness_record
from galmorph.evaluation.robustness_figure import robustness_figure
from galmorph.params import RobustnessParams, check

SETTINGS = [Setting("zoom", level) for level in (0.6, 0.75, 1.35, 1.7)] + [Setting("noise", 8.0), Setting("jpeg", 30.0)]
N = 200


@pytest.fixture(scope="module")
def robustness(values) -> RobustnessParams:
    return check(values, "params.yaml").robustness.model_copy(update={"bootstrap": 400})


@pytest.fixture(scope="module")
def label():
    return np.where(np.arange(N) < 120, "Other", "Elliptical")


@pytest.fixture(scope="module")
def undegraded():
    return np.arange(N) % 10 > 0  # 0.9


def degraded(undegraded, *lost):
    """Answers in each setting, of which some that were right are wrong."""
    right = np.repeat(undegraded[:, None], len(SETTINGS), axis=1)
    for column, count in enumerate(lost):
        right[np.flatnonzero(undegraded)[:count], column] = False
    return right


def test_accuracy_and_paired_difference(undegraded, robustness):
    curves = robustness_curves(SETTINGS, degraded(undegraded, 60, 4, 2, 30, 0, 100), undegraded, robustness)
    assert curves["setting"].tolist() == ["zoom 0.6", "zoom 0.75", "zoom 1.35", "zoom 1.7", "noise 8", "jpeg 30"]
    assert curves["accuracy"].tolist() == pytest.approx([0.6, 0.88, 0.89, 0.75, 0.9, 0.4])
    assert curves["difference"].tolist() == pytest.approx([-0.3, -0.02, -0.01, -0.15, 0, -0.5])
    assert (curves["low"] < curves["accuracy"]).all()
    assert (curves["accuracy"] < curves["high"]).all()
    row = curves.iloc[1]
    # 4 of 200 galaxies lost: one standard error is sqrt(0.02 × 0.98 / 200), about 1 point. Unpaired it would be 3.
    assert -0.045 < row["difference_low"] < -0.025
    assert -0.015 < row["difference_high"] <= 0
    assert np.isnan(curves.iloc[4]["difference_low"])


def test_record_and_summary(undegraded, label, robustness):
    curves = robustness_curves(SETTINGS, degraded(undegraded, 60, 4, 2, 30, 0, 100), undegraded, robustness)
    record = robustness_record(curves, undegraded, label, robustness)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["n"], record["seed"], record["blind"]) == (N, robustness.seed, 0.6)
    assert record["undegraded"]["accuracy"]["value"] == 0.9
    assert record["zoom"]["0.75"]["accuracy"]["value"] == 0.88
    assert record["zoom"]["0.75"]["difference"]["value"] == -0.02
    assert record["noise"]["8"]["difference"] == {"value": 0.0, "low": None, "high": None}
    # 0.6 and 1.7 lose more, and lie outside.
    assert record["largest_zoom_loss"] == {"value": 0.02, "zoom": 0.75}
    assert record["summary"].startswith("Within zoom 0.75 to 1.35 at most 2.0 points [")
    assert "at zoom 0.75: 0.880 against 0.900 undegraded (n = 200)." in record["summary"]
    assert "Of all settings jpeg 30 costs most: 50.0 points [" in record["summary"]


def test_nothing_lost(undegraded, label, robustness):
    curves = robustness_curves(SETTINGS, degraded(undegraded), undegraded, robustness)
    record = robustness_record(curves, undegraded, label, robustness)
    assert record["largest_zoom_loss"]["value"] == 0
    assert record["summary"] == (
        "Within zoom 0.75 to 1.35 no accuracy is lost (0.900 undegraded, n = 200). No setting costs any."
    )


def test_figure_has_a_panel_a_kind_with_units_and_the_undegraded(undegraded, label, robustness):
    curves = robustness_curves(SETTINGS, degraded(undegraded, 60, 4, 2, 30, 9, 100), undegraded, robustness)
    record = robustness_record(curves, undegraded, label, robustness)
    figure = robustness_figure(curves, record, robustness.flat_zoom, "cnn_raw, test")
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) == {"zoom", "noise", "jpeg"}
    assert panels["zoom"].get_xlabel() == "times the apparent size"
    drawn = next(line for line in panels["zoom"].lines if line.get_label() == "accuracy, degraded")
    assert drawn.get_xdata().tolist() == [0.6, 0.75, 1.0, 1.35, 1.7]
    assert drawn.get_ydata().tolist() == pytest.approx([0.6, 0.88, 0.9, 0.89, 0.75])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zoom": [0.5, 2.0]}, "zoom must have a level within flat_zoom, 0.75 to 1.35"),
        ({"jpeg": [0]}, r"robustness.jpeg.0.*Received: 0"),
        ({"padding": [0.9]}, r"robustness.padding.0.*Received: 0.9"),
        ({"fog": [1]}, "robustness.fog: unknown key"),
    ],
)
def test_grids_that_make_no_sense(values, change, message):
    with pytest.raises(ParamsError, match=message):
        check({**values, "robustness": {**values["robustness"], **change}}, "params.yaml")
