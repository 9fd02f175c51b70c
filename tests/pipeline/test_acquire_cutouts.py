"""Source `cutouts` against a service on this machine, faults included."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from galmorph import storage
from galmorph.edge.acquire_cutouts import BandCache
from galmorph.errors import DownloadError, StorageError
from galmorph.params import AcquireParams, merged, read_values
from galmorph.stages import acquire


def _load(name):
    specification = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    sys.modules[name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(sys.modules[name])
    return sys.modules[name]


Hips2FitsServer = _load("hips2fits_server").Hips2FitsServer

VALUES = read_values(Path(__file__).parents[2] / "params.yaml")["acquire"]
G, I, H = (VALUES["cutouts"]["surveys"][band] for band in "giH")  # noqa: E741 (the band is called i)
SIZE = 48


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Hips2FitsServer() as running:
        yield running


@pytest.fixture
def catalogue(tmp_path):
    """Write eight galaxies, 0001 to 0008, at RA 130.1 to 130.8."""
    path = tmp_path / "catalogue.csv"
    lines = [f"{n:04d},{130 + n / 10},{0.5 * (-1) ** n},{'Other' if n % 2 else 'Elliptical'}" for n in range(1, 9)]
    path.write_text("CATAID,RA,Dec,label\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def params(server, catalogue):
    """Parameters of a fast run against the server, with changes."""

    def make(**changes):
        fast = {"service": server.url, "size": SIZE, "timeout": 5, "retries": 2, "backoff": 0.02, "give_up_after": 4}
        values = merged(VALUES, {"source": "cutouts", "path": str(catalogue), "cutouts": {**fast, **changes}})
        return AcquireParams(**values)

    return make


@pytest.fixture
def run(tmp_path, params):
    """Run the stage into data/raw and return its catalogue."""

    def go(**changes):
        acquire(tmp_path / "data/raw", params(**changes))
        return table(tmp_path)

    return go


def table(folder):
    return pd.read_csv(folder / "data/raw/catalogue.csv", dtype={"CATAID": str}, keep_default_na=False)


def images(folder):
    return {path.name: path.read_bytes() for path in (folder / "data/raw/images").iterdir()}


def image(folder, cataid):
    return storage.read_image(folder / f"data/raw/images/{cataid}.png")


# --- the straight line


def test_a_catalogue_becomes_images(tmp_path, server, run):
    found = run()
    assert found["CATAID"].tolist() == [f"{n:04d}" for n in range(1, 9)]
    assert found["label"].tolist() == ["Other", "Elliptical"] * 4
    assert found["row"].tolist() == list(range(2, 10))
    assert found["rejected"].tolist() == [""] * 8
    assert found["bands_missing"].tolist() == [""] * 8
    assert found["RA"].tolist() == pytest.approx([130 + n / 10 for n in range(1, 9)])
    assert set(found["Dec"]) == {0.5, -0.5}
    assert set(found["source_format"]) == {"FITS"}
    assert sorted(images(tmp_path)) == [f"{n:04d}.png" for n in range(1, 9)]
    assert sorted(path.name for path in (tmp_path / "data/raw").iterdir()) == ["catalogue.csv", "images", "source.json"]
    assert image(tmp_path, "0001").shape == (SIZE, SIZE, 3)


def test_the_request_is_what_hips2fits_takes(server, run):
    run()
    query = server.requests[0].query
    assert query.pop("hips") in (G, I, H)
    assert float(query.pop("fov")) == pytest.approx(SIZE * 0.2 / 3600)
    assert float(query.pop("ra")) == pytest.approx(130.1, abs=0.8)
    assert abs(float(query.pop("dec"))) == 0.5
    assert query == {
        "width": str(SIZE),
        "height": str(SIZE),
        "projection": "TAN",
        "coordsys": "icrs",
        "rotation_angle": "0.0",
        "format": "fits",
    }
    assert all(request.agent.startswith("galmorph/") for request in server.requests)


def test_each_band_is_asked_for_once(server, run):
    run()
    assert len(server.asked()) == len(set(server.asked())) == 24


def test_north_is_up_and_east_is_left(tmp_path, server, run):
    run(size=150)
    picture = image(tmp_path, "0001").astype(int)
    # The server puts a star 8 arcsec north and 6 east of each galaxy: 40 pixels up, 30 to the left.
    assert picture[30:40, 40:50].max() > 100
    for rows, columns in ((slice(110, 120), slice(40, 50)), (slice(30, 40), slice(100, 110))):
        assert picture[rows, columns].max() < 60


@pytest.mark.parametrize("parallel", [1, 2, 4])
def test_never_more_requests_than_allowed(server, run, parallel):
    server.delay = 0.03
    server.fail("500", times=3, retry_after="0")
    server.fail("truncated", times=2)
    run(parallel=parallel)
    assert server.high_water == parallel


# --- failures that pass


@pytest.mark.parametrize("kind", ["429", "500", "truncated", "unannounced", "html", "shape", "huge", "closed"])
def test_a_failure_that_passes_leaves_no_trace(tmp_path, server, run, kind):
    run()
    expected = images(tmp_path)
    for folder in ("data/.cutouts", "data/raw"):
        subprocess.run(["rm", "-r", tmp_path / folder], check=True)
    server.requests.clear()
    server.fail(kind, ra=130.3, survey=I, times=2, retry_after="0")
    found = run()
    assert found["rejected"].tolist() == [""] * 8
    assert images(tmp_path) == expected
    again = [key for key in server.asked() if key[:2] == (I, "130.3000000")]
    assert len(again) == 3


@pytest.mark.parametrize("kind", ["timeout", "drip"])
def test_a_server_that_is_too_slow_is_asked_again(server, run, kind):
    server.fail(kind, ra=130.3, survey=G, times=1)
    start = time.monotonic()
    # 48 x 48 pixels are 12 kilobytes, at one a tenth of a second.
    found = run(timeout=0.5)
    assert found["rejected"].tolist() == [""] * 8
    assert len(server.requests) == 25
    assert time.monotonic() - start < 15


def test_waits_double_with_jitter(server, run):
    server.fail("500", ra=130.3, survey=G, retry_after="")
    found = run(backoff=0.2, retries=3)
    times = [request.arrived for request in server.requests if request.key[:2] == (G, "130.3000000")]
    assert len(times) == 4
    for wait, full in zip(np.diff(times), (0.2, 0.4, 0.8), strict=True):
        assert full / 2 <= wait < full + 2  # a busy machine may add to it
    assert found["rejected"][2] == f"no cutout: {G}: HTTP 500 Internal Server Error (4 attempts)"


def test_retry_after_holds_every_thread(server, run):
    server.fail("429", ra=130.1, survey=G, times=1, retry_after="1")
    server.delay = 0.05
    run()
    refused = next(request.arrived for request in server.requests if request.fault)
    # What was on its way already may arrive; then nothing until the second is over.
    later = [request.arrived - refused for request in server.requests if request.arrived > refused + 0.5]
    assert min(later) >= 1.0
    assert len(server.requests) == 25


def test_retry_after_may_be_a_date(server, run):
    from email.utils import formatdate

    server.fail("500", ra=130.1, survey=G, times=1, retry_after=formatdate(time.time() + 2, usegmt=True))
    start = time.monotonic()
    run()
    assert time.monotonic() - start >= 0.9  # a date has whole seconds


def test_a_longer_wait_than_allowed_stops_with_what_to_do(tmp_path, server, run):
    server.fail("429", ra=130.5, survey=G, times=1, retry_after="3600")
    with pytest.raises(DownloadError, match=r"asks to come back in 3600 s.*max_wait.*HTTP 429"):
        run()
    assert not (tmp_path / "data/raw").exists()
    before = len(server.requests)
    assert run()["rejected"].tolist() == [""] * 8
    assert len(server.requests) - before <= 24 - (before - 4)


# --- failures that stay


@pytest.mark.parametrize(
    ("kind", "attempts", "words"),
    [
        ("400", 1, 'HTTP 400 Bad Request: {"title": "Bad request", "description": "Unknown HiPS"}'),
        ("404", 1, "HTTP 404 Not Found"),
        ("500", 3, "HTTP 500 Internal Server Error (3 attempts)"),
        ("html", 3, "not a FITS file. Received: b'<html><body>Service unavailable"),
        ("truncated", 3, "IncompleteRead"),
        ("unannounced", 3, "FITS file is cut off"),
        ("shape", 3, "48x48 pixels. Received: shape (47, 48)"),
        ("huge", 3, "longer than"),
        ("closed", 3, "RemoteDisconnected"),
        ("timeout", 3, "no answer within 0.4 s"),
    ],
)
def test_a_failed_galaxy_is_listed_and_the_others_go_on(tmp_path, server, run, caplog, kind, attempts, words):
    server.fail(kind, ra=130.3, survey=I, retry_after="0")
    found = run(timeout=0.4)
    assert found["rejected"][2].startswith(f"no cutout: {I}: ")
    assert words in found["rejected"][2]
    assert "\n" not in found["rejected"][2]
    assert found["rejected"].drop(index=2).tolist() == [""] * 7
    assert found["source_format"][2] == ""
    assert sorted(images(tmp_path)) == [f"{n:04d}.png" for n in range(1, 9) if n != 3]
    assert len([key for key in server.asked() if key[:2] == (I, "130.3000000")]) == attempts
    assert "1 of 8 galaxies have no cutout" in caplog.text


def test_a_failed_galaxy_is_tried_again_by_the_next_run_and_nothing_else_is(tmp_path, server, run):
    server.fail("500", ra=130.3, survey=I, times=3, retry_after="0")
    run()
    server.requests.clear()
    found = run()
    assert found["rejected"].tolist() == [""] * 8
    assert sorted(server.asked()) == sorted([(I, "130.3000000", "-0.5000000"), (H, "130.3000000", "-0.5000000")])


def test_a_service_that_is_down_stops_soon(tmp_path, server, run):
    server.fail("500", retry_after="0")
    with pytest.raises(DownloadError) as caught:
        run()
    message = str(caught.value)
    assert message.startswith(f"{server.url}: 4 galaxies in a row could not be fetched")
    assert "acquire.cutouts.service" in message
    assert message.endswith("HTTP 500 Internal Server Error (3 attempts)")
    assert len(server.requests) <= 7 * 3
    assert not (tmp_path / "data/raw").exists()


def test_nobody_listening_stops_soon(tmp_path, server, run):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/.*ConnectionRefusedError"):
        run(service="http://127.0.0.1:9/hips2fits")


@pytest.mark.parametrize("service", ["alasky.example/hips2fits", "ftp://127.0.0.1/hips2fits", "http://"])
def test_an_address_that_is_none_stops_soon(server, run, service):
    with pytest.raises(DownloadError, match=r"acquire\.cutouts\.service"):
        run(service=service)


def test_a_band_that_always_fails_stops_although_others_come(server, run):
    surveys = {"g": G, "i": I, "H": "CDS/P/VISTA/VIKING/h"}
    with pytest.raises(DownloadError, match=r"VIKING/h: HTTP 400 Bad Request: .*Unknown HiPS"):
        run(surveys=surveys)


def test_failures_far_apart_do_not_stop(server, run):
    for ra in (130.1, 130.3, 130.5, 130.7):
        server.fail("404", ra=ra)
    found = run(parallel=1, give_up_after=2)
    assert (found["rejected"] != "").tolist() == [True, False] * 4


def test_fewer_galaxies_than_patience_all_failing_stops_too(server, run):
    server.fail("404")
    with pytest.raises(DownloadError, match="not one of 8 galaxies could be fetched"):
        run(give_up_after=100)


# --- coverage


@pytest.mark.parametrize("kind", ["nan", "zeros", "empty"])
def test_a_band_outside_its_survey_is_a_blank_channel(tmp_path, server, run, kind):
    server.fail(kind, survey=H, ra=130.2)
    found = run()
    assert found["rejected"].tolist() == [""] * 8
    assert found["bands_missing"].tolist() == ["", "H"] + [""] * 6
    assert image(tmp_path, "0002")[..., 0].max() == 0
    assert image(tmp_path, "0002")[..., 1].max() > 50
    assert len(server.requests) == 24


def test_no_band_at_all_rejects_the_galaxy_and_is_not_asked_again(tmp_path, server, run):
    server.fail("nan", ra=130.2)
    found = run()
    assert found["rejected"].tolist() == ["", "no cutout: outside every survey"] + [""] * 6
    assert found["bands_missing"][1] == "Hig"
    assert "0002.png" not in images(tmp_path)
    run()
    assert len(server.requests) == 24


def test_a_band_that_nobody_was_observed_in_is_said_aloud(server, run, caplog):
    server.fail("nan", survey=H)
    run()
    assert f"no galaxy was observed in band H: is {H} the right survey?" in caplog.text


def test_everything_outside_every_survey_stops(server, run):
    server.fail("nan")
    with pytest.raises(DownloadError, match=r"not one of 8 galaxies .*outside every survey"):
        run()


# --- the cache


def test_a_second_run_asks_nothing_and_a_new_stretch_makes_new_images(tmp_path, server, run):
    run()
    first = images(tmp_path)
    run()
    assert images(tmp_path) == first
    run(lupton={"stretch": 0.1, "q": 10.0})
    assert all(images(tmp_path)[name] != first[name] for name in first)
    assert len(server.requests) == 24


@pytest.mark.parametrize("change", [{"size": SIZE + 2}, {"pixel_scale": 0.25}, {"surveys": {"g": I, "i": I, "H": H}}])
def test_another_request_is_another_entry(server, run, change):
    run()
    run(**change)
    assert len(server.requests) == {"size": 48, "pixel_scale": 48, "surveys": 24}[next(iter(change))]
    run()
    run(**change)
    assert len(server.requests) == {"size": 48, "pixel_scale": 48, "surveys": 24}[next(iter(change))]


def test_a_spoilt_entry_is_fetched_again(tmp_path, server, run):
    run()
    first = images(tmp_path)
    entry = sorted((tmp_path / "data/.cutouts").rglob("*.fits"))[5]
    entry.write_bytes(entry.read_bytes()[:4000])
    run()
    assert len(server.requests) == 25
    assert images(tmp_path) == first


def test_a_changed_catalogue_leaves_no_image_of_the_old_one(tmp_path, server, run, catalogue):
    server.fail("429", ra=130.5, times=1, retry_after="999")
    with pytest.raises(DownloadError):
        run()
    lines = catalogue.read_text().splitlines()
    # 0001 goes; 0002 is somewhere else now.
    catalogue.write_text("\n".join([lines[0], lines[2].replace("130.2", "131.2"), *lines[3:]]) + "\n")
    run()
    assert sorted(images(tmp_path)) == [f"{n:04d}.png" for n in range(2, 9)]
    subprocess.run(["rm", "-r", tmp_path / "data"], check=True)
    after = images(tmp_path) if run() is not None else {}
    assert sorted(after) == [f"{n:04d}.png" for n in range(2, 9)]


def test_no_space_left_is_named(server, run, monkeypatch):
    write = storage.write_bytes

    def full(path, content):
        with storage.named_storage_errors(path):
            if path.suffix == ".fits":
                raise OSError(28, "No space left on device")
            write(path, content)

    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(StorageError, match=r"\.fits: no space left"):
        run()


def test_an_interrupt_stops_at_once_and_keeps_what_came(tmp_path, server, params):
    server.delay = 0.1
    server.fail("500", ra=130.8, retry_after="30")

    def interrupt():
        while not any(request.fault for request in server.requests):
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        acquire(tmp_path / "data/raw", params())
    assert time.monotonic() - start < 20  # the server asked for 30
    assert len(list((tmp_path / "data/.cutouts").rglob("*.fits"))) >= 12


STAGE = """
import sys
from pathlib import Path
from galmorph.params import AcquireParams
from galmorph.stages import acquire
acquire(Path("data/raw"), AcquireParams.model_validate_json(sys.stdin.read()))
"""


def test_killed_in_the_middle_it_fetches_nothing_twice_and_ends_the_same(tmp_path, server, params):
    catalogue = tmp_path / "catalogue.csv"
    catalogue.write_text("CATAID,RA,Dec,label\n" + "".join(f"{n:03d},{130 + n / 100},0.1,Other\n" for n in range(40)))
    server.delay = 0.03
    server.fail("404", ra=130.05)
    values = params(parallel=3).model_dump_json().encode()

    def start(folder):
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", STAGE], cwd=folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
        )
        process.stdin.write(values)
        process.stdin.close()
        process.stdin = None
        return process

    def entries(folder):
        return {path.relative_to(folder): path.read_bytes() for path in (folder / "data/.cutouts").rglob("[!.]*.fits")}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).communicate()[1] is not None
    server.requests.clear()

    kills = 0
    for wanted in (20, 60):
        process = start(killed)
        deadline = time.monotonic() + 60
        while len(server.requests) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        assert process.returncode == -signal.SIGKILL
        assert not (killed / "data/raw").exists()
    kept = entries(killed)
    asked_before = len(server.requests)
    (killed / "data/.cutouts/ab").mkdir(exist_ok=True)
    (killed / "data/.cutouts/ab/.x.partial.fits").write_bytes(b"SIMPLE")  # what a kill during a write leaves
    process = start(killed)
    errors = process.communicate()[1].decode()
    assert process.returncode == 0, errors

    # Nothing that was kept is asked for again, so that at most what was on its way at each kill is asked for twice.
    cache, cutouts = BandCache(killed / "data/.cutouts"), params().cutouts
    again = {cache.path(*key, cutouts).relative_to(killed) for key in server.asked()[asked_before:]}
    assert len(kept) >= 30
    assert not again & set(kept)
    asked = [key for key in server.asked() if key[1] != "130.0500000"]
    assert len(asked) - len(set(asked)) <= kills * 3
    assert (killed / "data/raw/catalogue.csv").read_text() == (whole / "data/raw/catalogue.csv").read_text()
    assert images(killed) == images(whole)
    assert entries(killed) == entries(whole)
    assert not list((killed / "data/.cutouts").rglob(".*.fits"))
    assert not list((killed / "data/raw").rglob(".*"))


# --- the catalogue


def test_rejected_rows_stay_in_their_place_and_stars_are_listed_apart(tmp_path, server, run, catalogue, caplog):
    catalogue.write_text(
        "CATAID,RA,Dec,HUBBLE_TYPE_CODE\n"
        "1,130.1,0.1,1\n2,130.2,0.1,60\n3,999,0.1,11\n\n4,130.4,0.1,77\n../5,130.5,0.1,1\n6,130.6,0.1,50\n7,130.7,0.1,13\n"
    )
    found = run()
    assert found["CATAID"].tolist() == ["1", "3", "4", "../5", "7"]
    assert found["row"].tolist() == [2, 4, 6, 7, 9]
    assert [reason.split(" ")[0] for reason in found["rejected"]] == ["", "RA", "unknown", "the", ""]
    assert sorted(images(tmp_path)) == ["1.png", "7.png"]
    excluded = storage.read_table(tmp_path / "data/raw/excluded.csv")
    assert excluded["CATAID"].tolist() == ["2", "6"]
    assert excluded["HUBBLE_TYPE_CODE"].tolist() == [60, 50]
    assert "2 rows excluded by their type" in caplog.text
    assert "3 of 5 rows cannot be used" in caplog.text
    assert len(server.requests) == 6


def test_importing_the_stage_brings_none_of_its_libraries():
    heavy = "astropy", "requests", "astroquery"
    code = f"import sys, galmorph.stages; sys.exit(', '.join(m for m in {heavy} if m in sys.modules) or 0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_montage_of_the_service_is_worth_looking_at(tmp_path, server, run):
    """Kept for the eye: GALMORPH_KEEP_MONTAGE=FILE writes what the run made."""
    server.fail("nan", survey=H, ra=130.4)
    run(size=300)
    sheet = np.vstack([np.hstack([image(tmp_path, f"{n:04d}") for n in row]) for row in ((1, 2, 3, 4), (5, 6, 7, 8))])
    assert 3 < np.median(sheet) < 40
    if keep := os.environ.get("GALMORPH_KEEP_MONTAGE"):
        cv2.imwrite(keep, sheet[..., ::-1])
