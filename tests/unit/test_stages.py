"""What the stages say before they begin."""

import pandas as pd
import pytest

from galmorph.errors import OutOfMemoryError, ParamsError
from galmorph.stages import run_stage
from galmorph.storage import write_json, write_table


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_an_unknown_experiment_lists_the_known_ones(values, stage):
    with pytest.raises(ParamsError, match=r"known experiment: baseline_cnn_raw, .*vit_raw\. Received: 'resnet51_raw'"):
        run_stage(stage, values, "params.yaml", "resnet51_raw")


def test_an_unknown_variant_lists_the_known_ones(values):
    with pytest.raises(ParamsError, match=r"known variant: median, bilateral, .*Received: 'mean'"):
        run_stage("denoise", values, "params.yaml", "mean")


@pytest.mark.parametrize(
    ("stage", "row", "work"),
    [
        ("evaluate", "resnet50_finetune_raw", "galmorph.edge.scoring.score_experiment"),
        ("robustness", "", "galmorph.edge.robustness.measure_robustness"),
        ("explain", "", "galmorph.edge.explaining.explain_experiment"),
    ],
)
def test_out_of_memory_names_the_batch_size_of_the_section(values, tmp_path, monkeypatch, stage, row, work):
    def greedy(*_):
        raise MemoryError("Unable to allocate 1 PiB")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, greedy)
    for name in ("data/splits", "data/manifest", "evaluation/some/predictions"):
        write_table(tmp_path / f"{name}.parquet", pd.DataFrame({"CATAID": ["1"]}))
    for name, content in {
        "data/variants/raw": {"digest": "digest"},
        "evaluation/best": {"experiment": "some", "variant": "raw"},
        "evaluation/some/metrics": {"scored_split": "test"},
    }.items():
        write_json(tmp_path / f"{name}.json", content)
    size = values[stage]["batch_size"]
    message = rf"Lower {stage}\.batch_size \(now {size}\).*Received: Unable to allocate 1 PiB"
    with pytest.raises(OutOfMemoryError, match=message):
        run_stage(stage, values, "params.yaml", row)
