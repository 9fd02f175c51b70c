"""What a training keeps on disk."""

import json
import zipfile

import keras
import numpy as np
import pytest

from galmorph.edge.checkpoints import Checkpoints, FeatureFiles
from galmorph.errors import TrainingError
from galmorph.models.train import TrainingState, train
from tests.training import assert_same_history, phases, small, toy, training_data

EXPERIMENT = phases("frozen", "finetune")


@pytest.fixture(scope="module")
def train_params(params):
    return small(
        params.train, loss__name="generalised_cross_entropy", optimiser__name="adamw", optimiser__weight_decay=0.01
    )


def go_on(folder, train_params, until=None, during=None):
    """Train on what a folder keeps, and die after an epoch is kept, or while it is being kept."""
    checkpoints = Checkpoints(folder)
    features = FeatureFiles(folder, memory_share=1e-12)  # no share of the memory: on disk
    state = checkpoints.state()

    def after_epoch(model, state, seconds):
        if state.epoch == during:
            raise KeyboardInterrupt
        checkpoints.keep(model, state)
        if state.epoch == until:
            raise KeyboardInterrupt

    return train(
        checkpoints.last() if state.epoch else toy(), training_data(), train_params, EXPERIMENT, state, after_epoch,
        checkpoints.best, optimiser=checkpoints.optimiser(), keep_features=features.keep,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(train_params, tmp_path_factory):
    return go_on(tmp_path_factory.mktemp("whole"), train_params)


def test_a_training_that_dies_after_every_epoch_ends_the_same(tmp_path, train_params, whole):
    for epoch in range(1, 5):
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path, train_params, until=epoch)
        assert Checkpoints(tmp_path).state().epoch == epoch
    state = go_on(tmp_path, train_params)
    assert_same_history(state.history, whole.history, 1e-4)
    assert (state.best_epoch, state.phase) == (whole.best_epoch, whole.phase)
    assert state.best_loss == pytest.approx(whole.best_loss, rel=1e-4)


def test_a_training_that_dies_before_its_epoch_is_kept_does_that_epoch_again(tmp_path, train_params, whole):
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, train_params, during=3)
    assert Checkpoints(tmp_path).state().epoch == 2
    assert_same_history(go_on(tmp_path, train_params).history, whole.history, 1e-4)


def test_a_checkpoint_is_a_plain_keras_file(tmp_path, train_params):
    """No loss, no optimiser and no class of ours: Keras alone reads it, in safe mode and compiling what it finds."""
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, train_params, until=1)
    (path,) = tmp_path.glob("epoch-*.keras")
    with zipfile.ZipFile(path) as archive:
        assert "galmorph" not in archive.read("config.json").decode()
        assert (
            "compile_config" not in json.loads(archive.read("config.json"))
            or not json.loads(archive.read("config.json"))["compile_config"]
        )
    loaded = keras.saving.load_model(path, safe_mode=True)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in toy().layers]


def test_only_the_last_and_the_best_epoch_stay(tmp_path, train_params):
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, train_params, until=4)
    checkpoints, state = Checkpoints(tmp_path), Checkpoints(tmp_path).state()
    names = {path.name for path in tmp_path.glob("*.keras")}
    assert names == {f"epoch-{epoch:04d}.keras" for epoch in (4, state.best_epoch)}
    checkpoints.remove()
    FeatureFiles(tmp_path, 1.0).remove()
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_go_on_with_is_the_beginning(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.state() == TrainingState()
    assert checkpoints.optimiser() == []
    with pytest.raises(TrainingError, match="no epoch has been finished"):
        checkpoints.best()


PARTS = [np.full((2, 3), number, np.float32) for number in range(4)]


@pytest.mark.parametrize("share", [1e-12, 0.5])
def test_features_are_the_same_in_memory_and_on_disk(tmp_path, share):
    features = FeatureFiles(tmp_path, share).keep("train", (2, 4, 3), iter(PARTS))
    np.testing.assert_array_equal(features, np.concatenate(PARTS).reshape(2, 4, 3))
    assert isinstance(features, np.memmap) == (share < 0.1)
    assert len(list(tmp_path.iterdir())) == (share < 0.1)


def test_features_on_disk_are_whole_or_not_there(tmp_path):
    def dying():
        yield PARTS[0]
        raise KeyboardInterrupt

    kept = FeatureFiles(tmp_path, 1e-12)
    with pytest.raises(KeyboardInterrupt):
        kept.keep("train", (2, 4, 3), dying())
    assert list(tmp_path.iterdir()) == []
    kept.keep("train", (2, 4, 3), iter(PARTS))

    def never():
        raise AssertionError("computed again")
        yield

    np.testing.assert_array_equal(kept.keep("train", (2, 4, 3), never())[1, 3], PARTS[3][0])
