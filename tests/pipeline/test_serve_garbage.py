"""Ten thousand requests of garbage, and schemathesis: no failure of the service's own, flat memory, same answers."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.exported import cutout, jpeg, png
from tests.service import running
from tests.unit.serving.test_refusals import bomb, encoded, fits_file

pytestmark = pytest.mark.slow
COUNT = 10_000
#: Growth that is not a leak: caches that fill, and pages that the allocator keeps.
FLAT = 60 * 2**20
SERVE = {"threads": 1, "precision": "f32"}


@pytest.fixture(scope="module")
def service(tmp_path_factory, exported_model):
    with running(tmp_path_factory.mktemp("garbage"), str(exported_model), SERVE) as made:
        made.until_ready()
        yield made


def garbage(random):
    """One request's `files` or `content`, of every kind that the issue names and some more."""
    noise = random.bytes(int(random.integers(1, 3000)))
    image = cutout(int(random.integers(1000)), side=int(random.integers(32, 128)))
    good = png(image)
    deep = np.asarray(image[..., 0], np.uint16) * 257
    nan = np.where(image.transpose(2, 0, 1) > 40, np.nan, image.transpose(2, 0, 1)).astype(np.float32)
    damaged = bytearray(good)
    for at in random.integers(8, len(good), 3):
        damaged[at] ^= 255
    files = [
        noise, good[: len(good) // 2], bytes(damaged), jpeg(image)[:-200], bomb(), b"",
        encoded(Image.new("RGB", (1, 1)), "PNG"), encoded(Image.fromarray(image[..., 0]), "PNG"),
        encoded(Image.fromarray(np.dstack([image, image[..., 0]])), "PNG"), encoded(Image.fromarray(deep), "PNG"),
        fits_file(nan), fits_file(nan)[:3500], good, jpeg(image), b"\x89PNG\r\n\x1a\n" + noise, b"SIMPLE  =" + noise,
        encoded(Image.fromarray(image), "GIF"), encoded(Image.fromarray(image), "TIFF"), b"{}" + noise,
    ]  # fmt: skip
    chosen = files[int(random.integers(len(files)))]
    form = int(random.integers(10))
    if form == 0:
        return {"content": noise, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    if form == 1:
        return {"content": b'{"images": ["/etc/passwd"]}', "headers": {"Content-Type": "application/json"}}
    if form == 2:
        return {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    name = ["a.png", "../../etc/passwd", "é.jpg", "x" * 300][int(random.integers(4))]
    several = [("images", (name, chosen)), ("images", ("b", noise))]
    return {"files": several if form == 3 else [("images" if form % 2 else "image", (name, chosen))]}


@pytest.mark.timeout(1800)  # beside twenty other processes 3,000 of them took three minutes
def test_ten_thousand_requests_of_garbage(service):
    content = png(cutout(1))
    process = psutil.Process(service.process.pid)

    def answers():
        asked = {route: service.client.post(f"/v1/{route}", files={field: ("a.png", content)}).json()
                 for route, field in (("predictions", "images"), ("explanations", "image"))}  # fmt: skip
        return [{key: value for key, value in each.items() if key != "request_id"} for each in asked.values()]

    def throw(seed):
        random = np.random.default_rng(seed)
        found = []
        with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
            for _ in range(100):
                route = ("/v1/predictions", "/v1/explanations")[int(random.integers(2))]
                try:
                    found.append(client.post(route, **garbage(random)).status_code)
                except httpx.TransportError as error:
                    found.append(type(error).__name__)
        return found

    before = answers()
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for part in pool.map(throw, range(20)) for status in part]
        settled = process.memory_info().rss
        statuses += [status for part in pool.map(throw, range(20, COUNT // 100)) for status in part]
    grown = process.memory_info().rss - settled
    assert len(statuses) == COUNT
    assert set(statuses) <= {200, 400, 413, 415, 422, 503}, {each: statuses.count(each) for each in set(statuses)}
    for expected in (200, 400, 413, 415, 422):
        assert statuses.count(expected) > COUNT / 100
    assert grown < FLAT, f"{grown / 2**20:.0f} MiB more"
    assert answers() == before
    assert service.metric("galmorph_internal_errors_total") == 0
    assert service.metric("galmorph_in_flight_requests") == 1
    assert service.metric("galmorph_queue_depth") == 0
    if sys.platform == "linux":
        assert process.num_fds() < 100
    assert b"CRITICAL" not in service.log.read_bytes()


def test_schemathesis_finds_no_failure_and_no_answer_that_the_schema_does_not_know(service, tmp_path):
    """`positive_data_acceptance` is left out: it takes any text for an image that should have been answered."""
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance,unsupported_method"
    )
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json",
            "--checks", checks, "--max-examples", "150", "--seed", "7", "--no-color", "--request-timeout", "30",
        ],
        cwd=tmp_path, env={**os.environ, "NO_PROXY": "*"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert service.metric("galmorph_internal_errors_total") == 0
    assert (counts := re.search(r"(\d+) generated, (\d+) passed", done.stdout)), done.stdout[-6000:]
    assert int(counts[1]) == int(counts[2]) > 100
