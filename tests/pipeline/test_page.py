"""The page in headless Chromium: upload, result, errors, keys, keyboard, phone; and axe-core finds nothing serious."""

import os
from pathlib import Path

import numpy as np
import pytest

from galmorph.data.dataset import without_evidence
from galmorph.serving.keys import new_key
from galmorph.serving.runtime import Runtime, sign
from tests.exported import cutout, export_small, png
from tests.service import running

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = "/usr/bin/chromium"
QUICK = {"poll": 0.5, "threads": 1, "precision": "f32"}
PHONE = {"width": 360, "height": 740}
#: Where screenshots are to be left for somebody to look at; nowhere unless it is named.
SHOTS = os.environ.get("GALMORPH_SCREENSHOTS")


@pytest.fixture(scope="module")
def service(tmp_path_factory, exported_model):
    with running(tmp_path_factory.mktemp("page"), str(exported_model), QUICK) as made:
        made.until_ready()
        yield made


@pytest.fixture(scope="module")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def open_page(browser):
    """Open a page; at the end, nothing may have been loaded from elsewhere, and nothing have failed on it."""
    opened = []

    def open_(url, **context):
        page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}).new_page()
        page.set_default_timeout(20_000)
        noted = {"elsewhere": [], "errors": []}
        page.on(
            "request",
            lambda request: request.url.startswith((url, "data:", "blob:")) or noted["elsewhere"].append(request.url),
        )
        page.on("pageerror", lambda error: noted["errors"].append(str(error)))
        # Chromium logs every refusal of the server; policies that are broken are logged too, in other words.
        page.on(
            "console",
            lambda line: (
                line.type == "error"
                and "responded with a status of" not in line.text
                and noted["errors"].append(line.text)
            ),
        )
        opened.append((page, noted))
        page.goto(url)
        return page

    yield open_
    for page, noted in opened:
        page.context.close()
        assert noted == {"elsewhere": [], "errors": []}


def give(page, name, content, kind="image/png"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": content})


def keep(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def serious(page):
    violations = axe.Axe().run(page).response["violations"]
    return [(each["id"], each["nodes"][0]["html"]) for each in violations if each["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cutout_is_uploaded_and_answered(service, open_page, size, scheme):
    page = open_page(service.url, viewport=size, color_scheme=scheme)
    page.wait_for_selector("#model dd")
    assert serious(page) == []
    give(page, "my galaxy.png", png(cutout(5)))
    page.wait_for_selector("#result:not([hidden])")
    expected = service.client.post("/v1/explanations", files={"image": ("my galaxy.png", png(cutout(5)))}).json()
    assert page.inner_text("#answer") == expected["answer"]["label"]
    assert page.inner_text("#probability") == f"{expected['answer']['p_elliptical']:.3f}"
    assert "galmorph/1" in page.inner_text("#named")
    assert "dddddddddddd" in page.inner_text("#named")
    assert page.locator("#reasons p").all_inner_texts() == [part["text"] for part in expected["reasons"]]
    assert page.evaluate("document.getElementById('cutout').naturalWidth") == 96
    assert page.evaluate("document.getElementById('layer').naturalWidth") == 96
    assert serious(page) == []
    # Nothing to scroll to the side for.
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    keep(page, f"result-{scheme}-{size['width']}")


def test_the_heat_maps_opacity_and_class_can_be_chosen_by_keyboard(service, open_page):
    page = open_page(service.url)
    give(page, "a.png", png(cutout(5)))
    page.wait_for_selector("#result:not([hidden])")
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.getElementById('layer')).opacity") == "0"
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.getElementById('layer')).opacity") == "1"
    assert page.inner_text("#opacity-value") == "100 %"
    first = page.get_attribute("#layer", "src")
    page.focus("input[name=label]:checked")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.getElementById('layer').getAttribute('src') !== before", arg=first)
    answered = page.inner_text("#answer")
    other = "Other" if answered == "Elliptical" else "Elliptical"
    assert other in page.inner_text("#map-text")


def test_an_empty_map_is_said_and_not_drawn(tmp_path, open_page, params):
    folder = export_small(tmp_path / "model", params, version=5)  # whose random weights often speak for one class alone
    runtime = Runtime(folder, "f32", 1)
    images = [cutout(seed) for seed in range(10)]
    maps = runtime.answer(np.stack([runtime.prepare(image) for image in images]), maps=True).maps
    image, label = next(
        (image, label)
        for image, map_ in zip(images, maps, strict=True)
        for label in ("Elliptical", "Other")
        if without_evidence(sign(label) * map_[None])[0]
    )
    with running(tmp_path / "service", str(folder), QUICK) as service:
        service.until_ready()
        page = open_page(service.url)
        page.set_input_files("#file", {"name": "g.png", "mimeType": "image/png", "buffer": png(image)})
        page.wait_for_selector("#result:not([hidden])")
        page.check(f"input[name=label][value={label}]")
        page.wait_for_function("document.getElementById('map-text').textContent.includes('is empty')")
        assert f"nothing in the picture speaks for {label}" in page.inner_text("#map-text")
        assert not any(page.is_visible(hidden) for hidden in ("#layer", "#map-controls", "#shares"))
        assert page.is_visible("#cutout")


def test_an_example_is_picked_by_keyboard_alone(service, open_page):
    page = open_page(service.url)
    page.wait_for_selector("#examples button")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#examples') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#named").startswith("galaxy0, answered by galmorph/1")
    assert page.evaluate("document.activeElement.id") == "result"


def test_a_text_file_gets_an_error_and_the_next_image_an_answer(service, open_page):
    page = open_page(service.url, viewport=PHONE)
    give(page, "notes.txt", b"my notes", "text/plain")
    page.wait_for_selector("#error:not([hidden])")
    assert "notes.txt: neither PNG, JPEG nor FITS" in page.inner_text("#error")
    assert page.is_hidden("#result")
    assert serious(page) == []
    keep(page, "error-360")
    give(page, "<img src=x onerror=alert(1)>.png", png(cutout(5)))
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#error")
    assert "<img src=x" in page.inner_text("#named")


def test_a_dropped_file_is_answered(service, open_page):
    page = open_page(service.url)
    page.wait_for_selector("#model dd")
    data = list(png(cutout(5)))
    page.evaluate(
        """bytes => {
          const given = new DataTransfer();
          given.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true }));
        }""",
        data,
    )
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#named").startswith("dropped.png")


def test_the_report_is_shown_and_can_run_nothing(service, open_page):
    page = open_page(service.url)
    page.wait_for_selector("#report:not([hidden])")
    page.click("#report a")
    page.wait_for_selector("h1:has-text('Explanations')")
    answer = page.request.get(page.url)
    assert answer.ok
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy, "what is not named falls to the default"


def test_a_service_with_keys_asks_for_one(tmp_path, exported_model, open_page):
    key, line = new_key("alice")
    (tmp_path / "keys").write_text(line)
    with running(tmp_path / "service", str(exported_model), {**QUICK, "keys": str(tmp_path / "keys")}) as service:
        service.until_ready()
        page = open_page(service.url)
        page.wait_for_selector("#key-box:not([hidden])")
        give(page, "a.png", png(cutout(5)))
        page.wait_for_selector("#error:not([hidden])")
        assert "wants an API key" in page.inner_text("#error")
        assert serious(page) == []
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#model dd")
        give(page, "a.png", png(cutout(5)))
        page.wait_for_selector("#result:not([hidden])")
        assert page.is_hidden("#error")


def test_a_service_without_a_model_says_so(tmp_path, open_page):
    with running(tmp_path / "service", str(tmp_path / "nothing"), QUICK) as service:
        page = open_page(service.url)
        page.wait_for_selector("#model-problem:not([hidden])")
        assert "no model to answer with yet" in page.inner_text("#model-problem")
        assert serious(page) == []
