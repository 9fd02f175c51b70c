"""Several local runs in one folder."""

import tarfile
from pathlib import Path

import pytest
from kfp.local.executor_input_utils import get_local_pipeline_resource_name

from pipelines.run_local import ARTIFACTS, artifacts, one_artifact, unpacked


def acquired(folder: Path, image: str) -> Path:
    """Leave what a training acquired in a folder that Kubeflow Pipelines names."""
    raw = folder / ARTIFACTS / get_local_pipeline_resource_name("galmorph-training") / "acquire" / "raw"
    raw.parent.mkdir(parents=True)
    (folder / image).write_text(image)
    with tarfile.open(raw, "w") as packed:
        packed.add(folder / image, f"images/{image}")
    return raw


@pytest.fixture
def twice(tmp_path):
    """A folder after two trainings of other galaxies, with a prediction on the first ones between them."""
    acquired(tmp_path, "first.png")
    assert [path.name for path in (unpacked(tmp_path) / "images").iterdir()] == ["first.png"]
    table = tmp_path / ARTIFACTS / get_local_pipeline_resource_name("galmorph-prediction") / "merge" / "table"
    table.parent.mkdir(parents=True)
    table.touch()
    return tmp_path, acquired(tmp_path, "second.png"), table


def test_the_newest_run_of_each_pipeline_counts(twice):
    folder, second, table = twice
    assert one_artifact(folder, "acquire", "raw") == second
    assert artifacts(folder, "merge", "table") == [table]


def test_prediction_is_given_no_galaxies_of_an_earlier_training(twice):
    assert [path.name for path in (unpacked(twice[0]) / "images").iterdir()] == ["second.png"]
