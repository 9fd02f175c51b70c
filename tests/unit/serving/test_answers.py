"""Predictions and explanations over HTTP, against what the runtime says of the same cutouts."""

import base64
import dataclasses

import cv2
import numpy as np
import pytest
from scipy.stats import spearmanr

from galmorph.data.dataset import crop_box
from galmorph.explain.class_map import class_map, empty_text
from galmorph.explain.faithfulness.on_galaxy import energies, regions_of
from galmorph.serving.explaining import heat_map
from galmorph.serving.runtime import Runtime
from tests.exported import PREPROCESS, cutout, export_small, jpeg, png


@pytest.fixture(scope="module")
def runtime(exported_model):
    return Runtime(exported_model, "f32", 1)


def predict(client, *files, **options):
    return client.post("/v1/predictions", files=[("images", file) for file in files], **options)


def explain(client, file, **options):
    return client.post("/v1/explanations", files={"image": file}, **options)


def decoded(url):
    kind, _, data = url.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)


def test_many_images_are_answered_in_order_as_the_runtime_answers_them(client, runtime):
    images = [cutout(seed) for seed in range(7)]
    found = predict(client, *((f"{seed}.png", png(image)) for seed, image in enumerate(images)))
    assert found.status_code == 200
    expected = runtime.answer(np.stack([runtime.prepare(image) for image in images]), maps=False).p_elliptical
    answers = [each["answer"] for each in found.json()["predictions"]]
    assert [each["name"] for each in found.json()["predictions"]] == [f"{seed}.png" for seed in range(7)]
    assert [each["p_elliptical"] for each in answers] == pytest.approx(expected.tolist(), abs=1e-6)
    assert np.ptp(expected) > 0.2
    assert [each["label"] for each in answers] == ["Elliptical" if p >= 0.5 else "Other" for p in expected]
    assert [each["near_threshold"] for each in answers] == [bool(abs(p - 0.5) < 0.1) for p in expected]
    model = found.json()["model"]
    assert (model["name"], model["experiment"], model["data_digest"]) == ("galmorph/1", "small_1", "d" * 64)
    assert found.json()["request_id"] == found.headers["X-Request-ID"]


def test_an_image_that_cannot_be_read_has_an_error_in_its_place(client):
    found = predict(client, ("a.png", png(cutout(1))), ("b.png", b"text"), ("c.jpg", jpeg(cutout(2))))
    assert found.status_code == 200
    first, broken, last = found.json()["predictions"]
    assert first["error"] is None
    assert last["error"] is None
    assert broken["answer"] is None
    assert broken["error"]["reason"] == "unsupported_format"
    assert "b.png: neither PNG, JPEG nor FITS" in broken["error"]["message"]


def test_a_request_of_which_nothing_can_be_read_is_refused(client):
    found = predict(client, ("a.png", png(cutout(1))[:200]), ("b.png", b"text"))
    assert found.status_code == 422
    assert found.json()["error"]["reason"] == "unreadable_image"


def test_an_explanation_draws_the_runtimes_map_where_it_belongs(client, runtime):
    image = cutout(4, side=96)
    response = explain(client, ("g.png", png(image)), headers={"X-Request-ID": "mine-2"})
    found = response.json()
    assert found["request_id"] == "mine-2"
    answers = runtime.answer(runtime.prepare(image)[None], maps=True)
    assert found["answer"]["p_elliptical"] == pytest.approx(float(answers.p_elliptical[0]), abs=1e-6)
    assert found["explained"] == found["answer"]["label"]
    assert (decoded(found["cutout"])[..., ::-1] == image).all()
    layer = decoded(found["heat_map"]["layer"])
    top, left, side = crop_box(96, 96, PREPROCESS)
    seen = np.zeros((96, 96), bool)
    seen[top : top + side, left : left + side] = True
    assert (layer[..., 3] == np.where(seen, 255, 0)).all()
    sign = 1 if found["explained"] == "Elliptical" else -1
    own = cv2.resize(class_map(answers.maps, np.array([sign]), 24)[0], (side, side), interpolation=cv2.INTER_LINEAR)
    drawn = layer[top : top + side, left : left + side, :3].astype(int)
    brightest = np.unravel_index(own.argmax(), own.shape)
    # The brightest place is viridis's yellow, and nothing is drawn as brighter.
    assert drawn[brightest].tolist() == cv2.applyColorMap(np.uint8([[255]]), cv2.COLORMAP_VIRIDIS)[0, 0].tolist()
    shares = [found["heat_map"][name] for name in ("galaxy", "neighbours", "sky", "uniform")]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares[:3]) <= 1 + 1e-6


def test_reasons_say_how_the_answer_holds_when_the_picture_is_turned(client, runtime):
    image = cutout(4)
    found = explain(client, ("g.png", png(image))).json()
    prepared = runtime.prepare(image)
    views = [np.rot90(view, k) for view in (prepared, prepared[:, ::-1]) for k in range(4)]
    p = runtime.answer(np.stack(views), maps=False).p_elliptical
    kept = int(((p >= 0.5) == (p[0] >= 0.5)).sum())
    assert ("every time" if kept == 8 else f"{kept} times of 8") in found["reason"]
    assert f"between {p.min():.0%}"[:-1] in found["reason"].replace("\u202f", "").replace("\xa0", "")
    assert found["reason"] == " ".join(part["text"] for part in found["reasons"])
    assert [part["heading"] for part in found["reasons"]][:2] == ["The answer", "How sure"]


def test_the_map_is_compared_with_those_of_the_turned_picture(client, runtime):
    """Against maps that are made and turned back one by one here."""
    found = []
    for seed in range(4):
        image = cutout(seed)
        prepared = runtime.prepare(image)
        for label, sign in (("Elliptical", 1), ("Other", -1)):
            explained = explain(client, ("g.png", png(image)), params={"label": label}).json()

            def map_of(view, sign=sign):
                return class_map(runtime.answer(view[None], maps=True).maps, np.array([sign]), 24)[0]

            own = map_of(prepared)
            back = [np.rot90(map_of(np.rot90(prepared, k)), -k) for k in range(1, 4)]
            back += [np.rot90(map_of(np.rot90(prepared[:, ::-1], k)), -k)[:, ::-1] for k in range(4)]
            expected = np.mean([spearmanr(own.ravel(), each.ravel()).statistic if each.any() else 0 for each in back])
            stability = explained["heat_map"]["stability"]
            assert stability == pytest.approx(expected, abs=0.01) if own.any() else stability is None
            if label == explained["answer"]["label"] and own.any():
                assert f"when the picture was turned ({stability:.2f}, where 1 is" in explained["reason"]
                found.append(stability)
    assert np.ptp(found) > 0.05, "the same for all, so that nothing was shown"


def test_the_picture_is_a_png_where_png_is_accepted(client):
    found = explain(client, ("g.png", png(cutout(4))), headers={"Accept": "image/png"})
    assert found.headers["content-type"] == "image/png"
    picture = cv2.imdecode(np.frombuffer(found.content, np.uint8), cv2.IMREAD_COLOR)
    # The cutout, enlarged by a whole number, and a caption below it.
    assert picture.shape[1] == 480
    assert picture.shape[0] > 480 + 30
    preferring_json = explain(client, ("g.png", png(cutout(4))), headers={"Accept": "application/json, image/png"})
    assert preferring_json.headers["content-type"] == "application/json"


def test_the_map_of_either_class_may_be_asked_for(client):
    images = [cutout(seed) for seed in range(6)]
    texts = set()
    for image in images:
        both = [
            explain(client, ("g.png", png(image)), params={"label": label}).json() for label in ("Elliptical", "Other")
        ]
        assert both[0]["answer"] == both[1]["answer"]
        assert both[0]["reason"] == both[1]["reason"]
        assert both[0]["heat_map"]["layer"] != both[1]["heat_map"]["layer"]
        texts |= {each["heat_map"]["text"].split(":")[0] for each in both}
    assert {"Grad-CAM for Elliptical", "Grad-CAM for Other"} & texts


@pytest.mark.parametrize("crop", [0.5, 1.0])
def test_a_map_is_counted_as_the_checks_of_explanations_count(crop):
    preprocess = PREPROCESS.model_copy(update={"crop": crop})
    side = preprocess.image_size
    random = np.random.default_rng(1).random((8, side, side), np.float32)
    # The strongest place is several pixels: the first is on the sky, most are on the galaxy.
    tied = random * 0.5
    tied[:, 0, 0] = tied[:, 9:15, 9:15] = 1
    image = cutout(1)
    for maps in (random, tied):
        found = heat_map(image, maps, "Elliptical", preprocess)
        energy = energies([image], {"map": maps[:1]}, preprocess)
        shares = [found.galaxy, found.neighbours, found.sky]
        np.testing.assert_allclose(shares, energy.shares["map"][0, :3], rtol=1e-5)
        assert found.uniform == energy.uniform[0, 0]
        assert found.pointing == bool(energy.pointing["map"][0])
    assert found.pointing


def test_a_galaxy_outside_of_what_the_model_sees_is_not_found():
    image = np.roll(cutout(0), 32, 1)  # still the one nearest to the centre
    preprocess = PREPROCESS.model_copy(update={"crop": 0.1})
    maps = np.ones((8, 24, 24), np.float32)
    assert regions_of(image, PREPROCESS.model_copy(update={"crop": 1.0}))[0].any()
    assert not regions_of(image, preprocess)[0].any()
    found = heat_map(image, maps, "Elliptical", preprocess)
    assert (found.galaxy_found, found.galaxy, found.uniform, found.pointing) == (False, None, None, None)


def test_an_empty_map_is_said_and_not_drawn(client, monkeypatch):
    """Where the sum is negative everywhere, nothing speaks for Elliptical, and everything for Other."""
    true_answer = Runtime.answer

    def against(self, images, *, maps):
        answers = true_answer(self, images, maps=maps)
        return dataclasses.replace(answers, maps=-np.abs(answers.maps))

    monkeypatch.setattr(Runtime, "answer", against)
    found, other = (
        explain(client, ("g.png", png(cutout(1))), params={"label": label}).json()["heat_map"]
        for label in ("Elliptical", "Other")
    )
    assert found["empty"]
    assert [found[name] for name in ("layer", "overlay", "galaxy", "sky", "stability")] == [None] * 5
    assert found["text"] == f"The heat map for Elliptical is empty: {empty_text('Elliptical')}."
    assert (other["empty"], other["layer"] is None) == (False, False)
    picture = explain(client, ("g.png", png(cutout(1))), headers={"Accept": "image/png"})
    assert picture.headers["content-type"] == "image/png"


def test_a_transformer_answers_and_says_that_it_has_no_live_heat_map(serving, params, tmp_path):
    folder = export_small(tmp_path / "vit", params, architecture="vit", report=False)
    with serving(folder) as client:
        found = explain(client, ("g.png", png(cutout(1)))).json()
        assert not found["heat_map"]["available"]
        assert found["heat_map"]["layer"] is None
        assert "No live heat map is to be had from a vit" in found["heat_map"]["text"]
        assert "was not measured" in found["reason"]
        assert explain(client, ("g.png", png(cutout(1))), headers={"Accept": "image/png"}).status_code == 200
        model = client.get("/v1/model").json()
        assert (model["heat_maps"], model["report"], model["card"]) == (False, None, None)
        assert client.get("/report").status_code == 404


def test_what_the_page_shows_of_the_model(client):
    model = client.get("/v1/model").json()
    assert model["examples"] == ["galaxy0", "galaxy1", "galaxy2"]
    assert model["card"] == "# Model card of version 1\n"
    assert (model["image_size"], model["crop"], model["precision"]) == (24, 0.5, "f32")
    assert model["problem"] == ""
    example = client.get("/examples/2")
    assert example.headers["content-type"] == "image/png"
    assert (cv2.imdecode(np.frombuffer(example.content, np.uint8), 1)[..., ::-1] == cutout(2)).all()
    assert client.get("/examples/3").status_code == 404
    report = client.get("/report")
    assert "<h1>Explanations</h1>" in report.text
    assert "sandbox" in report.headers["content-security-policy"]
