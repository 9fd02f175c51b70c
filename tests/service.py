"""`galmorph serve` as a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from galmorph.params import merged, read_values
from tests.conftest import REPOSITORY

_PORT = re.compile(r"running on http://127\.0\.0\.1:(\d+)")


class Service:
    """A running service: `url`, a `client`, its `process` and its `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log
        until = time.monotonic() + 60
        while not (found := _PORT.search(log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=60)

    def reconnect(self) -> None:
        """Take a new connection: one stays with the worker that accepted it."""
        self.client.close()
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=60)

    def until_ready(self, seconds: float = 60) -> None:
        """Wait for a model."""
        until = time.monotonic() + seconds
        while (found := self.client.get("/readyz")).status_code != 200:
            assert time.monotonic() < until, found.text
            time.sleep(0.05)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have these labels."""
        from prometheus_client.parser import text_string_to_metric_families

        text = self.client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def stop(self) -> int:
        """End it as a scheduler does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def running(
    folder: Path,
    model: str,
    serve: Mapping[str, Any],
    *options: str,
    python: str = sys.executable,
    **environment: str,
) -> Iterator[Service]:
    """Run `galmorph serve` on a free port, with changes to `serve` of params.yaml, by this or another Python."""
    folder.mkdir(exist_ok=True)
    values = merged(
        read_values(REPOSITORY / "params.yaml"), {"serve": {"port": 0, "cache": str(folder / "cache"), **serve}}
    )
    YAML().dump(values, folder / "params.yaml")
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [python, "-m", "galmorph", "serve", "--model", model, "--params", str(folder / "params.yaml"),
             *options],
            cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    service = None
    try:
        service = Service(process, log)
        yield service
    finally:
        if service:
            service.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
