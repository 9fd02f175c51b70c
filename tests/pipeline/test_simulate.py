"""The simulated set as a whole: killed and resumed, and hard enough to be worth classifying."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from galmorph import stages, storage
from galmorph.data.segment import segment, shape

STAGE = """
import sys
from pathlib import Path
from galmorph import stages
from galmorph.params import AcquireParams
if __name__ == "__main__":
    stages.acquire(Path(sys.argv[1]), AcquireParams.model_validate_json(sys.argv[2]))
"""


@pytest.fixture
def acquire(params):
    def make(**changes):
        simulate = params.acquire.simulate.model_copy(update=changes)
        return params.acquire.model_copy(update={"source": "simulate", "simulate": simulate})

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("images/*.png") if not path.name.startswith("."))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path, acquire, monkeypatch):
    wanted = acquire(galaxies=60)
    monkeypatch.setenv("GALMORPH_WORKERS", "2")
    raw, partial = tmp_path / "killed" / "raw", tmp_path / "killed" / ".raw.partial"
    command = [sys.executable, "-c", STAGE, str(raw), wanted.model_dump_json()]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ})
    deadline = time.monotonic() + 120
    while len(finished(partial)) < 8:
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)  # its workers notice and end
    before = {path.name: path.stat().st_mtime_ns for path in finished(partial)}
    assert 8 <= len(before) < 60
    assert not raw.exists()

    stages.acquire(raw, wanted)
    assert not partial.exists()
    after = {path.name: path.stat().st_mtime_ns for path in finished(raw)}
    assert len(after) == 60
    assert {name: after[name] for name in before} == before  # not made again

    # On one process, in one go: the order of work does not show either.
    monkeypatch.setenv("GALMORPH_WORKERS", "1")
    stages.acquire(tmp_path / "whole" / "raw", wanted)
    assert content(raw) == content(tmp_path / "whole" / "raw")


@pytest.mark.slow
def test_neither_colour_nor_axis_ratio_alone_tells_the_classes_apart(tmp_path, acquire):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    stages.acquire(tmp_path / "raw", acquire(galaxies=400, keep_noise_free=False))
    table = storage.read_table(tmp_path / "raw" / "catalogue.csv")
    colours, ratios = [], []
    for cataid in table["CATAID"]:
        image = storage.read_image(storage.image_path(tmp_path / "raw" / "images", cataid))
        middle = slice(int(0.4 * len(image)), int(0.6 * len(image)))
        colours.append([*image.mean((0, 1)), *image[middle, middle].mean((0, 1))])
        ratios.append(shape(image, segment(image).galaxy).axis_ratio)
    ratios = np.array(ratios)
    found = np.isfinite(ratios)
    assert found.mean() > 0.98

    def accuracy(features, rows):
        model = make_pipeline(StandardScaler(), LogisticRegression())
        return cross_val_score(model, features[rows], table["label"].to_numpy()[rows], cv=10).mean()

    assert accuracy(np.array(colours), np.full(len(table), True)) < 0.82
    assert accuracy(table[["axis_ratio"]].to_numpy(), np.full(len(table), True)) < 0.8
    assert accuracy(ratios[:, None], found) < 0.8
