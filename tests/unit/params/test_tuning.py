"""What `tune` may say in params.yaml."""

import pytest

from galmorph.errors import ParamsError
from galmorph.params import Choices, Range, check, with_overrides

KEY = "tune.space.train.batch_size"


def space(values, *assignments: str) -> dict:
    return check(with_overrides(values, list(assignments)), "params.yaml").tune.space


def test_a_key_may_be_written_with_dots_or_nested(values):
    """`--set` takes keys apart at their dots; the last word counts."""
    assert space(values, f"{KEY}={{choices: [2, 4]}}")["train.batch_size"] == Choices(choices=(2, 4))
    assert space(values, "tune.space.train.seed={low: 1, high: 9, log: false}")["train.seed"] == Range(
        low=1, high=9, log=False
    )


def test_null_takes_a_key_out(values):
    assert "train.batch_size" in space(values)
    assert "train.batch_size" not in space(values, f"{KEY}=null")


def test_whole_numbers_stay_whole(values):
    found = space(values, f"{KEY}={{low: 2, high: 8, log: true}}")["train.batch_size"]
    assert type(found.low) is int
    assert type(space(values)["train.scratch.learning_rate"].low) is float


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (f"{KEY}={{low: 8, high: 8, log: false}}", r"train\.batch_size.*low must be below high"),
        (f"{KEY}={{low: 0, high: 8, log: true}}", r"low must be above 0 where log is true"),
        (f"{KEY}={{low: 0, high: 10, step: 4}}", r"whole number of steps"),
        (f"{KEY}={{low: 0, high: 10, step: 0}}", r"greater than 0"),
        (f"{KEY}={{choices: [1, 1]}}", r"there once"),
        (f"{KEY}={{choices: [1]}}", r"at least 2"),
        (f"{KEY}={{low: 1, hgh: 3, step: 1}}", r"hgh: unknown key\. Known here: choices, high, log, low, step"),
        (f"{KEY}=3", r"train\.batch_size.*Received: 3"),
        ("tune.metric=auc", r"tune\.metric.*'loss' or 'accuracy'"),
        ("tune.pruner.name=best", r"tune\.pruner\.name.*'median'"),
        ("tune.heartbeat.grace=5", r"grace must be longer than interval"),
        ("tune.trials=-1", r"tune\.trials"),
        ("tune.trails=1", r"tune\.trails: unknown key\. Known here: experiment, heartbeat"),
    ],
)
def test_a_wrong_value_names_its_key(values, assignment, message):
    with pytest.raises(ParamsError, match=message):
        space(values, assignment)


def test_steps_of_a_tenth_are_whole_steps(values):
    """0.7 is not a multiple of 0.1 in binary."""
    assert space(values, "tune.space.train.cnn.head_dropout={low: 0.0, high: 0.7, step: 0.1}")
