"""The switches of a process."""

import os
import subprocess
import sys

import pytest

from galmorph.quiet import QUIET, settle


def test_a_switch_that_the_environment_sets_stays_and_the_others_are_set(monkeypatch):
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    settle()
    assert {name: os.environ[name] for name in QUIET} == {**QUIET, "TF_CPP_MIN_LOG_LEVEL": "0"}


@pytest.mark.parametrize("first", ["cli", "cluster.process"])
def test_gpu_memory_grows_in_every_command_as_tensorflow_comes_after_the_switches(first):
    """TensorFlow reads the switch when it first looks at the GPU, so it must not be loaded before."""
    code = f"import sys, galmorph.{first}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert QUIET["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
