"""What each image must be able to do, tried on the image itself."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from contained import Root, Running, mounted

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))  # the tests' helpers

#: A server that has not answered by then will not.
_PATIENCE = 600


def try_training(name: str, folder: Path) -> None:
    """Ask the command line and the tools that stages call; simulate, split, learn and score a few galaxies."""
    work = _owned(folder / "work")
    shutil.copy(REPOSITORY / "tests/small.yaml", work)
    with mounted(name) as root:
        _check_confined(root)
        _expect("denoise", root.run([*root.image.command[:1], "--help"]))
        for command in (["git", "--version"], ["dvc", "--version"], ["python3", "-c", "import kfp.dsl.executor_main"]):
            root.run(command)
        # A pipeline's step may have a folder of its own for what it writes; everything else is as shipped.
        binds = {work: "/work"}
        root.run(["cp", "/etc/galmorph/params.yaml", "/work/params.yaml"], binds)
        root.run(["galmorph", "profile", "small.yaml"], binds)
        for stage in ("acquire", "validate", "split", "train", "evaluate"):
            row = ["regularised_cnn_raw"] if stage in ("train", "evaluate") else []
            print(f"{name}: galmorph {stage}", flush=True)
            root.run(["galmorph", stage, *row], binds, OMP_NUM_THREADS="1", GALMORPH_WORKERS="1")
    metrics = json.loads((work / "evaluation/regularised_cnn_raw/metrics.json").read_text())
    print(f"{name}: test accuracy of the tiny training {metrics['test']['accuracy']['value']:.2f}")


def try_service(name: str, folder: Path) -> None:
    """Start the service as it starts by itself; ask its health check, and an exported model about a galaxy."""
    from galmorph.params import check, read_values
    from tests.exported import cutout, export_small

    params = check(read_values(REPOSITORY / "params.yaml"), "params.yaml")
    model = export_small(folder / "model", params)
    galaxy = folder / "galaxy.png"
    cv2.imwrite(str(galaxy), cutout(5)[..., ::-1])
    expected = _answer_of(model, galaxy, folder)
    with mounted(name) as root:
        _check_confined(root)
        _expect("serve", root.run([*root.image.command[:1], "--help"]))
        _refuse(root, "tensorflow", "keras", "sqlalchemy")
        # What is loaded only for some images, some models or a registry.
        root.run(["python", "-c", "import astropy.io.fits, astropy.visualization, mlflow, pywt, skimage.restoration"])
        binds = {model: "/tmp/model"}
        command = [*root.image.command, "--model", "/tmp/model"]
        with root.running(command, binds, folder / "log", OMP_NUM_THREADS="1") as service:
            _until_healthy(service)
            _until(service, lambda: service.ask("--fail", "http://127.0.0.1:8000/readyz").returncode == 0)
            said = service.ask("-F", f"images=@{galaxy}", "http://127.0.0.1:8000/v1/predictions")
            [answer] = json.loads(said.stdout)["predictions"]
    given = answer["answer"]["p_elliptical"]
    if abs(given - expected) > 0.02:
        raise RuntimeError(f"{name}: must answer what the model answers here, {expected}. Received: {given}")
    print(f"{name}: p_elliptical {given:.4f}, here {expected:.4f}")


def try_tracking(name: str, folder: Path) -> None:
    """Start the tracking server with accounts; who has none is refused, and so is a name that it was not given."""
    accounts = folder / "accounts"
    accounts.mkdir(mode=0o755)
    text = (REPOSITORY / "infra/mlflow/basic_auth.ini").read_text()
    store = "sqlite:////cache/mlflow.db"
    (accounts / "basic_auth.ini").write_text(text.replace("postgresql+psycopg://mlflow@postgres:5432/mlflow", store))
    with mounted(name) as root:
        _check_confined(root)
        root.run(["python", "-c", "import boto3, flask_wtf, psycopg"])
        command = [
            "mlflow", "server", "--host=0.0.0.0", "--port=5000", "--workers=1", "--app-name=basic-auth",
            f"--backend-store-uri={store}", "--artifacts-destination=/cache/artifacts",
            "--allowed-hosts=127.0.0.1:5000",
        ]  # fmt: skip
        secrets = {
            "MLFLOW_AUTH_CONFIG_PATH": "/tmp/accounts/basic_auth.ini",
            "MLFLOW_AUTH_ADMIN_PASSWORD": "correct horse battery",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "staple",
        }
        with root.running(command, {accounts: "/tmp/accounts"}, folder / "log", **secrets) as server:
            _until_healthy(server)
            url = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
            for status, more in {
                "200": ["--user", "admin:correct horse battery"],
                "401": ["--user", "admin:wrong"],
                "403": ["--user", "admin:correct horse battery", "--header", "Host: elsewhere.example"],
            }.items():
                said = server.ask("--output", "/dev/null", "--write-out", "%{http_code}", *more, url).stdout
                if said != status:
                    raise RuntimeError(f"{name}: must answer {status} to {more}. Received: {said}")
    print(f"{name}: lets in who has an account, by a name that it knows")


#: By target. `train` differs from `train-cpu` by CUDA's libraries, which take a GPU to try.
TRIALS: dict[str, Callable[[str, Path], None]] = {
    "serve": try_service,
    "mlflow": try_tracking,
    "train-cpu": try_training,
}


def _owned(folder: Path) -> Path:
    """Make a folder for the images' user."""
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    return folder


def _check_confined(root: Root) -> None:
    """Fail unless it is who it should be and can write where it says, and nowhere else."""
    _expect("uid=10001(galmorph) gid=10001(galmorph)", root.run(["id"]))
    for folder in (*root.image.volumes, "/tmp"):
        root.run(["touch", f"{folder}/written"])
    for folder in ("/", "/etc", "/opt/galmorph", "/usr", "/var"):
        with contextlib.suppress(RuntimeError):
            root.run(["touch", f"{folder}/written"])
            raise AssertionError(f"{root.image.name}: {folder} must not be written to")
    for tool in ("gcc", "make"):
        with contextlib.suppress(RuntimeError):
            root.run(["which", tool])
            raise AssertionError(f"{root.image.name}: holds {tool}, which nobody needs there")
    _refuse(root, "pip", "hatchling")


def _refuse(root: Root, *modules: str) -> None:
    found = root.run(["python", "-c", f"from importlib.util import find_spec; print(*filter(find_spec, {modules}))"])
    if found.strip():
        raise RuntimeError(f"{root.image.name}: must not hold {', '.join(modules)}. Received: {found.strip()}")


def _expect(part: str, text: str) -> None:
    if part not in text:
        raise RuntimeError(f"{part!r} must be in what was said. Received: {text}")


def _until_healthy(server: Running) -> None:
    _until(server, lambda: server.inside(server.root.image.health).returncode == 0)


def _until(server: Running, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not happened():
        if not server.alive() or time.monotonic() > end:
            raise RuntimeError(
                f"{server.root.image.name}: does not answer. Received:\n{server.log.read_text()[-4000:]}"
            )
        time.sleep(0.5)


def _answer_of(model: Path, galaxy: Path, folder: Path) -> float:
    """Return what the model answers in this environment."""
    from galmorph.data.dataset import prepare
    from galmorph.serving.runtime import load
    from galmorph.storage import read_image
    from tests.exported import PREPROCESS

    seen = np.stack([prepare(read_image(galaxy), PREPROCESS)])
    answers = load(str(model), folder / "cache").answer(seen, maps=False)
    return float(answers.p_elliptical[0])
