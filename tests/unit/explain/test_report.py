"""The explanation report's text; `tests/pipeline/test_explanation_report.py` opens it in a browser."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from galmorph.explain.embedding import drawing_url, photograph_url, png
from galmorph.explain.panel import panel
from galmorph.explain.reason import reasons
from galmorph.explain.report import render
from galmorph.explain.report_words import in_short
from tests.explained import METHODS, SEEN, checked, explained, model, numbers, reported


class Page(HTMLParser):
    """A page's text, images, links and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.images, self.links, self.ids, self.tags, self._text = html, [], [], [], [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self._text))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "img":
            self.images.append(found)
        if "href" in found:
            self.links.append(found["href"])
        if "id" in found:
            self.ids.append(found["id"])

    def handle_data(self, data):
        self._text.append(data)


def picture_of(url: str) -> Image.Image:
    start = "data:image/webp;base64,"
    assert url.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix(start)))).convert("RGB")


@pytest.fixture(scope="module")
def galaxies():
    return [explained(number) for number in range(16)]


@pytest.fixture(scope="module")
def sheets(galaxies, params):
    return {"block1_conv": png(panel(galaxies[0], SEEN, params.explain.picture))}


@pytest.fixture(scope="module")
def html(galaxies, sheets, params):
    shown = [reported(galaxy) for galaxy in galaxies]
    return render(model(), METHODS, shown, checked(galaxies), sheets, params.explain)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def rendered(params, *galaxies, **changes):
    values = {"checked": None, "activations": {}, **changes}
    return Page(render(model(), METHODS, [reported(one) for one in galaxies], params=params.explain, **values))


def test_sixteen_galaxies_stay_far_below_ten_megabytes(html):
    assert 0.5e6 < len(html.encode()) < 5e6


def test_every_picture_is_there_and_says_what_it_is(page):
    assert len(page.images) == 16 * (2 + len(METHODS) + 3) + 3 + 1
    assert all(image["alt"] for image in page.images)
    assert all(picture_of(image["src"]).width > 100 for image in page.images)


def test_nothing_is_fetched(page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    assert all(link.startswith("#") for link in page.links)
    # A picture's characters can spell anything.
    own = re.sub(r"data:image/webp;base64,[\w+/=]+", "", page.html)
    assert "url(" not in own
    assert "http" not in own
    assert "//" not in own


def test_every_link_leads_somewhere_and_ids_are_unique(page):
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_model_is_introduced(page):
    assert "What regularised_ cnn_ bilateral looks at" in page.text
    assert "accuracy (share answered rightly) 0.870 [0.820, 0.920]" in page.text
    assert "calibration error (0 is perfect) 0.020 In brackets" in page.text.replace("  ", " ")


def test_verdicts_are_words(page, galaxies):
    counted = [
        verdict["verdict"]
        for one in checked(galaxies).record["methods"].values()
        for verdict in one["verdicts"].values()
    ]
    for verdict in ("passed", "failed", "undecided"):
        chips = [found for _, found in page.tags if found.get("class") == f"chip {verdict}"]
        assert len(chips) == counted.count(verdict) > 0
    assert "the mean is 0.21 [0.10, 0.20]" in page.text
    assert "Passed every check: Grad-CAM." in page.text


def test_maps_of_a_method_that_failed_are_marked(page, galaxies):
    found = checked(galaxies).record["methods"]
    failing = [name for name, one in found.items() if "failed" in [v["verdict"] for v in one["verdicts"].values()]]
    assert page.text.count("method failed:") == 16 * len(failing)
    assert "grad_cam" not in failing


def test_galaxies_come_in_the_order_they_are_given_in_their_groups(page):
    ids = [one.removeprefix("g-") for one in page.ids if one.startswith("g-")]
    assert ids == [f"{number:06d}" for kind in range(4) for number in range(kind, 16, 4)]
    assert page.text.index("Confident and wrong") < page.text.index("Near even odds")


def test_galaxies_to_be_wary_of_are_linked(page):
    rows = "galaxy share 0.12, neighbour share 0.50"
    assert f"000000 Grad-CAM: {rows}; LIME: {rows}" in page.text
    assert page.links.count("#g-000000") == 1
    assert "Explained by a blank channel None." in page.text


def test_a_list_that_is_cut_says_so(params, galaxies):
    found = checked(galaxies)
    short = params.explain.faithfulness.model_copy(update={"max_listed": 2})
    given = params.model_copy(update={"explain": params.explain.model_copy(update={"faithfulness": short})})
    assert "The first 2 findings are listed" in rendered(given, galaxies[0], checked=found).text
    assert "findings are listed" not in rendered(params, galaxies[0], checked=found).text


def test_a_score_says_how_many_have_it(page):
    assert "n = 16" in page.text
    assert "n = 0, 16 left out: empty map" in page.text


def test_each_galaxy_has_its_paragraph(page, galaxies):
    for galaxy in galaxies:
        assert reasons(numbers(galaxy))[1].text in page.text
    assert page.text.count("What this cannot tell. ") == 16


def test_the_methods_say_what_a_value_is_and_values_are_printed(page):
    assert "A pixel's value: how much features around a pixel raise the logit." in page.text
    assert page.text.count("Values below 0 speak against the class.") == sum(about.signed for about in METHODS)
    assert page.text.count("the same for either class") == 1
    assert "seed of checks 7" in page.text
    assert '"alpha": 0.6' in page.text


def test_without_checks_the_page_says_so(params, galaxies):
    page = rendered(params, galaxies[0])
    assert "Whether the maps are true of the model was not measured" in page.text
    assert "Which maps to trust" not in page.text
    assert "method failed" not in page.text
    assert not [link for link in page.links if link in ("#trust", "#looks", "#inside")]


def test_an_id_from_a_catalogue_does_not_become_markup(params):
    odd = explained(1, cataid='<b>"1"</b>')
    page = rendered(params, odd, checked=checked([odd]))
    assert "b" not in [tag for tag, _ in page.tags]
    assert '<b>"1"</b>' in page.text
    assert len(page.ids) == len(set(page.ids))


def test_a_wrong_answer_is_marked_in_words_and_an_unknown_truth_is_not(params):
    wrong = explained(1, predicted="Other", label="Elliptical", p_elliptical=0.1)
    page = rendered(params, wrong, dataclasses.replace(wrong, cataid="2", label=None))
    assert page.text.count("the catalogue says Elliptical") == 1
    assert "the catalogue agrees" not in page.text


def test_a_photograph_keeps_its_colours(params):
    """Lossy: within a few levels where a map is smooth."""
    y, x = np.mgrid[:240, :240]
    pixels = np.stack([x, y, 255 - x], -1).clip(0, 255).astype(np.uint8)
    back = np.asarray(picture_of(photograph_url(pixels)), int)
    assert np.abs(back - pixels).mean() < 3


def test_a_drawing_is_exact_until_it_has_to_shrink(galaxies, params):
    drawn = png(panel(galaxies[0], SEEN, params.explain.picture))
    original = Image.open(io.BytesIO(drawn)).convert("RGB")
    np.testing.assert_array_equal(np.asarray(picture_of(drawing_url(drawn, 5000))), np.asarray(original))
    small = picture_of(drawing_url(drawn, 500))
    assert small.size == (500, round(500 * original.height / original.width))


class TestInShort:
    def test_shares_stand_beside_an_even_map(self, galaxies):
        said = dict(in_short(model().scores, "test", checked(galaxies).record))
        assert said["How good"] == "87 % (82 to 92) of the test galaxies are answered rightly."
        assert said["What it looks at"].endswith("an even map would have 30 % (25 to 35) there.")
        assert said["Be wary of"] == "Listed below: 1 explained by their neighbours, 0 by a blank channel."

    def test_nothing_measured_and_nothing_passed(self, galaxies):
        record = checked(galaxies).record
        missing = {"value": None, "low": None, "high": None, "n": 0}
        record["on_galaxy"].update(uniform=missing, neighbours=[])
        for one in record["methods"].values():
            one["verdicts"] = {"randomisation": {"verdict": "failed", "reason": ""}}
        said = dict(in_short({"accuracy": missing}, "test", record))
        assert "How good" not in said
        assert said["What it looks at"] == "No share of a map on its galaxy could be measured."
        assert said["Which to trust"].startswith("No method passed every check. Failed at least one: Grad-CAM; ")
        assert said["Be wary of"].startswith("No galaxy was found")

    def test_one_method_has_no_span(self, galaxies):
        record = checked(galaxies).record
        record["methods"] = {"lime": record["methods"]["lime"]}
        share = record["methods"]["lime"]["scores"]["galaxy_share"]["value"]
        said = dict(in_short({}, "test", record))["What it looks at"]
        assert said.startswith(f"On average {100 * share:.0f} % of a map")
