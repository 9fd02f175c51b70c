"""Both Kubeflow pipelines as they are compiled, run on this machine: the results are those of DVC."""

import json
import re

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

import components
from galmorph import params as p
from galmorph.cluster.tools import ask_gate, promote
from galmorph.cluster.values import carried
from galmorph.stages import STAGES
from pipelines.run_local import ARTIFACTS, IMAGES, STORE, artifacts, one_artifact
from tests.project import ONE_THREAD
from tests.unit.cluster.test_artifacts import Handed

#: The first test waits for the whole run, and for DVC's where that was not made yet.
pytestmark = pytest.mark.timeout(1800)

SHARDS = 3
#: Components that a run on simulated galaxies, with no search and a gate that is not passed, has no need of.
NOT_NEEDED = {"pull_data", "begin_study", "join_study", "finish_study", "promote"}


@pytest.fixture(scope="module")
def local(finished):
    """The folder of a local run with the parameters that the project's DVC run had; and what it printed."""
    folder = finished.folder / "runs" / "local"
    # No stage reads it; with it the prediction pipeline answers as exactly as `evaluate` does, on any CPU.
    exact = finished.folder / "runs" / "exact.yaml"
    exact.parent.mkdir(exist_ok=True)
    exact.write_text("serve: { precision: f32 }\n")
    done = finished.run(
        "python", "-m", "pipelines.run_local", "--folder", str(folder), "--shards", str(SHARDS),
        "--profile", str(exact), **ONE_THREAD,
    )  # fmt: skip
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(local):
    return local[0]


def test_every_component_leaves_what_it_promises(folder):
    for name in set(components.__all__) - NOT_NEEDED:
        specification = getattr(components, name).component_spec
        for output, slot in (specification.outputs or {}).items():
            found = artifacts(folder, specification.name, output)
            if slot.type.startswith("system.") and "Metrics" not in slot.type:
                assert found, (name, output)
            for path in found:
                assert path.stat().st_size > 0, path
                assert path.is_file() or any(path.iterdir()), path


def test_no_stage_is_left_out(folder):
    for name, stage in STAGES.items():
        for output in stage.outputs:
            assert artifacts(folder, name, output), (name, output)


def test_predictions_are_those_of_the_dvc_run(folder, finished):
    found = artifacts(folder, "evaluate", "evaluation")
    names = []
    for evaluation in found:
        name = json.loads((evaluation / "metrics.json").read_text())["experiment"]
        here = pd.read_parquet(evaluation / "predictions.parquet")
        there = pd.read_parquet(finished.folder / "evaluation" / name / "predictions.parquet")
        pd.testing.assert_frame_equal(here, there, rtol=0, atol=1e-5)
        names.append(name)
    assert sorted(names) == ["regularised_cnn_median", "regularised_cnn_raw", "resnet50_finetune_raw"]


def test_the_same_experiment_is_best(folder, finished):
    here = json.loads(one_artifact(folder, "compare", "best").read_text())
    there = json.loads((finished.folder / "evaluation/best.json").read_text())
    assert here["experiment"] == there["experiment"]
    assert here["data_digest"] == there["data_digest"]


@pytest.fixture(scope="module")
def store(folder):
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / STORE}")
    yield MlflowClient()
    mlflow.set_tracking_uri(before)


def test_a_version_is_registered_with_its_reports(folder, store):
    registration = json.loads(one_artifact(folder, "register", "registration").read_text())
    version = store.get_model_version_by_alias("galmorph", "challenger")
    assert int(version.version) == registration["version"] == 1
    kept = {item.path for item in store.list_artifacts(version.run_id)}
    assert kept >= {"evaluation", "robustness", "explanations", "best.json", "model_card.md"}


def test_the_gate_says_why(folder):
    said = one_artifact(folder, "gate", "decision").read_text()
    assert re.search(r"FAILED +\w+", said), "a model of two epochs is no champion"


@pytest.fixture
def asked(folder, finished, store, tmp_path, monkeypatch):
    """What `gate` and `promote` are handed, with a gate that lets a model of two epochs pass."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / STORE}")
    given = p.read_values(finished.folder / "params.yaml")
    lenient = {
        "min_accuracy": 0.0, "max_calibration_error": 1.0, "slices": {"exempt": [], "max_gap": 1.0},
        "explanations": {"checks": []},
    }  # fmt: skip
    return {
        "registration": Handed(
            str(one_artifact(folder, "register", "registration")), metadata={"place": "registration.json"}
        ),
        "data": [Handed(str(one_artifact(folder, "acquire", "raw")), metadata={"place": "data/raw", "packed": True})],
        "values": carried({"promote": p.merged(given["promote"], lenient), "register": given["register"]}),
        "decision": Handed(str(tmp_path / "decision")),
    }


def test_what_passes_the_gate_becomes_the_champion(asked, store, tmp_path):
    assert ask_gate(**asked) is True
    with pytest.raises(MlflowException, match="alias champion not found"):
        store.get_model_version_by_alias("galmorph", "champion")
    promote(**asked)
    assert str(store.get_model_version_by_alias("galmorph", "champion").version) == "1"
    assert "version 1 is the champion" in (tmp_path / "decision").read_text()


def test_pages_can_be_shown(folder, local):
    for component, output in (("compare", "leaderboard"), ("explain", "report_page"), ("validate", "page")):
        assert "<html" in one_artifact(folder, component, output).read_text()
    assert one_artifact(folder, "compare", "table").read_text().startswith("#")
    scores = [json.loads(path.read_text()) for path in (folder / ARTIFACTS).glob("**/evaluate/executor_output.json")]
    assert len(scores) == 3
    for one in scores:
        (shown,) = one["artifacts"]["curves"]["artifacts"]
        matrix = shown["metadata"]["confusionMatrix"]
        assert [each["displayName"] for each in matrix["annotationSpecs"]] == ["Elliptical", "Other"]
        assert sum(sum(row["row"]) for row in matrix["rows"]) > 0
        roc = shown["metadata"]["confidenceMetrics"]
        assert (roc[0]["falsePositiveRate"], roc[-1]["recall"]) == (0.0, 1.0)
        (numbers,) = one["artifacts"]["scores"]["artifacts"]
        assert 0 <= numbers["metadata"]["test_accuracy"] <= 1


def test_each_galaxy_is_answered_once_in_some_share(folder):
    (whole,) = artifacts(folder, "merge-predictions", "predictions")
    table = pd.read_parquet(whole / "predictions.parquet")
    catalogue = pd.read_csv(folder / IMAGES / "catalogue.csv", dtype={"CATAID": str})
    assert sorted(table["CATAID"]) == sorted(catalogue["CATAID"])
    shares = [
        len(pd.read_parquet(path / "predictions.parquet")) for path in artifacts(folder, "predict", "predictions")
    ]
    assert len(shares) == SHARDS
    assert sum(shares) == len(table)
    assert max(shares) < len(table)


def test_their_answers_are_those_of_the_dvc_run(folder, finished):
    """The registered version answers what DVC's model answered, on every galaxy that DVC evaluated."""
    (whole,) = artifacts(folder, "merge-predictions", "predictions")
    here = pd.read_parquet(whole / "predictions.parquet").set_index("CATAID")["p_elliptical"]
    name = json.loads((finished.folder / "evaluation/best.json").read_text())["experiment"]
    there = pd.read_parquet(finished.folder / "evaluation" / name / "predictions.parquet").set_index("CATAID")
    assert len(there) > 0
    np.testing.assert_allclose(here[there.index], there["p_elliptical"], rtol=0, atol=1e-4)


def test_the_run_says_how_it_ended(folder):
    assert [path.read_text() for path in artifacts(folder, "report-outcome", "outcome")] == ["The run succeeded.\n"] * 2


def test_a_wrong_value_is_said_before_anything_starts(finished, tmp_path):
    (tmp_path / "wrong.yaml").write_text("split: { method: by_hand }\n")
    failed = finished.run(
        "python", "-m", "pipelines.run_local", "--profile", str(tmp_path / "wrong.yaml"), "--folder", str(tmp_path),
        check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert re.search(r"^galmorph: .*split\.method.*'by_hand'$", failed.stderr, re.MULTILINE)
    assert not (tmp_path / ARTIFACTS).exists()


@pytest.mark.slow
def test_data_that_are_not_fit_stop_the_run_and_say_so(finished, tmp_path):
    (tmp_path / "strict.yaml").write_text(
        "validate: { class_share: [0.5, 0.5] }\nacquire: { simulate: { galaxies: 31 } }\n"
    )
    failed = finished.run(
        "python", "-m", "pipelines.run_local", "--profile", str(tmp_path / "strict.yaml"), "--folder", str(tmp_path),
        check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert re.search(r"galmorph: validate: .*class_share", failed.stdout + failed.stderr)
    assert "Traceback" not in failed.stdout
    assert artifacts(tmp_path, "acquire", "raw")
    assert not artifacts(tmp_path, "split", "splits")
    assert not artifacts(tmp_path, "train", "model")
    outcome = one_artifact(tmp_path, "report-outcome", "outcome").read_text()
    assert outcome.startswith("The run ended as FAILED")
