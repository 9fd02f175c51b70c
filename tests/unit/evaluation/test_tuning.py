"""The figures of a study."""

import numpy as np
import pandas as pd
import pytest

from galmorph.evaluation.tuning import study_figures
from galmorph.params import Choices, Range, Steps

SPACE = {
    "experiment.variant": Choices(choices=("raw", "median")),
    "train.scratch.learning_rate": Range(low=0.0001, high=0.01, log=True),
    "train.cnn.head_dropout": Steps(low=0.0, high=0.6, step=0.2),
}


def trials(states: list[str], values: list[float]) -> pd.DataFrame:
    count = len(states)
    return pd.DataFrame(
        {
            "number": range(count),
            "state": states,
            "value": values,
            "experiment.variant": ["raw", "median"] * (count // 2) + ["raw"] * (count % 2),
            "train.scratch.learning_rate": np.geomspace(0.0001, 0.01, count),
            "train.cnn.head_dropout": [0.2] * count,
        }
    )


SOME = trials(["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "COMPLETE"], [0.5, np.nan, 60.0, 0.4, 0.45])


def lines(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}


@pytest.mark.parametrize(("metric", "best"), [("loss", [0.5, 0.4, 0.4]), ("accuracy", [0.5, 0.5, 0.5])])
def test_history_shows_every_trial_and_the_best_so_far(metric, best):
    figure = study_figures(SOME, SPACE, metric, {}, "a study")["history"]
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["best so far"], best)
    assert list(drawn) == ["completed (3)", "pruned (1), at its last epoch", "best so far", "failed (1)"]
    assert figure.axes[0].get_ylabel() == f"validation {metric}"


def test_a_hopeless_trial_does_not_flatten_the_others():
    axes = study_figures(SOME, SPACE, "loss", {}, "a study")["history"].axes[0]
    assert axes.get_ylim()[1] < 1


def test_parallel_coordinates_place_values_on_their_axes():
    axes = study_figures(SOME, SPACE, "loss", {}, "a study")["parallel_coordinates"].axes[0]
    heights = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 4]
    # The best last, on top: loss 0, its variant, the logarithm's middle, a third.
    np.testing.assert_allclose(heights[-1], [0, 1, 0.75, 1 / 3], atol=1e-9)
    np.testing.assert_allclose(heights[0], [1, 0, 0, 1 / 3], atol=1e-9)


def test_figures_of_what_there_is(tmp_path):
    assert list(study_figures(trials(["FAIL"], [np.nan]), SPACE, "loss", {}, "t")) == ["history"]
    one = study_figures(trials(["COMPLETE"], [0.5]), SPACE, "loss", {}, "t")
    assert list(one) == ["history", "parallel_coordinates"]
    every = study_figures(SOME, SPACE, "loss", {"a": 0.7, "b": 0.3}, "t")
    assert set(every) == {"history", "parallel_coordinates", "importances"}
    for name, figure in {**one, **every}.items():
        figure.savefig(tmp_path / f"{name}.png")  # warnings are errors


def test_importances_are_sorted():
    axes = study_figures(SOME, SPACE, "loss", {"a": 0.2, "b": 0.7, "c": 0.1}, "t")["importances"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "a", "b"]
