"""The explanation report in a real browser: what it fetches, says wrongly, or hides from whom.

It needs Chromium (Debian's, or `playwright install chromium`), and skips without one.
"""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, sync_playwright

from galmorph.explain.embedding import png
from galmorph.explain.panel import panel
from galmorph.explain.report import render
from tests.explained import METHODS, SEEN, checked, explained, model, reported

PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def report(tmp_path_factory, params):
    """A report with everything in it, of galaxies right, wrong, unknown to the catalogue, saturated and blank."""
    galaxies = [explained(number) for number in range(4)]
    galaxies += [
        explained(4, label=None, cataid="of an outsider & <its> id"),
        explained(5, logit=14.0, blank_channel="r"),
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    sheets = {"block1_conv": png(panel(galaxies[0], SEEN, params.explain.picture))}
    shown = [reported(galaxy) for galaxy in galaxies]
    path.write_text(render(model(), METHODS, shown, checked(galaxies), sheets, params.explain), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield started
        started.close()


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def page(request, browser, report):
    """The open page, with `said` on its console and what was `asked` of the network."""
    opened = browser.new_page(viewport=request.param)
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("request", lambda asked: opened.asked.append(asked.url))
    opened.goto(report.as_uri())
    yield opened
    opened.close()


def test_nothing_leaves_the_page_and_the_console_is_silent(page, report):
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.said == []


def test_every_picture_is_drawn_and_has_alternative_text(page):
    images = page.evaluate("[...document.images].map(i => [i.alt, i.complete, i.naturalWidth])")
    assert len(images) == 6 * (2 + len(METHODS) + 3) + 3 + 1
    assert all(alt and complete and width > 0 for alt, complete, width in images)


def test_nothing_is_wider_than_the_screen(page):
    # Also what is folded away.
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wide = page.evaluate(
        """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
           || e.scrollWidth > Math.max(e.clientWidth, 1) + 1 && getComputedStyle(e).display !== 'inline')
           .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_axe_finds_nothing_serious(page):
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not serious, [(one["id"], one["help"], one["nodes"][0]["html"][:200]) for one in serious]


def test_text_can_be_read_on_a_phone(browser, report):
    """No text of the page's own is below 12 pixels, and two pictures stand side by side."""
    page = browser.new_page(viewport=PHONE)
    page.goto(report.as_uri())
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll('main *')].filter(e => [...e.childNodes].some(
           n => n.nodeType === 3 && n.data.trim())).map(e => parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest >= 12
    first, second, third = (page.locator(".cells figure").nth(k).bounding_box() for k in range(3))
    assert first["y"] == second["y"] < third["y"]
    assert first["width"] > 130
    page.close()


def test_links_lead_to_their_galaxies(page):
    """A click on a listed galaxy shows it."""
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    page.click(".ids a")
    assert page.evaluate("document.querySelector(':target').querySelector('h4').textContent") == "000000"
    assert abs(page.locator(":target").bounding_box()["y"]) < 20
