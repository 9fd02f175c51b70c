"""A component is a process; here it is run in that of the tests."""

import logging

import pytest

from galmorph.cluster import process


@pytest.fixture(autouse=True)
def _quietly(monkeypatch):
    """`component` sets up logging of the whole process."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    for name in (process.CHECKPOINTS, process.RUN):
        monkeypatch.delenv(name, raising=False)
    # What it sets is this process's too: put back what was there.
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
