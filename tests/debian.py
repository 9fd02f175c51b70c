"""Debian packages that tests need: installed where that is possible, skipped with a reason elsewhere."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


def install(package: str, present: Callable[[], bool]) -> None:
    """Install a package unless it is there; two test processes wait for each other, as apt-get would fail at once."""
    with (Path(tempfile.gettempdir()) / "galmorph-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if present():
            return
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            pytest.skip(f"{package} is not installed, and only root on Debian can: apt-get install {package}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-qqy", "--no-install-recommends", package],
        ):
            done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
            if done.returncode:
                said = done.stderr.strip()[-300:]
                pytest.skip(f"{package} is not installed, and `{' '.join(command)}` failed: {said}")
