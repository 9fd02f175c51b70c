"""`galmorph predict` as a process of its own, and images to ask it about."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.exported import cutout, png


def write_cutouts(folder: Path, count: int, side: int = 48, suffix: str = "_giH.png") -> list[str]:
    """Write so many different cutouts; return their ids."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"{number:05d}" for number in range(count)]
    for number, cataid in enumerate(ids):
        (folder / f"{cataid}{suffix}").write_bytes(png(cutout(number, side)))
    return ids


def started(
    model: Path, images: Path, output: Path, *options: str, values: Sequence[str] = (), **pipes: int
) -> "subprocess.Popen[str]":
    """Start it, with one thread of each kind and in float32, so that answers repeat to the last digit."""
    settings = ["serve.precision=f32", "serve.threads=1", "predict.decoders=1", *values]
    command = [
        sys.executable, "-m", "galmorph", "predict", "--model", str(model), "--images", str(images),
        "--output", str(output), "--params", str(REPOSITORY / "params.yaml"), "--set", " ".join(settings), *options,
    ]  # fmt: skip
    return subprocess.Popen(command, text=True, env=os.environ, **pipes)


def run(model: Path, images: Path, output: Path, *options: str, values: Sequence[str] = ()) -> tuple[int, str, str]:
    """Run it to its end; return the status and what it said."""
    process = started(model, images, output, *options, values=values, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
