"""The service as its manifest starts it: the command and the ConfigMap, without a cluster around them."""

import contextlib
import os
import subprocess
import sys
import time

import httpx
import pytest

from tests.exported import cutout, png
from tests.manifests import build, of, one
from tests.prometheus import free_port


@pytest.fixture(scope="module")
def container():
    (found,) = one(build("dev"), "Deployment", "galmorph")["spec"]["template"]["spec"]["containers"]
    return found


@pytest.fixture(scope="module")
def started(container, exported_model, tmp_path_factory):
    """The process, and a client of it."""
    folder = tmp_path_factory.mktemp("pod")
    for name, text in one(build("dev"), "ConfigMap", "galmorph-params")["data"].items():
        (folder / name).write_text(text)
    (mounted,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "params")
    program, *arguments = [*container["command"], *container["args"]]
    assert program == "galmorph"
    arguments = [each.replace(f"{mounted}/", f"{folder}/") for each in arguments]
    port = free_port()
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "galmorph", *arguments, "--port", str(port), "--model", str(exported_model)],
            cwd=folder, env={**os.environ, "HOME": str(folder)}, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            until = time.monotonic() + 120
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(container["readinessProbe"]["httpGet"]["path"]).status_code == 200:
                        break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_probes_and_metrics_answer_and_a_stop_is_clean(started, container):
    process, client = started
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert client.get(container[kind]["httpGet"]["path"]).status_code == 200
    (monitor,) = of(build("prod"), "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert "galmorph_ready 1.0" in client.get(endpoint["path"]).text
    answer = client.post("/v1/predictions", files={"images": ("a.png", png(cutout(1)))}).json()
    assert answer["predictions"][0]["answer"]["label"] in ("Elliptical", "Other")
    process.terminate()
    assert process.wait(60) == 0
