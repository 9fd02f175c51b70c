"""Prometheus and promtool for tests, from Debian's package."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.debian import install


def binary(name: str) -> str:
    """Path of `prometheus` or `promtool`, installed where that is possible."""
    install("prometheus", lambda: shutil.which(name) is not None)
    found = shutil.which(name)
    assert found, f"{name} is not where apt-get was to put it"
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def prometheus(folder: Path, config: str) -> Iterator[httpx.Client]:
    """Run a Prometheus with this configuration, whose paths are relative to `folder`; yield a client of its API."""
    (folder / "prometheus.yml").write_text(config)
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [binary("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
             f"--web.listen-address=127.0.0.1:{port}"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", trust_env=False, timeout=10) as client:
            until = time.monotonic() + 60
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if client.get("/status/buildinfo").status_code == 200:
                        break
                assert process.poll() is None, (folder / "prometheus.log").read_text()[-2000:]
                assert time.monotonic() < until, (folder / "prometheus.log").read_text()[-2000:]
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)
