import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from galmorph import storage
from galmorph.errors import ImageError, InputError, StorageError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    storage.write_text(path, "old")
    with pytest.raises(RuntimeError), storage.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_the_file_is_made_leaves_nothing(tmp_path, monkeypatch):
    """The signal that comes during a system call is handled when that call has done its work."""
    really = Path.touch

    def interrupted(path: Path, *args: int, **kwargs: bool) -> None:
        really(path, *args, **kwargs)
        assert list(tmp_path.iterdir()) == [path]
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes(tmp_path / "table.csv", b"new")
    assert not list(tmp_path.iterdir())


def test_a_new_file_is_readable_by_others(tmp_path):
    storage.write_text(tmp_path / "file", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_are_text_and_keep_leading_zeros(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    table = pd.DataFrame({"CATAID": ["007", "NA"], "label": ["Other", ""], "value": [1.5, 2.5]})
    storage.write_table(path, table)
    for column in table:
        assert storage.read_table(path)[column].tolist() == table[column].tolist()


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_images_come_back_as_they_were(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    storage.write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(storage.read_image(tmp_path / "a.png"), image)


def test_a_broken_or_missing_file_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\.png"):
        storage.read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"b\.png.*dvc repro"):
        storage.read_image(tmp_path / "b.png")


def test_a_folder_appears_whole(tmp_path):
    out = tmp_path / "out"
    with storage.output_folder(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder_as_it_was(tmp_path):
    out = tmp_path / "out"
    with storage.output_folder(out) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(RuntimeError), storage.output_folder(out) as folder:
        (folder / "b").write_text("2")
        raise RuntimeError
    assert [path.name for path in out.iterdir()] == ["a"]


def test_the_same_work_goes_on_and_other_work_starts_over(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), storage.output_folder(out, "work") as folder:
        (folder / "a").write_text("1")
        raise RuntimeError
    with pytest.raises(RuntimeError), storage.output_folder(out, "work") as folder:
        assert (folder / "a").read_text() == "1"
        raise RuntimeError
    with storage.output_folder(out, "other") as folder:
        assert not (folder / "a").exists()
    assert list(out.iterdir()) == []


def test_a_killed_process_leaves_its_work_for_the_next(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from galmorph import storage
with storage.output_folder(Path(sys.argv[1]), "work") as folder:
    storage.write_text(folder / "done", "1")
    with storage.replacing(folder / "images" / "half.png") as temporary:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    with storage.output_folder(tmp_path / "out", "work") as folder:
        assert (folder / "done").read_text() == "1"
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["done", "images"]


def test_no_space_left_is_said_and_loses_nothing(tmp_path):
    """A file larger than the process may write: the kernel's own refusal, on any machine."""
    path = tmp_path / "file"
    storage.write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OSError) as caught:
            storage.write_bytes(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_enospc_becomes_a_storage_error_with_a_remedy():
    """/dev/full answers every write with "no space left on device"."""
    with (
        pytest.raises(StorageError, match="free some space"),
        storage.named_storage_errors(Path("out")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_fingerprints_depend_on_content_and_not_on_order():
    assert storage.fingerprint({"a": 1, "b": 2}) == storage.fingerprint({"b": 2, "a": 1})
    assert storage.fingerprint({"a": 1}) != storage.fingerprint({"a": 2})
