"""What a component says of the values that it is handed."""

import re

import pytest

from galmorph.cluster.running import experiment_rows, run_stage
from galmorph.cluster.values import carried


def said(ended) -> str:
    return str(ended.value.code)


def test_a_row_of_experiments_says_which_key_is_wrong_and_what_is_known(values):
    rows = carried({"vit_raw": {**values["experiments"]["vit_raw"], "phase": []}})
    with pytest.raises(SystemExit) as ended:
        experiment_rows(rows)
    assert re.search(
        r"the run's parameters: experiments\.vit_raw: phase: unknown key\. Known here: .*phases", said(ended)
    )


@pytest.mark.parametrize(
    ("stage", "row", "change", "message"),
    [
        ("split", "", {"methods": "random"}, r"split: methods: unknown key\. Known here: .*method.* Received: methods"),
        ("split", "", {"seed": "one"}, r"split: seed: .*integer.* Received: 'one'"),
        ("denoise", "median", {"median": {"sise": 3}}, r"denoise\.median: .*sise: unknown key\. Known here: .*kernel"),
    ],
)
def test_a_stage_does_too(values, stage, row, change, message):
    with pytest.raises(SystemExit) as ended:
        run_stage(stage, [], {}, {stage: carried({**values[stage], **change})}, row=row)
    assert re.search(f"the run's parameters: {message}", said(ended)), said(ended)
