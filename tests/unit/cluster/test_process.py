"""What a component leaves when it ends, well or not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from galmorph.cluster import process
from galmorph.errors import StorageError, TrackingError, TuningError


@pytest.fixture
def last_word(monkeypatch, tmp_path):
    """The file that Kubernetes mounts into a container."""
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setattr(process, "TERMINATION_LOG", path)
    return path


def test_it_works_in_a_folder_of_its_own_that_is_gone_at_the_end():
    before = Path.cwd()
    with process.component("train/vit_raw") as folder:
        assert Path.cwd() == folder.resolve() != before
        Path("half").touch()
    assert Path.cwd() == before
    assert not folder.exists()


def test_libraries_take_the_cores_of_the_container_and_not_of_the_node(monkeypatch):
    monkeypatch.setattr(process, "core_count", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with process.component("train"):
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "3"
        assert os.environ["OMP_NUM_THREADS"] == "1", "what was asked for stays"


def test_an_error_of_galmorph_is_the_last_word(last_word):
    with pytest.raises(SystemExit) as ended, process.component("tune"):
        raise TuningError("do this. Received: that")
    assert ended.value.code == "galmorph: tune: do this. Received: that"
    assert last_word.read_text() == "galmorph: tune: do this. Received: that"


def test_an_unexpected_error_keeps_its_stack_trace_and_is_named(last_word):
    with pytest.raises(ZeroDivisionError), process.component("tune"):
        1 / 0  # noqa: B018 - for its error
    assert last_word.read_text().startswith("galmorph: tune: unexpected ZeroDivisionError: division by zero")


def test_a_long_message_is_cut_to_what_kubernetes_keeps(last_word):
    with pytest.raises(SystemExit), process.component("tune"):
        raise TuningError("ä" * 5000)
    assert 4000 < last_word.stat().st_size <= 4096


def test_without_a_cluster_there_is_no_such_file(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "TERMINATION_LOG", tmp_path / "none")
    with pytest.raises(SystemExit), process.component("tune"):
        raise TuningError("no")
    assert not (tmp_path / "none").exists()


class TestOnAVolume:
    @pytest.fixture(autouse=True)
    def _mounted(self, monkeypatch, tmp_path):
        monkeypatch.setenv(process.CHECKPOINTS, str(tmp_path))
        monkeypatch.setenv(process.RUN, "run-1")

    def test_a_retry_finds_what_was_half_done(self):
        with pytest.raises(SystemExit), process.component("train/a"):
            Path("epoch-3").touch()
            raise TuningError("taken away")
        with process.component("train/a") as folder:
            assert Path("epoch-3").exists()
        assert not folder.exists()

    def test_other_rows_and_other_runs_do_not(self, monkeypatch):
        with pytest.raises(SystemExit), process.component("train/a"):
            Path("epoch-3").touch()
            raise TuningError("taken away")
        with process.component("train/b"):
            assert not list(Path().iterdir())
        monkeypatch.setenv(process.RUN, "run-2")
        with process.component("train/a"):
            assert not list(Path().iterdir())

    def test_a_volume_that_cannot_be_written_is_named(self, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setenv(process.CHECKPOINTS, str(tmp_path / "file"))
        with pytest.raises(SystemExit, match=r"Check the volume of .* `checkpoints`") as ended, process.component("a"):
            pass
        assert isinstance(ended.value.__cause__, StorageError)


def test_a_pod_that_is_taken_away_leaves_no_temporary_folder(tmp_path):
    """Kubernetes sends SIGTERM, and kills some time later."""
    script = (
        "import time\nfrom galmorph.cluster.process import component\n"
        "with component('train'):\n    open('ready', 'w').close()\n    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/ready")) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) != 0
    finally:
        child.kill()
    assert not list(tmp_path.iterdir())


def test_logging_where_it_would_be_lost_is_refused(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match=r"Set MLFLOW_TRACKING_URI.*Received: MLFLOW_TRACKING_URI=None"):
        process.check_tracking()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    process.check_tracking()
