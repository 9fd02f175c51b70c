"""Features of a frozen backbone, computed once, against the whole model."""

import keras
import numpy as np
import pytest

from galmorph.data.dataset import batches, training_batches
from galmorph.models.features import (
    backbone_of,
    feature_batches,
    feature_parts,
    head_of,
    in_memory,
    ordered_feature_batches,
)
from galmorph.models.objective import compile_for
from galmorph.models.phases import set_trainable
from galmorph.models.train import Lesson, fit, train
from tests.training import Kept, assert_same_history, galaxies, phases, run, small, toy, training_data


def features(model, images, views=0, augmentation=None, seed=1):
    parts = feature_parts(backbone_of(model), images, 16, "features", views, augmentation, seed)
    return in_memory("any", (max(views, 1), len(images), 6), parts)


def test_head_and_backbone_are_the_whole_model():
    model, (images, _) = toy(), galaxies(40, 3)
    whole = model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(head_of(model).predict(features(model, images)[0], verbose=0), whole, atol=1e-5)
    assert head_of(model).get_layer("head_dense") is model.get_layer("head_dense")


def test_views_differ_from_each_other_and_are_the_same_when_asked_again(params):
    model, (images, _) = toy(), galaxies(24, 3)
    augmentation = params.train.augmentations["published"]
    plain, views = features(model, images)[0], features(model, images, 3, augmentation)
    assert views.shape == (3, 24, 6)
    for one, other in ((views[0], views[1]), (views[1], views[2]), (views[0], plain)):
        assert np.abs(one - other).max(1).min() > 1e-3
    np.testing.assert_array_equal(views, features(model, images, 3, augmentation))
    assert not np.allclose(views, features(model, images, 3, augmentation, seed=2))


def test_an_epoch_shows_each_image_once_in_one_of_its_views():
    given = np.arange(3)[:, None, None] * 100 + np.arange(10)[None, :, None] + np.zeros((3, 10, 2))
    y = np.arange(10, dtype=np.float32)

    def epochs(*numbers):
        drawn = list(feature_batches(given.astype(np.float32), y, 4, 5, numbers))
        return np.concatenate([x[:, 0] for x, _ in drawn]), np.concatenate([target[:, 0] for _, target in drawn])

    for epoch in (0, 1):
        x, target = epochs(epoch)
        np.testing.assert_array_equal(x % 100, target)
        np.testing.assert_array_equal(np.sort(target), y)
        assert len(set(x // 100)) > 1
    assert epochs(0)[0].tolist() != epochs(1)[0].tolist()
    # A resumed run starts at a later epoch and sees what an uninterrupted one saw.
    np.testing.assert_array_equal(epochs(0, 1)[0][10:], epochs(1)[0])


def test_cached_features_learn_as_the_whole_frozen_model_does(params):
    """The same recipe with the backbone run every epoch: another order of images, the same loss within noise."""
    data, values = training_data(256, 128), small(params.train, frozen__epochs=12)
    cached, _ = run(toy(dropout=0.0), data, values, phases("frozen"))

    model, losses = toy(dropout=0.0), []
    set_trainable(model, values, "frozen")
    compile_for(model, values, values.frozen, scale_loss=False)

    class Losses(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append(logs["val_cross_entropy"])

    lesson = Lesson(
        training_batches(data.images, data.y, 16, values.seed, None, range(12)),
        batches(data.validation_images, data.validation_y, 16),
        data.images[: values.batch_norm_images],
    )
    fit(model, lesson, data.y, values, range(12), [Losses()])
    assert losses[-1] < 0.7 * losses[0]
    assert cached.history[-1]["val_loss"] == pytest.approx(losses[-1], rel=0.1)


def test_the_checkpoint_of_a_frozen_epoch_is_the_whole_model(params):
    data = training_data()
    state, kept = run(toy(), data, small(params.train), phases("frozen"))
    logits = kept.models[2].predict(data.validation_images.astype(np.float32), verbose=0)[:, 0].astype(float)
    right = np.where(data.validation_y == 1, logits, -logits)
    assert state.history[1]["val_loss"] == pytest.approx(np.mean(np.log1p(np.exp(-right))), rel=1e-4)


def test_the_backbone_is_run_once_for_each_view_and_no_more(params):
    """Counted where features are kept: rows that were computed, over all epochs."""
    rows = {}

    def counting(name, shape, parts):
        kept = list(parts)
        rows[name] = sum(map(len, kept))
        return in_memory(name, shape, iter(kept))

    values = small(params.train, augmentation="published", frozen__augment_views=3, frozen__epochs=5)
    state, _ = run(toy(), training_data(), values, phases("frozen"), keep_features=counting)
    assert state.epoch == 5
    assert rows == {"0-train": 3 * 64, "0-calibration": 64, "0-validation": 32}


def test_a_training_with_views_goes_on_as_if_it_had_not_stopped(params):
    values = small(params.train, augmentation="published", frozen__augment_views=2, frozen__epochs=4)
    data = training_data()
    whole, kept = run(toy(), data, values, phases("frozen"))
    again = Kept()
    resumed = train(
        kept.models[2], data, values, phases("frozen"), kept.states[1], again, again.best, optimiser=kept.optimisers[2]
    )
    assert_same_history(resumed.history, whole.history, 1e-5)


def test_context_around_an_image_changes_only_its_views(params):
    model, (images, _) = toy(), galaxies(20, 3)
    augmentation = params.train.augmentations["dihedral"]
    held = np.random.default_rng(1).integers(0, 256, (20, 24, 24, 3), np.uint8)
    held[:, 4:-4, 4:-4] = images
    np.testing.assert_array_equal(features(model, held), features(model, images))
    assert not np.allclose(features(model, held, 1, augmentation), features(model, images, 1, augmentation))


def test_tensorflow_is_lent_no_memory_that_is_ours():
    """It takes over aligned arrays and may compute in them: targets and features would be overwritten."""
    held = np.zeros(64 * 16 + 16, np.float32)
    given = held[(-held.ctypes.data % 64) // 4 :][: 64 * 16].reshape(64, 16)
    y = given[:, 0]
    for made in (ordered_feature_batches(given, y, 16), feature_batches(given[None], y, 16, 1, [0])):
        for x, target in made:
            assert not np.shares_memory(np.asarray(memoryview(x)), held)
            assert not np.shares_memory(np.asarray(memoryview(target)), held)
