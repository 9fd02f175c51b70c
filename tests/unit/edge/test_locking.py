"""One process at a time."""

import fcntl
import logging
import multiprocessing
import os
import signal
import stat
import time

import pytest

from galmorph.edge.locking import alone_with, one_at_a_time
from galmorph.errors import InputError, StorageError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def hold(names, held, seconds):
    with one_at_a_time(*names):
        held.set()
        time.sleep(seconds)


@pytest.fixture
def holder():
    """Start a process that holds the lock for some seconds, and wait until it does."""
    context = multiprocessing.get_context("spawn")
    started = []

    def start(*names, seconds):
        held = context.Event()
        process = context.Process(target=hold, args=(names, held, seconds))
        process.start()
        started.append(process)
        assert held.wait(60)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def test_the_second_waits_for_the_first_and_says_so(holder, caplog):
    process = holder("store", "galmorph", seconds=1)
    with caplog.at_level(logging.WARNING), one_at_a_time("store", "galmorph"):
        assert not process.is_alive() or process.join(5) is None
    assert "waiting for its end" in caplog.text


def test_another_model_is_another_lock(holder, caplog):
    process = holder("store", "galmorph", seconds=30)
    with one_at_a_time("store", "other"):
        assert process.is_alive()
    assert caplog.text == ""


def test_a_killed_process_leaves_no_lock(holder):
    process = holder("store", "galmorph", seconds=60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    begun = time.monotonic()
    with one_at_a_time("store", "galmorph"):
        assert time.monotonic() - begun < 5


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    if os.geteuid() == 0:
        (tmp_path / "file").write_text("")  # root writes anywhere, but not below a file
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        expected = (StorageError, NotADirectoryError)
    else:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
        expected = (StorageError,)
    with pytest.raises(expected), one_at_a_time("store"):
        pass


def hold_result(path, held, seconds):
    with alone_with(path):
        held.set()
        time.sleep(seconds)


def test_a_result_that_another_process_makes_is_refused_and_free_when_that_was_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_result, args=(tmp_path / "out.parquet", held, 60))
    process.start()
    assert held.wait(60)
    with (
        pytest.raises(InputError, match=r"out\.parquet: another process is writing it"),
        alone_with(tmp_path / "out.parquet"),
    ):
        pass
    with alone_with(tmp_path / "other.parquet"):
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with alone_with(tmp_path / "out.parquet"):
        pass
    assert not list(tmp_path.glob(".*.lock"))


def test_a_lock_whose_file_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    """Its holder ended, and removed the file, between our opening and our locking it."""
    flock = fcntl.flock

    def late(file, operation):
        (tmp_path / ".out.parquet.lock").unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InputError, match="another process is writing it"), alone_with(tmp_path / "out.parquet"):
        pass
