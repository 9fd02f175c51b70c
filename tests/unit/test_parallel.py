import os
import platform
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from galmorph.errors import GalmorphError
from galmorph.parallel import map_ordered, worker_count


def square(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", ["1", "2"])
def test_results_keep_the_order(monkeypatch, workers):
    monkeypatch.setenv("GALMORPH_WORKERS", workers)
    assert list(map_ordered(square, range(20), "squaring")) == [number * number for number in range(20)]


def test_nothing_to_do(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    assert list(map_ordered(square, [], "squaring")) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_error_reaches_the_caller(monkeypatch, workers):
    monkeypatch.setenv("GALMORPH_WORKERS", workers)
    with pytest.raises(ValueError, match="three"):
        list(map_ordered(fail_at_three, range(100), "failing"))


def test_a_killed_worker_is_said_with_a_remedy(monkeypatch):
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    with pytest.raises(GalmorphError, match="GALMORPH_WORKERS=1"):
        list(map_ordered(die_at_three, range(100), "dying"))


def test_items_are_taken_as_they_are_needed(monkeypatch):
    """Memory stays flat: results wait for their reader, and further items wait for them."""
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    results = map_ordered(square, range(1000), "squaring")
    assert next(results) == 0
    results.close()


def test_progress_is_plain_lines_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    list(map_ordered(square, range(5), "squaring"))
    written = capsys.readouterr().err
    assert "squaring: 100%" in written
    assert "5/5" in written
    assert "\r" not in written


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_a_wrong_worker_count_is_refused(monkeypatch, value):
    monkeypatch.setenv("GALMORPH_WORKERS", value)
    with pytest.raises(GalmorphError, match=value):
        worker_count()


def test_there_is_a_worker_for_each_core_of_the_container(monkeypatch):
    monkeypatch.delenv("GALMORPH_WORKERS", raising=False)
    monkeypatch.setattr("galmorph.parallel.core_count", lambda: 3)
    assert worker_count() == 3


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = (
        "import sys; sys.path.insert(0, '.');"
        "from tests.unit.test_parallel import note_and_wait; from galmorph.parallel import map_ordered;"
        f"list(map_ordered(note_and_wait, [{str(tmp_path)!r}] * 2, 'waiting'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "GALMORPH_WORKERS": "2"})
    try:
        assert _eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert _eventually(lambda: not any(psutil.pid_exists(worker) for worker in workers))


def note_and_wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def _eventually(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def page_faults(rounds: int) -> int:
    """How many pages the kernel hands out while 20 arrays of 512 KiB are made and dropped again and again."""
    [np.ones(2**16) for _ in range(20)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        [np.ones(2**16) for _ in range(20)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_workers_reuse_the_memory_of_large_arrays(monkeypatch):
    """Given back at each end, they would cost some 2,500 pages a round."""
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    assert max(map_ordered(page_faults, [10, 10], "arrays")) < 2_000
