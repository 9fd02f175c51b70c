"""MLflow's own servers as processes: the tracking server, and a served model."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.prometheus import free_port


def clean_environment(cache: Path) -> dict[str, str]:
    """Return an environment that names no store and no run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GALMORPH_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "XDG_CACHE_HOME": str(cache),
    }


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], url: str, log: Path
) -> Iterator[None]:
    """Run a server until the block ends; it answers at `url` when the block begins."""
    with log.open("w") as output:
        # A group of its own: both servers have children.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_for(url, process, log)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


@contextlib.contextmanager
def tracking_server(folder: Path, store: str, environment: Mapping[str, str], port: int | None = None) -> Iterator[str]:
    """Run `mlflow server` on a `postgresql://` database, its artifacts in the folder; yield its URL."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", store.replace("postgresql://", "postgresql+psycopg://")),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with running(command, folder, environment, f"{url}/health", folder / "log"):
        yield url


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.5)
    raise AssertionError(f"{url} does not answer:\n{log.read_text()[-4000:]}")
