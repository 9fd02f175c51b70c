"""Champions come, are replaced and break, while the service answers; and what metrics say of it."""

import asyncio
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from galmorph.serving.champion import ChampionWatch
from galmorph.serving.monitoring import Monitor
from galmorph.serving.runtime import Runtime
from tests.exported import cutout, export_small, png


@pytest.fixture(scope="module")
def second(tmp_path_factory, params):
    """A later version's export."""
    return export_small(tmp_path_factory.mktemp("second") / "two", params, version=2, report=False)


@pytest.fixture
def place(tmp_path, exported_model):
    """A folder whose model may be replaced."""
    folder = tmp_path / "champion"
    shutil.copytree(exported_model, folder)
    return folder


def replace(place, model):
    """Put another export in place, as `output_folder` does."""
    shutil.copytree(model, place.with_name("next"))
    place.rename(place.with_name("old"))
    place.with_name("next").rename(place)


def metrics(client):
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[(sample.name, *sorted(sample.labels.values()))] = sample.value
    return found


def until(true, seconds=15.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def ask(client, content):
    return client.post("/v1/predictions", files={"images": ("a.png", content)})


def test_a_service_without_a_model_lives_and_is_not_ready_until_one_comes(serving, exported_model, tmp_path, content):
    with serving(tmp_path / "champion", ready=False) as client:
        until(lambda: "no such folder" in client.get("/readyz").json()["message"])
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        found = ask(client, content)
        assert (found.status_code, found.json()["error"]["reason"]) == (503, "no_model")
        assert "Retry-After" in found.headers
        assert client.get("/v1/model").status_code == 503
        assert metrics(client)[("galmorph_ready",)] == 0
        assert metrics(client)[("galmorph_model_load_failures_total",)] >= 1
        shutil.copytree(exported_model, tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "champion")
        until(lambda: client.get("/readyz").status_code == 200)
        assert ask(client, content).status_code == 200
        assert metrics(client)[("galmorph_ready",)] == 1


def test_a_new_champion_takes_over_and_no_request_is_dropped(serving, place, second, content):
    answers, stop = [], threading.Event()
    with serving(place) as client:

        def keep_asking(_):
            while not stop.is_set():
                answers.append(ask(client, content))

        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(keep_asking, worker) for worker in range(3)]
            until(lambda: len(answers) > 10)
            replace(place, second)
            until(lambda: client.get("/v1/model").json()["name"] == "galmorph/2")
            enough = len(answers) + 10
            until(lambda: len(answers) > enough)
            stop.set()
            for each in asking:
                each.result()
        shown = metrics(client)
    assert {answer.status_code for answer in answers} == {200}
    by_model = {}
    for answer in answers:
        found = answer.json()
        by_model.setdefault(found["model"]["name"], set()).add(
            round(found["predictions"][0]["answer"]["p_elliptical"], 5)
        )
    assert set(by_model) == {"galmorph/1", "galmorph/2"}
    # Each model's answer is its own, in whichever batch it was given.
    for name, folder in (("galmorph/1", place.with_name("old")), ("galmorph/2", place)):
        runtime = Runtime(folder, "f32", 1)
        expected = runtime.answer(runtime.prepare(cutout(1))[None], maps=False).p_elliptical[0]
        assert list(by_model[name]) == [pytest.approx(expected, abs=2e-5)]
    info = {key[1:]: value for key, value in shown.items() if key[0] == "galmorph_model_info"}
    assert sorted(info.values()) == [0, 1]
    assert next(value for labels, value in info.items() if "galmorph/2" in labels) == 1


def test_a_model_has_answered_every_usual_number_of_images_before_it_takes_over(
    make_params, exported_model, monkeypatch
):
    answered, before, true_answer = [], [], Runtime.answer

    def noted(self, images, *, maps):
        answered.append(len(images) // self._streams)
        return true_answer(self, images, maps=maps)

    monkeypatch.setattr(Runtime, "answer", noted)
    watch = ChampionWatch(make_params(exported_model).serve, Monitor(), lambda _: before.extend(answered))
    asyncio.run(watch.look())
    assert before == answered == [1, 2, 3, 4, 6, 8]


def test_a_corrupt_model_does_not_take_over(serving, place, second, content, tmp_path):
    corrupt = tmp_path / "corrupt"
    shutil.copytree(second, corrupt)
    weights = corrupt / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with serving(place) as client:
        before = ask(client, content).json()["predictions"]
        replace(place, corrupt)
        until(lambda: "changed or damaged" in client.get("/readyz").json()["message"])
        assert client.get("/readyz").status_code == 200
        assert ask(client, content).json()["predictions"] == before
        assert "model.bin" in client.get("/v1/model").json()["problem"]
        assert metrics(client)[("galmorph_model_load_failures_total",)] >= 1


def test_answers_maps_and_models_are_counted(serving, exported_model):
    with serving(exported_model) as client:
        images = [cutout(seed) for seed in range(4)]
        found = client.post(
            "/v1/predictions", files=[("images", (f"{k}", png(image))) for k, image in enumerate(images)]
        )
        client.post("/v1/explanations", files={"image": ("a", png(images[0]))})
        shown = metrics(client)
        labels = [each["answer"]["label"] for each in found.json()["predictions"]]
        labels.append(labels[0])
        for label in ("Elliptical", "Other"):
            count = shown.get(("galmorph_predictions_total", label, "galmorph/1"), 0)
            assert count == labels.count(label)
        assert shown[("galmorph_p_elliptical_count",)] == 5
        assert shown[("galmorph_batch_size_count",)] == 2
        assert shown[("galmorph_batch_size_sum",)] == 4 + 8
        assert shown[("galmorph_heat_map_galaxy_share_count",)] + shown[("galmorph_heat_maps_empty_total",)] == 1
        assert shown[("galmorph_request_seconds_count", "/v1/predictions", "200", "POST")] == 1
        assert shown[("galmorph_queue_depth",)] == 0
        assert shown[("galmorph_in_flight_requests",)] == 1
        assert shown[("galmorph_model_created_timestamp_seconds",)] == 1793491200.0
        assert shown[("galmorph_registry_up",)] == 1
        assert shown[("galmorph_model_info", "d" * 64, "galmorph/1", "small_1")] == 1


def test_images_unlike_the_reference_drift_and_others_do_not(serving, exported_model):
    def index(client, images):
        for start in range(0, len(images), 20):
            files = [("images", (str(k), png(image))) for k, image in enumerate(images[start : start + 20])]
            assert client.post("/v1/predictions", files=files).status_code == 200
        until(lambda: metrics(client)[("galmorph_drift_images",)] == len(images))
        shown = metrics(client)
        return {name: shown[("galmorph_drift_psi", name)] for name in ("brightness", "colour", "size", "score")}

    with serving(exported_model) as client:
        assert np.isnan(metrics(client)[("galmorph_drift_psi", "brightness")])
        alike = index(client, [cutout(seed) for seed in range(40)])
        expected = metrics(client)[("galmorph_drift_psi_expected", "brightness")]
    assert max(alike.values()) < 0.1
    # 40 galaxies each, in five parts.
    assert expected == pytest.approx(4 * (1 / 40 + 1 / 40))
    with serving(exported_model) as client:
        shifted = index(client, [np.clip(cutout(seed).astype(int) + 60, 0, 255).astype(np.uint8) for seed in range(40)])
    assert shifted["brightness"] > 1


def test_a_new_champion_is_not_measured_by_the_last_ones_scores(serving, place, second, content):
    with serving(place) as client:
        for _ in range(25):
            ask(client, content)
        until(lambda: metrics(client)[("galmorph_drift_images",)] >= 20)
        replace(place, second)
        until(lambda: client.get("/v1/model").json()["name"] == "galmorph/2")
        until(lambda: metrics(client)[("galmorph_drift_images",)] == 0)
        assert np.isnan(metrics(client)[("galmorph_drift_psi", "score")])
