"""Training an experiment with its files and its MLflow run, in a store of its own."""

import socket
import threading

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest

from galmorph import stages
from galmorph.edge.denoising import denoiser_of
from galmorph.edge.training import run_training, starting_weights
from galmorph.edge.training_metrics import PORT
from galmorph.errors import InputError, TrainingError
from galmorph.models import architectures
from galmorph.models.saved import load_facts, load_keras, load_model
from galmorph.params import MedianParams, TrainStageParams
from galmorph.storage import digest_file, write_image, write_json, write_table
from tests.training import SIDE, galaxies, phases, small, toy


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working folder with images, a store, and a small network behind the name resnet50."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(architectures.ARCHITECTURES, "resnet50", lambda _, params: toy(params.seed))
    for name in ("MLFLOW_RUN_ID", "GALMORPH_PARENT_RUN", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    images, y = galaxies(72, 5)
    for number, image in enumerate(images):
        write_image(tmp_path / "images" / f"{number}.png", image)
    (tmp_path / "backbone.h5").write_bytes(b"weights")
    yield pd.DataFrame(
        {
            "CATAID": [str(number) for number in range(72)],
            "label": ["Elliptical" if value else "Other" for value in y],
            "split": ["train"] * 48 + ["validation"] * 24,
        }
    )
    mlflow.set_tracking_uri(before)


def stage_params(params, experiment, **changes) -> TrainStageParams:
    preprocess = params.preprocess.model_copy(update={"crop": 1.0, "image_size": SIDE})
    return TrainStageParams(preprocess=preprocess, train=small(params.train, **changes), experiment=experiment)


def trained(tmp_path, galaxies_, stage, **card):
    (tmp_path / "models").mkdir(exist_ok=True)
    write_json(tmp_path / "card.json", {"digest": "digest", **card})
    run_training(tmp_path / "models", galaxies_, tmp_path / "images", tmp_path / "card.json", stage, "toy_raw")
    (run,) = mlflow.search_runs(experiment_names=["galmorph"], output_format="list")
    return run


def test_a_run_says_what_it_was_trained_on_and_with(params, project, tmp_path):
    stage = stage_params(
        params, phases("frozen", "finetune"), transfer__weights="backbone.h5", augmentation="dihedral",
        frozen__augment_views=2, memory_share=1e-12,
    )  # fmt: skip
    run = trained(tmp_path, project, stage)
    assert {name: run.data.tags[name] for name in ("weights", "precision", "devices", "skipped_phases")} == {
        "weights": f"sha256:{digest_file(tmp_path / 'backbone.h5')}",
        "precision": "float32",
        "devices": "one device",
        "skipped_phases": "none",
    }
    history = pd.read_csv(tmp_path / "models" / "history.csv")
    assert history["phase"].tolist() == ["frozen"] * 2 + ["finetune"] * 2
    model, facts = load_model(tmp_path / "models" / "model.keras")
    assert facts.params_digest == run.data.tags["params_digest"]
    assert facts.temperature == pytest.approx(run.data.metrics["temperature"])
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["curves.png", "history.csv", "model.keras"]


def staged(tmp_path, galaxies_, stage):
    """Run the train stage itself, which keeps what an interrupted run left, or throws it away."""
    write_json(tmp_path / "card.json", {"digest": "digest"})
    write_table(tmp_path / "splits.parquet", galaxies_)
    arguments = (tmp_path / "splits.parquet", tmp_path / "images", tmp_path / "card.json", tmp_path / "models/toy_raw")
    stages.train(*arguments, stage, "toy_raw")


def test_the_last_good_checkpoint_outlives_a_nan_until_other_values_start_over(
    params, project, tmp_path, monkeypatch, caplog
):
    checkpoint = tmp_path / "models/.toy_raw.partial/epoch-0001.keras"
    values = {"transfer__weights": "none", "scratch__epochs": 3}
    stage = stage_params(params, phases("scratch"), **values)
    with monkeypatch.context() as broken, caplog.at_level("INFO"):
        broken.setattr("galmorph.models.train.learning_rate", lambda _, epoch: float("nan") if epoch else 0.01)
        with pytest.raises(TrainingError, match=r"epoch 2.*before it stays"):
            staged(tmp_path, project, stage)
        assert np.isfinite(load_keras(checkpoint).get_weights()[0]).all()
        assert caplog.text.count("scratch, epoch 1 of 3") == 1
        # What says where arrays are held goes on; what says how is learned starts over.
        with pytest.raises(TrainingError, match="epoch 2"):
            staged(tmp_path, project, stage_params(params, phases("scratch"), **values, memory_share=1e-12))
        assert caplog.text.count("scratch, epoch 1 of 3") == 1
        with pytest.raises(TrainingError, match="epoch 2"):
            staged(tmp_path, project, stage_params(params, phases("scratch"), **values, scratch__learning_rate=0.001))
        assert caplog.text.count("scratch, epoch 1 of 3") == 2


def test_the_curves_are_drawn_and_logged(params, project, tmp_path):
    run = trained(tmp_path, project, stage_params(params, phases("scratch"), transfer__weights="none"))
    assert cv2.imread(str(tmp_path / "models" / "curves.png")).shape[:2] == (480, 1080)
    artifacts = mlflow.MlflowClient().list_artifacts(run.info.run_id, "training")
    assert "training/curves.png" in [item.path for item in artifacts]


def test_system_metrics_are_sampled_while_training_and_then_end(params, project, tmp_path):
    run = trained(tmp_path, project, stage_params(params, phases("scratch"), transfer__weights="none"))
    assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0
    assert "SystemMetricsMonitor" not in {thread.name for thread in threading.enumerate()}
    assert run.info.status == "FINISHED"


def test_a_training_whose_port_is_taken_is_a_training(params, project, tmp_path, monkeypatch, caplog):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setenv(PORT, str(taken.getsockname()[1]))
        run = trained(tmp_path, project, stage_params(params, phases("scratch"), transfer__weights="none"))
    assert run.info.status == "FINISHED"
    assert "no metrics are served, training goes on without" in caplog.text


def test_other_weights_in_the_same_file_are_other_parameters(params, project, tmp_path):
    stage = stage_params(params, phases("frozen"), transfer__weights="backbone.h5")
    before = starting_weights(stage)
    (tmp_path / "backbone.h5").write_bytes(b"other weights")
    assert starting_weights(stage) != before
    assert starting_weights(stage_params(params, phases("frozen"), transfer__weights="none")) is None
    assert starting_weights(stage_params(params, phases("scratch", architecture="regularised_cnn"))) is None


def test_a_phase_that_is_passed_over_is_named_in_log_and_run(params, project, tmp_path, caplog):
    stage = stage_params(params, phases("frozen", "finetune"), transfer__weights="none")
    run = trained(tmp_path, project, stage)
    assert run.data.tags["skipped_phases"] == "frozen"
    assert run.data.tags["weights"] == "random"
    assert "experiments.toy_raw: the phase frozen is passed over" in caplog.text
    assert set(pd.read_csv(tmp_path / "models" / "history.csv")["phase"]) == {"finetune"}


def test_a_phase_that_cannot_be_run_names_its_row_before_any_image_is_read(params, project, tmp_path):
    stage = stage_params(params, phases("frozen", architecture="baseline_cnn"))
    with pytest.raises(TrainingError, match=r"experiments\.toy_raw: the phase frozen needs a backbone"):
        trained(tmp_path, project, stage)


def test_the_model_carries_the_denoiser_of_its_variant(params, project, tmp_path):
    stage = stage_params(params, phases("scratch"), transfer__weights="none")
    trained(tmp_path, project, stage, variant="median", denoiser={"kernel": 7})
    assert load_facts(tmp_path / "models" / "model.keras").denoiser == MedianParams(kernel=7)


def test_a_card_that_does_not_tell_its_denoiser_is_refused(tmp_path):
    write_json(tmp_path / "median.json", {"digest": "d", "variant": "median"})
    with pytest.raises(InputError, match=r"median\.json: does not tell which denoiser.*galmorph denoise median"):
        denoiser_of(tmp_path / "median.json")
