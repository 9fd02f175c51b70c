"""Loss, optimiser and schedule, against what the papers say."""

import keras
import numpy as np
import pytest

from galmorph.models.objective import (
    GeneralisedCrossEntropy,
    balanced_weights,
    compile_for,
    learning_rate,
    loss_function,
    optimiser,
    optimiser_values,
)
from galmorph.params import LossParams, OptimiserParams, PhaseParams
from tests.training import small, toy

LOGITS = np.array([[-4.0], [-0.3], [0.0], [1.2], [5.0], [-2.0]], np.float32)
TARGETS = np.array([[0.0], [1.0], [1.0], [0.0], [1.0], [1.0]], np.float32)
RIGHT = 1 / (1 + np.exp(np.where(TARGETS, -LOGITS, LOGITS)))  # probability of the label


def value(loss: keras.losses.Loss, y=TARGETS, logits=LOGITS) -> float:
    return float(loss(y, logits))


def test_the_generalised_cross_entropy_is_that_of_the_paper():
    assert value(GeneralisedCrossEntropy(0.7, 0.0)) == pytest.approx(np.mean((1 - RIGHT**0.7) / 0.7), rel=1e-5)


def test_a_q_of_nearly_0_is_the_cross_entropy():
    assert value(GeneralisedCrossEntropy(1e-6, 0.0)) == pytest.approx(np.mean(-np.log(RIGHT)), rel=1e-4)


def test_a_q_of_1_is_the_mean_absolute_error():
    probability = 1 / (1 + np.exp(-LOGITS))
    assert value(GeneralisedCrossEntropy(1.0, 0.0)) == pytest.approx(np.mean(np.abs(TARGETS - probability)), rel=1e-5)


@pytest.mark.parametrize("q", [1e-6, 0.7, 1.0])
def test_no_logit_is_too_large(q):
    import tensorflow as tf

    logits = tf.Variable([[-1e4], [1e4], [-90.0], [90.0]])
    with tf.GradientTape() as tape:
        loss = GeneralisedCrossEntropy(q, 0.1)(np.array([[1.0], [0.0], [1.0], [1.0]], np.float32), logits)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_it_gives_in_to_a_wrong_label_where_cross_entropy_does_not():
    wrong, target = np.array([[12.0]], np.float32), np.array([[0.0]], np.float32)
    assert value(GeneralisedCrossEntropy(0.7, 0.0), target, wrong) <= 1 / 0.7
    cross_entropy = loss_function(LossParams(name="cross_entropy", q=0.7, label_smoothing=0.0))
    assert value(cross_entropy, target, wrong) > 11


@pytest.mark.parametrize("name", ["cross_entropy", "generalised_cross_entropy"])
def test_smoothing_spreads_a_share_of_the_target_over_both_classes(name):
    def loss(smoothing, y):
        return value(loss_function(LossParams(name=name, q=0.5, label_smoothing=smoothing)), y)

    mixed = 0.9 * loss(0.0, TARGETS) + 0.1 * (loss(0.0, TARGETS) + loss(0.0, 1 - TARGETS)) / 2
    assert loss(0.1, TARGETS) == pytest.approx(mixed, rel=1e-5)


def test_adamw_decays_kernels_and_nothing_else(params):
    """Without a gradient, only the decay moves a weight: by `rate · decay` of itself."""
    model = toy()
    for weight in model.trainable_variables:
        weight.assign(keras.ops.ones_like(weight))
    decaying = optimiser(OptimiserParams(name="adamw", weight_decay=0.5), 0.1, scale_loss=False)
    decaying.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    for weight in model.trainable_variables:
        expected = 1 - 0.1 * 0.5 if weight.name == "kernel" else 1.0
        np.testing.assert_allclose(weight, expected, rtol=1e-6, err_msg=weight.path)


def test_adam_does_not_decay(params):
    model = toy()
    before = model.get_weights()
    still = optimiser(OptimiserParams(name="adam", weight_decay=0.5), 0.1, scale_loss=False)
    still.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("scale_loss", [False, True])
def test_an_optimiser_goes_on_with_the_values_it_had(params, scale_loss):
    values = small(params.train)
    model, images = toy(), np.random.default_rng(1).uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
    compile_for(model, values, values.scratch, scale_loss)
    model.train_on_batch(images, np.ones((8, 1), np.float32))
    kept = optimiser_values(model.optimizer)
    again = toy()
    compile_for(again, values, values.scratch, scale_loss, kept)
    for one, other in zip(kept, optimiser_values(again.optimizer), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(again.optimizer.iterations) == 1


def test_balanced_weights_give_both_classes_the_same_say():
    y = np.array([1, 0, 0, 0], np.float32)
    assert balanced_weights(y) == {0: pytest.approx(4 / 6), 1: pytest.approx(2.0)}


def phase(schedule: str, warmup: int) -> PhaseParams:
    return PhaseParams(epochs=6, learning_rate=0.01, schedule=schedule, warmup=warmup)


def test_a_cosine_falls_and_a_constant_stays():
    falling = [learning_rate(phase("cosine", 0), epoch) for epoch in range(6)]
    np.testing.assert_allclose(falling, 0.005 * (1 + np.cos(np.pi * np.arange(6) / 6)))
    assert [learning_rate(phase("constant", 0), epoch) for epoch in range(6)] == [0.01] * 6


def test_the_learning_rate_rises_in_equal_steps_first():
    warm = [learning_rate(phase("constant", 3), epoch) for epoch in range(6)]
    np.testing.assert_allclose(warm, [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    cosine = [learning_rate(phase("cosine", 2), epoch) for epoch in range(6)]
    np.testing.assert_allclose(cosine[:3], [0.01 / 3, 0.02 / 3, 0.01])
    np.testing.assert_allclose(cosine[2:], 0.005 * (1 + np.cos(np.pi * np.arange(4) / 4)))
