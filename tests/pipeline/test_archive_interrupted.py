"""Source `archive` stopped in the middle: killed, or the disc full. What was done stays, and a rerun ends the same."""

import contextlib
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import cv2
import numpy as np
import pytest

from galmorph import stages
from galmorph.params import check, with_overrides

COUNT = 120


@pytest.fixture
def acquire(values):
    """Run the stage on a folder or archive."""

    def run(path, raw):
        changed = with_overrides(values, ["acquire.source=archive", f"acquire.path={path}"])
        stages.acquire(raw, check(changed, "params.yaml").acquire)
        return raw

    return run


def make_source(path, side):
    """The published layout, two of its galaxies with something wrong: a folder, or an archive of one by the suffix."""
    folder = path.parent / "content"
    (folder / "images").mkdir(parents=True)
    rows = "".join(f"{number:03d},{number % 2}\n" for number in range(COUNT))
    (folder / "2class_list.csv").write_text(f"CATAID,TARGET\n{rows}")
    for number in [*range(COUNT), 999]:
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"images/{number:03d}_giH.png"), pixels)
    (folder / "images/003_giH.png").write_bytes(b"")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, file.relative_to(folder))
    elif path.suffix == ".gz":
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, ".")
    else:
        folder.rename(path)
    return path


def state(folder):
    """Every file below a folder with the digest of its content."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


SCRIPT = """
import sys
from pathlib import Path
from galmorph import stages
from galmorph.params import check, read_values, with_overrides
if __name__ == "__main__":
    root, given, raw = map(Path, sys.argv[1:])
    values = with_overrides(read_values(root / "params.yaml"), ["acquire.source=archive", f"acquire.path={given}"])
    stages.acquire(raw, check(values, "params.yaml").acquire)
"""


@pytest.mark.parametrize(("suffix", "workers"), [("", "2"), (".zip", "2"), (".tar.gz", "2"), ("", "1")])
def test_killed_in_the_middle_it_goes_on_to_the_same_result(
    acquire, tmp_path, repository, monkeypatch, caplog, suffix, workers
):
    given = make_source(tmp_path / f"given{suffix}", side=96)
    monkeypatch.setenv("GALMORPH_WORKERS", workers)
    whole = state(acquire(given, tmp_path / "whole"))
    raw, journal = tmp_path / "raw", tmp_path / ".raw.partial/.outcomes.jsonl"
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(repository), str(given), str(raw)]
    run = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 30):
            assert run.poll() is None, "it finished before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        assert not raw.exists()
        done = journal.read_bytes().count(b"\n")
        assert 20 <= done < COUNT
        # What a kill in the middle of a write leaves.
        with journal.open("a") as lines:
            lines.write('{"CATAID": "1')
        (journal.parent / "images/.110.abc.partial.png").write_bytes(b"half")
        kept = {path: path.stat().st_mtime_ns for path in sorted((journal.parent / "images").glob("00?.png"))}
        with caplog.at_level(logging.INFO):
            acquire(given, raw)
    finally:
        with contextlib.suppress(ProcessLookupError):  # its workers end with it
            os.killpg(run.pid, signal.SIGKILL)
    assert f"going on after {done} of {COUNT} images" in caplog.text
    assert state(raw) == whole
    assert {path: (raw / "images" / path.name).stat().st_mtime_ns for path in kept} == kept


FULL_DISC = """
import subprocess, sys
from pathlib import Path
from galmorph import stages
from galmorph.errors import StorageError
from galmorph.params import check, read_values, with_overrides
if __name__ == "__main__":
    root, given, disc = map(Path, sys.argv[1:])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disc], check=True)
    values = with_overrides(read_values(root / "params.yaml"), ["acquire.source=archive", f"acquire.path={given}"])
    acquire = check(values, "params.yaml").acquire
    try:
        stages.acquire(disc / "raw", acquire)
    except StorageError as error:
        print(error)
    finished = len(list((disc / ".raw.partial/images").glob("[0-9]*.png")))
    subprocess.run(["mount", "-o", "remount,size=8m", disc], check=True)
    stages.acquire(disc / "raw", acquire)
    subprocess.run(["cp", "-r", disc / "raw", given.parent / "copied"], check=True)
    print(finished)
"""


def unshare():
    """How a process gets mounts of its own that end with it: as root, or as root of a namespace."""
    for command in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*command, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        if shutil.which("unshare") and subprocess.run(probe, capture_output=True).returncode == 0:
            return command
    return None


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_space_left_says_so_and_loses_nothing(acquire, tmp_path, repository, monkeypatch, workers):
    command = unshare()
    if command is None:
        pytest.skip("a full disc needs a small tmpfs, and nothing can be mounted here")
    given = make_source(tmp_path / "given", side=32)
    whole = state(acquire(given, tmp_path / "whole"))
    (tmp_path / "disc").mkdir()
    (tmp_path / "script.py").write_text(FULL_DISC)
    monkeypatch.setenv("GALMORPH_WORKERS", workers)
    arguments = [sys.executable, tmp_path / "script.py", repository, given, tmp_path / "disc"]
    run = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    said, finished = run.stdout.splitlines()
    assert "no space left on the device. Nothing that was there is lost: free some space and run" in said
    assert 10 < int(finished) < COUNT - 1
    assert state(tmp_path / "copied") == whole
