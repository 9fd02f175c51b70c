"""`galmorph serve` as people run it: a process that is ready soon, stops well, and outlives what happens around it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from galmorph.serving.exported import DIGESTS
from galmorph.serving.runtime import Runtime
from galmorph.serving.source import EXPORT_DIGEST_TAG, EXPORT_TAG
from galmorph.storage import digest_file
from tests.exported import cutout, export_small, png
from tests.prometheus import free_port
from tests.service import running

QUICK = {"poll": 0.2, "threads": 1, "precision": "f32", "limits": {"header_seconds": 1, "body_seconds": 1}}

HEAD = b"POST /v1/predictions HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: "


@pytest.fixture(scope="module")
def service(tmp_path_factory, exported_model):
    with running(tmp_path_factory.mktemp("service"), str(exported_model), QUICK) as made:
        made.until_ready()
        yield made


def ask(client, content):
    return client.post("/v1/predictions", files={"images": ("a.png", content)})


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_it_answers_with_neither_tensorflow_nor_the_whole_of_mlflow(service, exported_model):
    found = ask(service.client, png(cutout(1))).json()["predictions"][0]["answer"]
    runtime = Runtime(exported_model, "f32", 1)
    p = float(runtime.answer(runtime.prepare(cutout(1))[None], maps=False).p_elliptical[0])
    assert found["p_elliptical"] == pytest.approx(p, abs=1e-6)
    explained = service.client.post("/v1/explanations", files={"image": ("a.png", png(cutout(1)))})
    assert explained.status_code == 200
    if sys.platform == "linux":
        loaded = Path(f"/proc/{service.process.pid}/maps").read_text()
        assert "/site-packages/tensorflow/" not in loaded  # OpenVINO has a reader of its files
        assert "openvino" in loaded


def test_every_log_line_is_json_with_the_requests_id(service):
    service.client.get("/v1/model", headers={"X-Request-ID": "looked-for"})
    until(lambda: "looked-for" in service.log.read_text())
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    found = next(line for line in lines if line.get("request_id") == "looked-for")
    assert (found["route"], found["status"], found["level"]) == ("/v1/model", 200, "INFO")
    assert found["seconds"] >= 0


def send(service, *parts, wait=0.0):
    """Send bytes as they are; return what comes until the connection ends, and after how long it did."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(wait)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer, time.monotonic() - began


def test_a_client_whose_headers_do_not_come_is_let_go(service):
    assert send(service, b"")[1] < 8
    answer, seconds = send(service, b"POST /v1/predictions HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    assert answer == b""
    assert 0.8 < seconds < 8
    # The same for a second request of a connection that had its first answered.
    answer, seconds = send(
        service, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /healthz HTTP/1.1\r\nX: ", wait=0.2
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1
    assert seconds < 8


def test_a_client_whose_body_does_not_come_is_refused_and_others_are_answered_meanwhile(service):
    head = HEAD + b"1000\r\n\r\n"
    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(send, service, head) for _ in range(8)]
        assert ask(service.client, png(cutout(1))).status_code == 200
        for each in slow:
            answer, seconds = each.result()
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"slow_request" in answer
            assert seconds < 15
    until(lambda: service.metric("galmorph_in_flight_requests") == 1)


def test_a_client_that_does_not_take_its_answers_does_not_keep_its_place(tmp_path, exported_model):
    limits = {"header_seconds": 20, "requests": 1, "send_seconds": 4}
    noise = png(np.random.default_rng(1).integers(0, 256, (600, 600, 3), np.uint8))
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + noise + b"\r\n--b--\r\n"
    head = HEAD.replace(b"predictions", b"explanations") + str(len(form)).encode() + b"\r\n\r\n"
    with running(tmp_path, str(exported_model), {**QUICK, "limits": limits}) as service:
        service.until_ready()

        def asked():
            return ask(service.client, png(cutout(1))).status_code

        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            # Its answer is more than the kernel keeps, so the next request of the connection waits with its own.
            connection.sendall(head + form)
            until(lambda: service.metric("galmorph_request_seconds_count", route="/v1/explanations") == 1)
            connection.sendall(b"GET /v1/model HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: asked() == 503)
            until(lambda: asked() == 200)
            assert "a client did not take its answer in time" in service.log.read_text()


def test_a_client_that_leaves_does_no_harm(service):
    body = png(cutout(1))
    head = HEAD + str(len(body) + 2000).encode() + b"\r\n\r\n"
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(head + body[:300])
    assert ask(service.client, body).status_code == 200
    assert service.metric("galmorph_internal_errors_total") == 0


def test_a_stop_answers_the_requests_that_are_under_way(tmp_path, exported_model):
    with running(tmp_path, str(exported_model), {**QUICK, "batch": {"wait": 1.0}}) as service:
        service.until_ready()
        body = (
            b'--b\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
            + png(cutout(1))
            + b"\r\n--b--\r\n"
        )
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
            connection.sendall(HEAD + str(len(body)).encode() + b"\r\n\r\n" + body[:-20])
            until(lambda: service.metric("galmorph_in_flight_requests") == 2)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[-20:])
            answer = b""
            while more := connection.recv(65536):
                answer += more
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"p_elliptical" in answer
        assert service.process.wait(20) == 0
        with pytest.raises(httpx.TransportError):
            service.client.get("/healthz")


def test_a_worker_that_is_killed_is_replaced_and_counts_go_on(tmp_path, exported_model):
    content = png(cutout(1))
    with running(tmp_path, str(exported_model), QUICK, "--workers", "2") as service:

        def workers():
            children = psutil.Process(service.process.pid).children()
            alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
            return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]

        until(lambda: len(workers()) == 2)

        def fresh():
            # A connection stays with one worker: each asks anew.
            try:
                with httpx.Client(base_url=service.url, trust_env=False, timeout=20) as client:
                    return ask(client, content).status_code
            except httpx.TransportError:
                return None

        until(lambda: [fresh() for _ in range(4)] == [200] * 4)
        answered = service.metric("galmorph_predictions_total")
        killed = workers()[0]
        killed.kill()
        until(lambda: len(workers()) == 2 and killed.pid not in {each.pid for each in workers()})
        until(lambda: [fresh() for _ in range(6)] == [200] * 6)
        service.reconnect()
        # What the dead one had counted is not lost, and it is in no sum of what goes on now.
        assert service.metric("galmorph_predictions_total") >= answered + 6
        assert service.metric("galmorph_in_flight_requests") <= 2
        assert service.stop() == 0


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A real MLflow server that can be stopped and started again: its address, `start` and `stop`."""
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    running_now = []

    def start():
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
            "--artifacts-destination", str(folder / "artifacts"),
        ]  # fmt: skip
        with (folder / "log").open("w") as log:
            running_now.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True))

        def up():
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until(up, 150)

    def stop():
        for process in running_now:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
        running_now.clear()

    start()
    yield f"http://127.0.0.1:{port}", start, stop
    stop()


def register(address, folder):
    """Make a version of `galmorph` with an export, in the way that `galmorph register` does, and make it champion."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(address, address)
    run = client.create_run(client.create_experiment(f"e{time.time()}"))
    client.log_artifacts(run.info.run_id, str(folder), "export")
    try:
        client.create_registered_model("galmorph")
    except MlflowException:
        assert client.get_registered_model("galmorph")
    tags = {EXPORT_TAG: "export", EXPORT_DIGEST_TAG: digest_file(folder / DIGESTS)}
    version = client.create_model_version("galmorph", f"runs:/{run.info.run_id}/export", run.info.run_id, tags=tags)
    client.set_registered_model_alias("galmorph", "champion", version.version)


def test_a_champion_of_a_registry_that_goes_away_goes_on_answering(tmp_path, registry, exported_model, params):
    address, start, stop = registry
    serve = {**QUICK, "poll": 0.5}
    with running(tmp_path / "a", "models:/galmorph@champion", serve, MLFLOW_TRACKING_URI=address) as service:
        # The registry answers, and has no champion yet.
        until(lambda: "cannot be had" in service.client.get("/readyz").json()["message"])
        assert service.client.get("/readyz").status_code == 503
        assert service.metric("galmorph_registry_up") == 1
        register(address, exported_model)
        service.until_ready()
        before = ask(service.client, png(cutout(1)))
        assert before.json()["model"]["name"] == "galmorph/1"

        stop()
        until(lambda: service.metric("galmorph_registry_up") == 0)
        after = ask(service.client, png(cutout(1)))
        assert after.json()["predictions"] == before.json()["predictions"]
        assert service.client.get("/readyz").status_code == 200
        assert "cannot be had" in service.client.get("/v1/model").json()["problem"]

        start()
        until(lambda: service.metric("galmorph_registry_up") == 1)
        register(address, export_small(tmp_path / "two", params, version=2))
        failures, done = [], threading.Event()

        def keep_asking():
            while not done.is_set():
                found = ask(service.client, png(cutout(2)))
                if found.status_code != 200:
                    failures.append(found.text)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        until(lambda: service.client.get("/v1/model").json()["name"] == "galmorph/2")
        done.set()
        asking.join()
        assert failures == []
        assert service.client.get("/v1/model").json()["problem"] == ""


def test_a_wrong_value_is_said_at_once_and_nothing_is_served(tmp_path):
    def serve(*options):
        command = [sys.executable, "-m", "galmorph", "serve", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    from tests.conftest import REPOSITORY

    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    found = serve("--set", "serve.limits.images=1000")
    assert found.returncode == 1
    assert "limits.images must be at most batch.queue, 256. Received: 1000" in found.stderr
    found = serve("--set", "serve.keys=no/such/file")
    assert found.returncode == 1
    assert "no/such/file: the key file cannot be read" in found.stderr
    found = serve("--new-key", "alice")
    assert found.returncode == 0
    assert found.stdout.splitlines()[-1].startswith("alice ")
