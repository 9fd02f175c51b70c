import re
from html.parser import HTMLParser

import pytest

from galmorph.evaluation.leaderboard import (
    leaderboard_entries,
    leaderboard_facts,
    leaderboard_markdown,
    leaderboard_table,
)
from galmorph.evaluation.page import leaderboard_html, plot, round_ticks
from galmorph.evaluation.published import published
from galmorph.evaluation.selection import choose_best

RAW, MEDIAN, RESNET = "regularised_cnn_raw", "regularised_cnn_median", "resnet50_finetune_raw"


class Page(HTMLParser):
    """What a page holds: texts, links, and whether its tags are balanced."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.rows, self.references = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.references += [(tag, name) for name in named if name in ("src", "href", "xlink:href", "srcset", "action")]
        if tag not in ("meta", "line", "circle"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append((named.get("class"), []))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data.strip())
        if "tr" in self.open and data.strip():
            self.rows[-1][1].append(data.strip())


@pytest.fixture(scope="module")
def entries(records, compare_params):
    return leaderboard_entries(records, published(), compare_params(*records))


@pytest.fixture(scope="module")
def html(records, compare_params, entries):
    best = choose_best(records, compare_params(*records))
    facts = leaderboard_facts(records, published())
    return leaderboard_html(entries, facts, published().notes(), best, records)


def test_ours_come_by_validation_each_followed_by_its_published_counterpart(entries):
    assert [(entry.experiment, entry.source) for entry in entries[:5]] == [
        (MEDIAN, "galmorph"),  # not published
        (RAW, "galmorph"),
        (RAW, "published"),
        (RESNET, "galmorph"),
        (RESNET, "published"),
    ]
    rest = entries[5:]
    assert {entry.source for entry in rest} == {"published"}
    assert len(rest) == 9
    assert "vit_raw" not in [entry.experiment for entry in rest]


def test_order_is_by_validation_even_where_test_says_otherwise(records, compare_params):
    changed = {name: {**record, "test": records[RESNET]["test"]} for name, record in records.items()}
    changed[RESNET] = {**records[RESNET], "test": records[MEDIAN]["test"]}
    entries = leaderboard_entries(changed, published(), compare_params(*records))
    assert [entry.experiment for entry in entries if entry.source == "galmorph"] == [MEDIAN, RAW, RESNET]


def test_scores_are_of_test(records, entries):
    entry = entries[0]
    assert (entry.split, entry.n) == ("test", 90)
    assert entry.score("accuracy") == records[MEDIAN]["test"]["accuracy"]
    assert entry.scale == "64 px of the central 60 %, scratch"


def test_table_holds_every_score_with_its_interval(records, entries):
    table = leaderboard_table(entries)
    ours = table[(table["experiment"] == RAW) & (table["source"] == "galmorph")].iloc[0]
    test = records[RAW]["test"]
    assert (ours["pr_auc"], ours["pr_auc_low"], ours["pr_auc_high"]) == tuple(test["pr_auc"].values())
    assert (ours["f1_Other"], ours["f1_Other_low"], ours["f1_Other_high"]) == tuple(test["f1"]["Other"].values())
    assert ours["support_Elliptical"] == test["support"]["Elliptical"]
    theirs = table[(table["experiment"] == RAW) & (table["source"] == "published")].iloc[0]
    assert (theirs["accuracy"], theirs["loss"], theirs["n"], theirs["split"]) == (0.8780, 0.3112, 1180, "validation")
    assert theirs[["roc_auc", "roc_auc_low", "loss_low"]].isna().all()


def test_markdown_has_a_row_for_each_entry_with_intervals(records, compare_params, entries):
    best = choose_best(records, compare_params(*records))
    facts = leaderboard_facts(records, published())
    text = leaderboard_markdown(entries, facts, published().notes(), best)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(entries)
    assert len({line.count("|") for line in lines}) == 1
    accuracy = records[MEDIAN]["test"]["accuracy"]
    first = lines[2]
    assert first.startswith(f"| **{MEDIAN}** (chosen) | galmorph | test, n = 90 |")
    assert f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in first
    assert any("*published* | validation, n = 1,180 | 0.878 [0.858, 0.895] | 0.311 |" in line for line in lines)
    assert best["reason"] in text


def test_page_has_the_rows_marked(html, entries):
    page = Page(html)
    assert page.open == []
    rows = page.rows[1:]
    assert len(rows) == len(entries)
    for (kind, texts), entry in zip(rows, entries, strict=True):
        assert texts[0] == entry.experiment
        assert (kind == "theirs") == (entry.source == "published") == ("published" in texts)
        assert ("chosen" in texts) == (entry.experiment == MEDIAN)
        assert entry.text("accuracy") in texts
        assert entry.interval("accuracy") in texts


def test_page_needs_nothing_from_elsewhere(html):
    assert Page(html).references == []
    assert not re.search(r"https?:|@import|url\(|<script", html)


def test_page_says_what_must_be_known(html, records):
    text = " ".join(Page(html).texts)
    for words in ("simulated by galmorph", "test, n = 90", "64 px; published: 300 px", "n = 1,180", "95 %"):
        assert words in text
    for record in records.values():
        assert record["model_digest"] in text


def test_names_are_escaped(records, compare_params, entries):
    best = {**choose_best(records, compare_params(*records)), "reason": "<script>alert(1)</script> & more"}
    html = leaderboard_html(entries, [], [], best, records)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_without_a_test_split_every_output_says_validation(evaluation, params, compare_params):
    records = {RAW: evaluation(RAW, params, 1.0, with_test=False)[0]}
    stage = compare_params(RAW)
    entries = leaderboard_entries(records, published(), stage)
    assert entries[0].split == "validation"
    assert set(leaderboard_table(entries)["split"]) == {"validation"}
    best, facts = choose_best(records, stage), leaderboard_facts(records, published())
    for text in (
        leaderboard_markdown(entries, facts, [], best),
        leaderboard_html(entries, facts, [], best, records),
    ):
        assert "VALIDATION, n = 120" in text
        assert "the published split has no test galaxies" in text
        assert "test, n =" not in text


@pytest.mark.parametrize("source", [None, "archive", "telescope"])
def test_where_the_galaxies_come_from_is_told(records, source):
    changed = {name: {**record, "data_source": source} for name, record in records.items()}
    told = dict(leaderboard_facts(changed, published()))["Galaxies"]
    assert told == {None: "not recorded.", "archive": "a labelled archive."}.get(source, "telescope.")


def test_dots_lie_where_the_scores_are(entries):
    drawn = plot(entries, "accuracy", "Accuracy", True)
    first, last = (float(label) for _, label in (drawn.ticks[0], drawn.ticks[-1]))
    assert [at for at, _ in (drawn.ticks[0], drawn.ticks[-1])] == [0, 100]
    for mark in drawn.marks:
        score = mark.entry.score("accuracy")
        assert first + mark.at / 100 * (last - first) == pytest.approx(score["value"], abs=1e-3)
        assert 0 <= mark.low <= mark.at <= mark.high <= 100


def test_a_score_without_interval_is_a_dot(entries):
    marks = plot(entries, "loss", "Loss", False).marks
    assert {mark.low for mark in marks if mark.entry.source == "published"} == {None}


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.47, 0.99, [0.4, 0.6, 0.8, 1.0]),
        (0.88, 0.95, [0.88, 0.9, 0.92, 0.94, 0.96]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.5, 0.5, [0.5, 0.502, 0.504]),
        (0.2, 15.9, [0.0, 5.0, 10.0, 15.0, 20.0]),
    ],
)
def test_ticks_are_round_and_hold_the_scores(low, high, ticks):
    assert round_ticks(low, high) == pytest.approx(ticks)
