"""A denoise stage that is killed outright, in processes of its own, and run again."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil

from galmorph import stages, storage

# Slow enough a galaxy that the kill falls among them.
STAGE = """
import sys
from pathlib import Path
from galmorph import stages
from galmorph.params import NlmParams

if __name__ == "__main__":
    here = Path(sys.argv[1])
    variants = here / "variants"
    stages.denoise(
        here / "raw", here / "manifest.parquet", variants / "nlm", variants / "nlm.json", here / "reports/denoise/nlm",
        NlmParams(strength=8, template=7, search=51), "nlm",
    )
"""
GALAXIES = 40


def make_raw(folder):
    storage.write_json(folder / "raw" / stages.SOURCE_FILE, {"source": "archive mine.zip"})
    rng = np.random.default_rng(3)
    manifest = []
    for index in range(GALAXIES):
        cataid = f"{index:03d}"
        path = folder / f"raw/images/{cataid}.png"
        storage.write_image(path, rng.integers(0, 60, (90, 90, 3), dtype=np.uint8))
        storage.write_image(folder / f"raw/noise_free/{cataid}.png", np.full((90, 90, 3), 30, np.uint8))
        label = ("Elliptical", "Other")[index % 2]
        manifest.append((cataid, label, True, storage.digest_file(path), 12.0))
    columns = ["CATAID", "label", "accepted", "sha256", "radius_pixels"]
    storage.write_table(folder / "manifest.parquet", pd.DataFrame(manifest, columns=columns))


def start(folder, workers):
    script = folder / "stage.py"
    script.write_text(STAGE)
    return subprocess.Popen([sys.executable, script, folder], env={**os.environ, "GALMORPH_WORKERS": workers})


def finished_images(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.png")}


def kill_amid(process, folder, images):
    """Kill the process and its workers as soon as `folder` holds so many images; return what it then holds."""
    deadline = time.monotonic() + 120
    while len(finished_images(folder)) < images:
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    for child in family:
        child.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)
    return finished_images(folder)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_and_run_again_equals_a_run_in_one_piece(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        make_raw(folder)
    assert start(whole, workers="1").wait() == 0

    partial = killed / "variants/.nlm.partial"
    before = kill_amid(start(killed, workers="2"), partial, 5)
    assert 5 <= len(before) < GALAXIES
    assert not (killed / "variants/nlm").exists()
    assert not (killed / "variants/nlm.json").exists()
    assert not (killed / "reports").exists()
    (partial / ".020.k1lled.partial.png").write_bytes(b"\x89PNG half an image")

    assert start(killed, workers="2").wait() == 0
    # Times too: nothing that was finished was made again.
    assert before.items() <= finished_images(killed / "variants/nlm").items()
    assert contents(killed) == contents(whole)
