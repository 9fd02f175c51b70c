"""What is not answered: with which status and reason, whether it is counted, and that nothing else comes to harm."""

import io
import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from galmorph.serving.keys import Keys, new_key, read_keys
from galmorph.serving.refusals import STATUS
from galmorph.serving.runtime import Runtime
from tests.exported import cutout, jpeg, png


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def bomb(side=20_000):
    """A PNG of a few hundred bytes that says that it holds `side` squared pixels."""
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(image, kind):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def fits_file(data):
    stream = io.BytesIO()
    fits.PrimaryHDU(data).writeto(stream)
    return stream.getvalue()


REFUSED = {
    "an empty file": (b"", 422, "unreadable_image"),
    "text": (b"id,label\n1,Elliptical\n", 415, "unsupported_format"),
    "a TIFF": (encoded(Image.new("RGB", (64, 64)), "TIFF"), 415, "unsupported_format"),
    "a page": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_format"),
    "a PNG that is cut off": (png(cutout(1))[:500], 422, "unreadable_image"),
    "a JPEG that is cut off": (jpeg(cutout(1))[:300], 422, "unreadable_image"),
    "nothing but a PNG's first bytes": (b"\x89PNG\r\n\x1a\n" + b"0" * 50, 422, "unreadable_image"),
    "one pixel": (encoded(Image.new("RGB", (1, 1)), "PNG"), 422, "small_image"),
    "a bomb": (bomb(), 413, "too_many_pixels"),
    "one colour": (encoded(Image.new("RGB", (64, 64), (9, 9, 9)), "PNG"), 422, "blank_image"),
    "a FITS file that is cut off": (fits_file(np.ones((64, 64), np.float32))[:3000], 422, "unreadable_image"),
    "a FITS file without a value": (fits_file(np.full((64, 64), np.nan)), 422, "unreadable_image"),
    "a FITS table's head": (b"SIMPLE  =" + b" " * 3000, 422, "unreadable_image"),
}
ANSWERED = {
    "grey": encoded(Image.fromarray(cutout(1)[..., 0]), "PNG"),
    "grey of 16 bits": encoded(Image.fromarray(cutout(1)[..., 0].astype(np.uint16) * 257), "PNG"),
    "with alpha": encoded(Image.fromarray(np.dstack([cutout(1), np.full((96, 96), 255, np.uint8)])), "PNG"),
    "JPEG": jpeg(cutout(1)),
    "a FITS of one band": fits_file(cutout(1)[..., 0].astype(np.float32)),
    "a FITS of three bands with NaN": fits_file(
        np.where(np.arange(96) % 17, cutout(1).transpose(2, 0, 1), np.nan).astype(np.float32)
    ),
}


def counted(client, name, **labels):
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("route", ["predictions", "explanations"])
def test_what_is_no_cutout_is_refused_with_its_reason_and_counted_once(client, name, route):
    body, status, reason = REFUSED[name]
    before = counted(client, "galmorph_rejected_total", reason=reason)
    field = {"predictions": "images", "explanations": "image"}[route]
    found = client.post(f"/v1/{route}", files={field: ("galaxy.png", body, "image/png")})
    assert (found.status_code, found.json()["error"]["reason"]) == (status, reason)
    assert found.json()["request_id"] == found.headers["X-Request-ID"]
    assert counted(client, "galmorph_rejected_total", reason=reason) == before + 1


@pytest.mark.parametrize("name", ANSWERED)
def test_every_kind_of_cutout_is_answered_whatever_its_name_says(client, name):
    found = client.post("/v1/explanations", files={"image": ("notes.txt", ANSWERED[name], "text/plain")})
    assert found.status_code == 200, found.text
    assert 0 <= found.json()["answer"]["p_elliptical"] <= 1


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/a.png", "a\x00b\n.png", ""]
)
def test_a_files_name_is_only_a_name(client, content, name):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="' + name.encode() + b'"\r\n'
        b"Content-Type: image/png\r\n\r\n" + content + b"\r\n--b--\r\n"
    )
    found = client.post("/v1/predictions", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    if name == "":
        assert found.status_code in (200, 400, 422)
    elif "\x00" in name:
        assert found.status_code in (200, 400)
    else:
        assert found.json()["predictions"][0]["name"] == name
        assert found.json()["predictions"][0]["answer"] is not None


#: A form whose `images` is a text and no file.
FIELD = b"--b\r\nContent-Disposition: form-data; name=images\r\n\r\n/etc/passwd\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"rubbish", "multipart/form-data; boundary=b"),
        (b"rubbish", "multipart/form-data"),
        (b'{"images": ["/etc/passwd", "http://localhost/"]}', "application/json"),
        (b"{", "application/json"),
        (b"images=/etc/passwd", "application/x-www-form-urlencoded"),
        (FIELD, "multipart/form-data; boundary=b"),
        (b"\xff" * 100, ""),
    ],
)  # fmt: skip
def test_a_request_of_another_form_is_refused(client, body, kind):
    found = client.post("/v1/predictions", content=body, headers={"Content-Type": kind})
    assert found.status_code in (400, 422), found.text
    assert found.json()["error"]["reason"] == "bad_request"


def test_bodies_are_limited_by_what_comes_and_by_what_is_announced(client):
    big = b"x" * 4_100_000
    for send in (big, iter([big[:1_000_000]] * 5)):
        found = client.post(
            "/v1/predictions", content=send, headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert (found.status_code, found.json()["error"]["reason"]) == (413, "body_too_large")


def test_images_are_limited(client, content):
    found = client.post("/v1/predictions", files=[("images", ("a.png", content))] * 33)
    assert (found.status_code, found.json()["error"]["reason"]) == (413, "too_many_images")


def test_more_images_than_have_room_are_asked_to_come_back(serving, exported_model, content):
    with serving(exported_model, batch={"queue": 2}, limits={"images": 2, "retry_seconds": 7}) as client:
        found = client.post("/v1/explanations", files={"image": ("a.png", content)})
        assert (found.status_code, found.json()["error"]["reason"]) == (503, "busy")
        assert found.headers["Retry-After"] == "7"
        assert client.post("/v1/predictions", files={"images": ("a.png", content)}).status_code == 200


def test_more_requests_than_there_are_places_are_asked_to_come_back(serving, exported_model, content, monkeypatch):
    asked, go_on = threading.Event(), threading.Event()

    with serving(exported_model, limits={"requests": 1, "retry_seconds": 7}) as client, ThreadPoolExecutor(1) as pool:
        true_answer = Runtime.answer

        def held(self, images, *, maps):
            asked.set()
            assert go_on.wait(20)
            return true_answer(self, images, maps=maps)

        def ask():
            return client.post("/v1/predictions", files={"images": ("a.png", content)})

        monkeypatch.setattr(Runtime, "answer", held)
        first = pool.submit(ask)
        assert asked.wait(20)
        try:
            for found in (ask(), client.get("/v1/model")):
                assert (found.status_code, found.json()["error"]["reason"]) == (503, "busy")
                assert found.headers["Retry-After"] == "7"
            assert client.get("/readyz").status_code == 200  # no request for an answer
            assert counted(client, "galmorph_rejected_total", reason="busy") == 2
        finally:
            go_on.set()
        assert first.result().status_code == 200
        assert ask().status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(serving, exported_model, content):
    with serving(exported_model, limits={"answer_seconds": 0.0001}) as client:
        found = client.post("/v1/predictions", files={"images": ("a.png", content)})
        assert (found.status_code, found.json()["error"]["reason"]) == (503, "slow_answer")
        assert counted(client, "galmorph_in_flight_requests") == 1  # the one that asks


def test_a_failure_of_our_own_is_told_without_its_details(serving, exported_model, content, monkeypatch):
    with serving(exported_model) as client:

        def fail(self, images, *, maps):
            raise RuntimeError("secret/path")

        monkeypatch.setattr(Runtime, "answer", fail)
        found = client.post("/v1/predictions", files={"images": ("a.png", content)})
        assert found.status_code == 500
        assert "secret" not in found.text
        assert found.json()["request_id"] == found.headers["X-Request-ID"]
        assert counted(client, "galmorph_internal_errors_total") == 1
        monkeypatch.undo()
        assert client.post("/v1/predictions", files={"images": ("a.png", content)}).status_code == 200


def test_unknown_routes_and_methods(client):
    assert client.get("/nothing").json()["error"]["reason"] == "not_found"
    assert client.get("/page/..%2f..%2fapp.py").status_code == 404
    assert client.get("/page/app.py").status_code == 404
    found = client.get("/v1/predictions")
    assert (found.status_code, found.headers["Allow"]) == (405, "POST")


def test_every_reason_is_in_the_documentation_with_its_status(repository):
    lines = (repository / "docs/serving.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith(("| 4", "| 5"))]
    documented = {
        reason.strip(" `"): {int(status) for status in row[1].split(",")}
        for row in rows
        for reason in row[2].split(",")
    }
    assert documented.keys() == STATUS.keys()
    assert all(status in documented[reason] for reason, status in STATUS.items())


def test_every_answer_has_its_id_and_the_security_headers(client):
    for path in ("/", "/page/page.js", "/healthz", "/nothing", "/metrics", "/v1/model"):
        headers = client.get(path, headers={"X-Request-ID": "mine-1"}).headers
        assert headers["X-Request-ID"] == "mine-1"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    forged = client.get("/healthz", headers={"X-Request-ID": "a b\tc" + "x" * 90}).headers["X-Request-ID"]
    assert len(forged) == 32


def test_the_page_loads_nothing_from_elsewhere(client):
    texts = [client.get(path).text for path in ("/", "/page/page.js", "/page/style.css")]
    assert not any("://" in text.replace("http://www.w3.org", "") for text in texts)
    assert client.get("/docs").status_code == 404


class TestKeys:
    def test_only_a_key_gets_answers(self, serving, exported_model, content, tmp_path):
        key, line = new_key("alice")
        file = tmp_path / "keys"
        file.write_text(f"# keys\n{line}\n{new_key('bob')[1]}\n")
        with serving(exported_model, keys=read_keys(file)) as client:
            for headers in ({}, {"X-API-Key": "guess"}, {"X-API-Key": line.split()[1]}, {"Authorization": "Basic x"}):
                found = client.post("/v1/predictions", files={"images": ("a.png", content)}, headers=headers)
                assert (found.status_code, found.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert client.get("/v1/model").status_code == 401
            for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
                found = client.post("/v1/predictions", files={"images": ("a.png", content)}, headers=headers)
                assert found.status_code == 200
            for path in ("/", "/healthz", "/readyz", "/metrics"):
                assert client.get(path).status_code == 200

    def test_a_key_is_its_owners(self):
        key, line = new_key("alice")
        name, digest = line.split()
        keys = Keys({"bob": b"0" * 64, name: digest.encode()})
        assert keys.owner(key) == "alice"
        assert keys.owner(key + "x") is None
        assert keys.owner("") is None
        assert keys.owner("\udcff") is None
        assert key not in line

    @pytest.mark.parametrize(
        "text", ["", "# nobody\n", "alice\n", "alice galmorph_secret\n", "a " + "0" * 64 + "\na " + "1" * 64]
    )
    def test_a_key_file_that_cannot_be_used_is_named_and_not_shown(self, tmp_path, text):
        from galmorph.errors import InputError

        file = tmp_path / "keys"
        file.write_text(text)
        with pytest.raises(InputError, match="keys") as raised:
            read_keys(file)
        assert "secret" not in str(raised.value)

    def test_a_key_file_that_is_not_there(self, tmp_path):
        from galmorph.errors import InputError

        with pytest.raises(InputError, match=r"cannot be read\. Check serve\.keys"):
            read_keys(tmp_path / "none")

    def test_a_name_with_a_space_cannot_stand_in_the_file(self):
        from galmorph.errors import InputError

        with pytest.raises(InputError, match="Received: 'a b'"):
            new_key("a b")


def test_log_lines_are_json_and_cannot_be_forged():
    import logging

    from galmorph.serving.logs import JsonLines, request_id

    record = logging.LogRecord("x", logging.INFO, "", 0, "hello %s", ("a\nb",), None)
    record.path = '/"\n{"level": "ERROR"}'
    token = request_id.set("r1")
    line = JsonLines().format(record)
    request_id.reset(token)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["message"], found["request_id"], found["path"]) == ("hello a\nb", "r1", record.path)
