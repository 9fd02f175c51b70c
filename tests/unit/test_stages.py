"""What the stages say before they begin."""

import pytest

from galmorph.errors import ParamsError
from galmorph.stages import run_stage


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_an_unknown_experiment_lists_the_known_ones(values, stage):
    with pytest.raises(ParamsError, match=r"known experiment: baseline_cnn_raw, .*vit_raw\. Received: 'resnet51_raw'"):
        run_stage(stage, values, "params.yaml", "resnet51_raw")


def test_an_unknown_variant_lists_the_known_ones(values):
    with pytest.raises(ParamsError, match=r"known variant: median, bilateral, .*Received: 'mean'"):
        run_stage("denoise", values, "params.yaml", "mean")
