"""Precision and devices: what is trained in between, and what comes out."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from galmorph.models.devices import Devices, choose_devices, policy_name, working_copy
from galmorph.models.train import train
from tests.training import Kept, assert_same_history, phases, run, small, toy, training_data


@pytest.mark.parametrize(
    ("precision", "gpu", "bfloat16", "expected"),
    [
        ("float32", True, True, "float32"),
        ("mixed", True, False, "mixed_float16"),
        ("mixed", False, True, "mixed_bfloat16"),
        ("mixed", False, False, "float32"),
    ],
)
def test_mixed_precision_is_what_the_machine_computes_fast(precision, gpu, bfloat16, expected):
    assert policy_name(precision, gpu, bfloat16) == expected


def test_a_cpu_without_bfloat16_says_so(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("galmorph.models.devices.FACTS", tmp_path / "none")
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _: [])
    with caplog.at_level("INFO", "galmorph"):
        assert choose_devices("mixed") == Devices("float32", None)
    assert "no bfloat16" in caplog.text


def test_a_working_copy_keeps_scaling_and_logit_exact():
    model = toy()
    copy = working_copy(model, Devices("mixed_bfloat16", None))
    kinds = {layer.name: layer.compute_dtype for layer in copy.layers}
    assert {name for name, kind in kinds.items() if kind == "float32"} == {"image", "scale", "logit"}
    assert {weight.dtype for weight in copy.weights} == {"float32"}
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert working_copy(model, Devices("float32", None)) is model


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_mixed_precision_learns_and_leaves_a_float32_model(params, policy):
    data, values = training_data(), small(params.train, frozen__epochs=3)
    exact, _ = run(toy(), data, values, phases("frozen", "finetune"))
    state, kept = run(toy(), data, values, phases("frozen", "finetune"), devices=Devices(policy, None))
    for row, expected in zip(state.history, exact.history, strict=True):
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=0.1)
    last = kept.models[state.epoch]
    assert {layer.compute_dtype for layer in last.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "the policy leaked"
    logits = last.predict(data.validation_images.astype(np.float32), verbose=0)[:, 0].astype(float)
    right = np.where(data.validation_y == 1, logits, -logits)
    # The float32 model answers as the mixed one was validated, up to the digits that the latter has.
    assert state.history[-1]["val_loss"] == pytest.approx(np.mean(np.log1p(np.exp(-right))), rel=0.02)


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_a_training_goes_on_exactly_in_any_precision(params, policy):
    data, experiment = training_data(), phases("frozen", "finetune")
    values = small(
        params.train, loss__name="generalised_cross_entropy", optimiser__name="adamw", optimiser__weight_decay=0.01
    )
    devices = Devices(policy, None)
    whole, kept = run(toy(), data, values, experiment, devices=devices)
    for epoch in (1, 2, 3):  # within each phase, and between them
        again = Kept()
        again.models.update(kept.models)
        again.states = kept.states[:epoch]
        resumed = train(
            kept.models[epoch], data, values, experiment, kept.states[epoch - 1], again, again.best,
            optimiser=kept.optimisers[epoch], devices=devices,
        )  # fmt: skip
        assert_same_history(resumed.history, whole.history, 1e-4)


def test_compiled_steps_give_the_same_numbers(params):
    data = training_data()
    plain, _ = run(toy(dropout=0.0), data, small(params.train), phases("frozen", "finetune"))
    compiled, _ = run(toy(dropout=0.0), data, small(params.train, xla=True), phases("frozen", "finetune"))
    assert_same_history(compiled.history, plain.history, 1e-3)


_TWO_DEVICES = """
import json, sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from galmorph.models.devices import Devices
from galmorph.params import TrainParams
from tests.training import phases, run, toy, training_data

params, policy = TrainParams.model_validate_json(sys.argv[1]), sys.argv[2]
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
histories = [
    run(toy(dropout=0.0), training_data(), params, phases("frozen", "finetune"), devices=Devices(policy, strategy))[0]
    for strategy in (None, two)
]
print(json.dumps([Devices(policy, two).summary, *(state.history for state in histories)]))
"""


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_two_devices_learn_what_one_does(params, repository, policy):
    """A mirrored batch normalisation sees half a batch; the backbone's is frozen and the head's is measured after."""
    done = subprocess.run(
        [sys.executable, "-c", _TWO_DEVICES, small(params.train).model_dump_json(), policy],
        cwd=repository, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    summary, one, two = json.loads(done.stdout.splitlines()[-1])
    assert summary == "mirrored on 2 devices"
    for row, expected in zip(two, one, strict=True):
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=0.05)
        assert row["learning_rate"] == expected["learning_rate"]
