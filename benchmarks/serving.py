"""`galmorph serve` beside `mlflow models serve`: the same ResNet50, the same cutouts, one image a request.

Both run as processes of their own on this machine, and are asked in turns by concurrent clients that each wait for
their answer before they ask again: a file in a form for one, the same file in base64 for the other. The clients send
prepared bytes through bare sockets, since they take their time from the same cores as the servers. Requests a second,
times to the answer at the middle and at the 99th percentile, processor time that the server took for a request, and
failures of both are printed, and the ratios. On a machine that does other work too, processor time is what to compare.
Nothing passes or fails.

    python benchmarks/serving.py                                     ResNet50 at 96 pixels, 16 clients
    python benchmarks/serving.py --model models/resnet50_finetune_raw/model.keras --clients 4 --seconds 5
"""

import argparse
import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REPOSITORY = Path(__file__).parents[1]
PARAMS = REPOSITORY / "params.yaml"
BOUNDARY = "a-boundary-that-no-image-holds"


def cutouts(count: int, side: int = 300) -> list[bytes]:
    """Return PNG files of galaxies on a noisy sky."""
    import cv2

    random = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    files = []
    for _ in range(count):
        light = 150 * np.exp(-np.hypot(y, x / random.uniform(0.4, 1)) / random.uniform(8, 30))[..., None]
        image = np.clip(light + random.normal(12, 3, (side, side, 3)), 0, 255).astype(np.uint8)
        files.append(cv2.imencode(".png", image)[1].tobytes())
    return files


def new_model(size: int, path: Path) -> None:
    """Write a ResNet50 of random weights as galmorph saves models; speed does not depend on the weights."""
    from galmorph.models.architectures import build
    from galmorph.models.layers import with_probability
    from galmorph.models.saved import ModelFacts, save_model
    from galmorph.params import PreprocessParams, check, read_values

    params = check(read_values(PARAMS), str(PARAMS))
    preprocess = PreprocessParams(crop=params.preprocess.crop, image_size=size)
    model = with_probability(build("resnet50", preprocess, params.train), 1.0)
    recipe = {
        "weights": "none", "phases": ["scratch"], "epochs": [1], "augmentation": None, "class_weights": False,
    }  # fmt: skip
    facts = {
        "galmorph": "0", "experiment": "resnet50", "architecture": "resnet50", "variant": "raw",
        "preprocess": preprocess.model_dump(), "denoiser": None, "temperature": 1.0, "recipe": recipe, "seed": 1,
        "data_digest": "none", "params_digest": "none", "git_commit": None, "run_id": None,
    }  # fmt: skip
    save_model(path, model, ModelFacts.model_validate(facts))


def prepare_both(file: Path, folder: Path) -> str:
    """Export the model for one, log it for the other as `galmorph register` does; return its URI there."""
    import mlflow

    from galmorph.edge.logged_model import log_model
    from galmorph.models.saved import load_model
    from galmorph.params import RegisterStageParams, read_values
    from galmorph.serving.export import Origin, export

    model, facts = load_model(file)
    export(model, facts, folder / "export", Origin("galmorph", None, "none", "2026-01-01T00:00:00+00:00"), None, {})
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.create_experiment("serving", (folder / "artifacts").as_uri())
    mlflow.set_experiment("serving")
    values = read_values(PARAMS)
    params = RegisterStageParams.model_validate({name: values[name] for name in ("register", "explain")})
    with mlflow.start_run():
        return log_model(file, facts, cutouts(1)[0], params)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def started(command: list[str], folder: Path, port: int, health: str) -> tuple[subprocess.Popen[bytes], float]:
    """Start a server and wait until it is ready; return it, and the seconds that took."""
    began = time.monotonic()
    with (folder / f"{command[2]}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    while True:
        if process.poll() is not None or time.monotonic() - began > 180:
            sys.exit(f"{' '.join(command)} does not answer:\n{(folder / f'{command[2]}.log').read_text()[-2000:]}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", health)
            if connection.getresponse().status == 200:
                return process, time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.05)


def multipart(content: bytes) -> tuple[bytes, str]:
    """Return the body of a form with one image, and its media type."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'.encode()
    return head + content + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


def in_base64(content: bytes) -> tuple[bytes, str]:
    """Return the body that MLflow's server takes for one image, and its media type."""
    return json.dumps({"inputs": [base64.b64encode(content).decode()]}).encode(), "application/json"


def request_bytes(port: int, path: str, body: bytes, kind: str) -> bytes:
    """Return a whole HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(connection: socket.socket, request: bytes) -> int:
    """Send one request, read its whole answer, and return the status."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    missing = length - len(body)
    while missing:
        missing -= len(received(connection))
    return int(head.split(maxsplit=2)[1])


def received(connection: socket.socket) -> bytes:
    """Return what has come; OSError where the server has closed the connection."""
    part = connection.recv(65536)
    if not part:
        raise ConnectionResetError("closed")
    return part


def processor_seconds(server: subprocess.Popen[bytes]) -> float:
    """Return the processor time that a server and its children have taken."""
    process = psutil.Process(server.pid)
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def load(port: int, requests: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Ask with so many clients for so long."""
    times: list[float] = []
    failed = [0]
    begin = time.monotonic()
    end = begin + seconds

    def client(number: int) -> None:
        address = ("127.0.0.1", port)
        connection = socket.create_connection(address, timeout=120)
        turn = number
        while (asked := time.monotonic()) < end:
            request = requests[turn % len(requests)]
            turn += 1
            try:
                good = ask(connection, request) == 200
            except (OSError, ValueError):
                connection.close()
                connection = socket.create_connection(address, timeout=120)
                good = False
            if good:
                times.append(time.monotonic() - asked)
            else:
                failed[0] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [float("nan")] * 99
    rate = len(times) / (time.monotonic() - begin)
    found = {"requests/s": rate, "p50 ms": cuts[49] * 1e3, "p99 ms": cuts[98] * 1e3}
    return {**found, "answered": len(times), "failed": failed[0]}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a .keras file; else a ResNet50 of random weights")
    parser.add_argument("--size", type=int, default=96, help="pixels a side that the random ResNet50 sees (96)")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn (10)")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds of load before the first turn (5)")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        file = options.model or folder / "model.keras"
        if options.model is None:
            new_model(options.size, file)
        uri = prepare_both(file.resolve(), folder)
        files = cutouts(32)
        # MLflow starts `uvicorn` by its name.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        ports = {"galmorph serve": free_port(), "mlflow models serve": free_port()}
        commands = {
            "galmorph serve": [
                sys.executable, "-m", "galmorph", "serve", "--params", str(PARAMS), "--model", str(folder / "export"),
                "--port", str(ports["galmorph serve"]),
            ],
            "mlflow models serve": [
                sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local",
                "--host", "127.0.0.1", "-p", str(ports["mlflow models serve"]),
            ],
        }  # fmt: skip
        health = {"galmorph serve": "/readyz", "mlflow models serve": "/health"}
        servers = {}
        try:
            for name, command in commands.items():
                servers[name], ready = started(command, folder, ports[name], health[name])
                print(f"{name}: ready after {ready:.1f} s")
            asked = {
                "galmorph serve": ("/v1/predictions", multipart),
                "mlflow models serve": ("/invocations", in_base64),
            }
            requests = {
                name: [request_bytes(ports[name], path, *body(content)) for content in files]
                for name, (path, body) in asked.items()
            }
            for name, port in ports.items():  # the first answers of a server take longer than all that follow
                load(port, requests[name], options.clients, options.warm_up)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
            for _ in range(options.turns):
                for name, port in ports.items():
                    before = processor_seconds(servers[name])
                    turn = load(port, requests[name], options.clients, options.seconds)
                    turn["CPU ms"] = 1e3 * (processor_seconds(servers[name]) - before) / max(1, turn["answered"])
                    found[name].append(turn)
        finally:
            for server in servers.values():
                server.terminate()
                server.wait(60)
    report(found, options.clients)


def report(found: dict[str, list[dict[str, float]]], clients: int) -> None:
    """Print the median turn of both, and the ratios."""
    shown = ("requests/s", "p50 ms", "p99 ms", "CPU ms", "failed")
    print(f"\n{clients} clients, one image a request".ljust(37) + "".join(f"{key:>12}" for key in shown))
    middles = {}
    for name, turns in found.items():
        middles[name] = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        middles[name]["failed"] = sum(turn["failed"] for turn in turns)
        print(f"{name:<36}" + "".join(f"{middles[name][key]:>12.1f}" for key in shown))
    ours, theirs = middles["galmorph serve"], middles["mlflow models serve"]
    print(f"\nratio of requests/s: {ours['requests/s'] / theirs['requests/s']:.2f}")
    print(f"ratio of processor time for a request: {theirs['CPU ms'] / ours['CPU ms']:.2f}")


if __name__ == "__main__":
    main()
