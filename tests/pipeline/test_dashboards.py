"""Every panel of the dashboards, by a real Prometheus that scrapes a real service, a training and a study."""

import contextlib
import io
import json
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests import dashboards
from tests.exported import cutout, png
from tests.project import Project
from tests.prometheus import free_port, prometheus
from tests.service import running

#: What waits for seconds here waits for quarters of a minute where it is used.
CONFIG = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [recording.yml, alerts.yml]
scrape_configs: [{{ job_name: {job}, static_configs: [{{ targets: [{targets}] }}] }}]
"""
EXPERIMENT = "regularised_cnn_raw"


def board(repository, name):
    return dashboards.read(repository / f"infra/grafana/dashboards/{name}.json")


@contextlib.contextmanager
def scraping(folder, repository, job, *ports):
    folder.mkdir()
    for name in ("recording.yml", "alerts.yml"):
        (folder / name).write_bytes((repository / "infra/prometheus" / name).read_bytes())
    targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    with prometheus(folder, CONFIG.format(job=job, targets=targets)) as api:
        yield api


def until_full(api, content, meanwhile, seconds):
    """Wait until no panel is empty; do something in between."""
    end = time.monotonic() + seconds
    while missing := dashboards.empty(api, content):
        assert time.monotonic() < end, missing
        meanwhile()
        time.sleep(0.5)


def test_no_panel_of_the_service_is_empty(tmp_path, repository, exported_model):
    serve = {
        "threads": 1, "precision": "f32", "limits": {"pixels": 40000},
        "drift": {"window": 60, "min_images": 40, "rate": 1000, "seconds": 0.5},
    }  # fmt: skip
    huge = io.BytesIO()
    Image.fromarray(np.full((201, 200, 3), 9, np.uint8)).save(huge, "PNG")

    with running(tmp_path / "service", str(exported_model), serve) as service:
        service.until_ready()
        with scraping(tmp_path / "prometheus", repository, "galmorph", service.port) as api:

            def send():
                files = [("images", ("a.png", png(cutout(seed)))) for seed in range(20)]
                assert service.client.post("/v1/predictions", files=files).status_code == 200
                for seed in range(4):
                    image = {"image": ("a.png", png(cutout(seed)))}
                    assert service.client.post("/v1/explanations", files=image).status_code == 200
                for content in (b"no image", huge.getvalue(), png(np.zeros((64, 64, 3), np.uint8))):
                    refused = service.client.post("/v1/predictions", files={"images": ("a.png", content)})
                    assert refused.status_code in (413, 415, 422), refused.text

            content = board(repository, "service")
            assert len(dashboards.empty(api, content)) > 20, "before anything was asked"
            until_full(api, content, send, 90)
            assert dashboards.colourless(api, content) == []
            assert dashboards.series(api, "sum by (reason) (galmorph_rejected_total)", "{{reason}}").keys() >= {
                "unsupported_format", "too_many_pixels", "blank_image",
            }  # fmt: skip


@pytest.fixture
def project(tmp_path, finished):
    """A copy of the finished project, whose data are there."""
    shutil.copytree(finished.folder, tmp_path / "project")
    return Project.at(tmp_path / "project")


def set_to(values):
    """Options that change values of params.yaml; JSON is YAML."""
    return [part for key, value in values.items() for part in ("--set", shlex.quote(f"{key}={json.dumps(value)}"))]


@contextlib.contextmanager
def started(project, port, *command):
    """Run a command of galmorph that serves its metrics; yield what says whether it still does."""
    log = project.folder / f"{command[0]}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "galmorph", *command], cwd=project.folder, stdout=out, stderr=out,
            # A store each: two processes that make one SQLite file at once lock each other out.
            env={**project.environment, "GALMORPH_METRICS_PORT": str(port),
                 "MLFLOW_TRACKING_URI": f"sqlite:///{command[0]}.db"},
        )  # fmt: skip

    def alive():
        assert process.poll() is None, log.read_text()[-3000:]

    try:
        yield alive
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow  # a training and a study
def test_no_panel_of_training_is_empty(tmp_path, repository, project, values):
    ports = free_port(), free_port()
    # For longer than anybody looks.
    training = ("train", EXPERIMENT, *set_to({"train.scratch.epochs": 5000, "train.early_stopping": 5000}))
    space = {
        **dict.fromkeys(values["tune"]["space"]),
        "train.scratch.learning_rate": {"low": 0.001, "high": 0.01, "log": True},
    }
    study = ("tune", "--trials", "5000", *set_to({f"tune.space.{key}": space[key] for key in space}))
    with (
        started(project, ports[0], *training) as trains,
        started(project, ports[1], *study) as tunes,
        scraping(tmp_path / "prometheus", repository, "galmorph-training", *ports) as api,
    ):

        def both_live():
            trains()
            tunes()

        content = board(repository, "training")
        until_full(api, content, both_live, 300)
        assert dashboards.colourless(api, content) == []
        planned = f'max(galmorph_training_epochs_planned{{experiment="{EXPERIMENT}"}})'
        assert dashboards.series(api, planned, "planned") == {"planned": 5000}
