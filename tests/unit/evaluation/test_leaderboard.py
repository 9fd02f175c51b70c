import dataclasses
import re
from html.parser import HTMLParser

import pytest

from galmorph.evaluation.caveats import leaderboard_facts
from galmorph.evaluation.complexity import complexity_table
from galmorph.evaluation.leaderboard import leaderboard_entries, leaderboard_table
from galmorph.evaluation.markdown import leaderboard_markdown
from galmorph.evaluation.mcnemar import compare_with, score_differences
from galmorph.evaluation.mistakes import confident_mistakes
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
        self.references += [
            (tag, value)
            for name, value in attributes
            if name in ("src", "href", "xlink:href", "srcset", "action") and not value.startswith("data:image/")
        ]
        if tag not in ("meta", "line", "circle", "img"):
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
def scored(answers):
    return {name: rows[rows["split"] == "test"] for name, rows in answers.items()}


@pytest.fixture(scope="module")
def comparisons(scored, params):
    return compare_with(MEDIAN, scored, params)


@pytest.fixture(scope="module")
def entries(records, compare_params, comparisons):
    return leaderboard_entries(records, published(), compare_params(*records), comparisons)


@pytest.fixture(scope="module")
def facts(records, comparisons):
    return leaderboard_facts(records, published(), comparisons)


@pytest.fixture(scope="module")
def best(records, answers, compare_params, params):
    validation = {name: rows[rows["split"] == "validation"] for name, rows in answers.items()}
    return choose_best(records, compare_params(*records), score_differences(MEDIAN, validation, "loss", params))


def measured(records):
    return {
        name: {
            "layers": {"Conv2D": 3, "Dense": 2}, "parameters": {"total": 89_700_000, "trainable": 89_650_000},
            "flops": 2_300_000_000, "images_per_second": 187.3, "batch_size": 64, "device": "CPU", "threads": 2,
        }
        for name in records
    }  # fmt: skip


@pytest.fixture(scope="module")
def complexity(records):
    return complexity_table(measured(records), records, published())


@pytest.fixture(scope="module")
def mistakes(scored):
    return confident_mistakes(scored, MEDIAN, 3)


@pytest.fixture(scope="module")
def html(records, entries, facts, best, complexity, mistakes):
    return leaderboard_html(
        entries, facts, published().notes(), best, records, complexity, mistakes, [b"jpeg"] * len(mistakes)
    )


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
    entries = leaderboard_entries(changed, published(), compare_params(*records), {})
    assert [entry.experiment for entry in entries if entry.source == "galmorph"] == [MEDIAN, RAW, RESNET]


def test_scores_are_of_test(records, entries):
    entry = entries[0]
    assert (entry.split, entry.n) == ("test", 90)
    assert entry.score("accuracy") == records[MEDIAN]["test"]["accuracy"]
    assert entry.scale == "64 px of the central 60 %, scratch 12 epochs, no pretrained weights"
    assert (entry.weights, entry.epochs) == ("none", 12)


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


def test_markdown_has_a_row_for_each_entry_with_intervals(records, entries, facts, best, complexity, mistakes):
    text = leaderboard_markdown(entries, facts, published().notes(), best, complexity, mistakes)
    lines = [line for line in text.split("## Complexity")[0].splitlines() if line.startswith("|")]
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
    rows = [row for row in page.rows if row[0] in ("ours", "theirs")]
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


def test_names_are_escaped(records, entries, best, complexity, mistakes):
    best = {**best, "reason": "<script>alert(1)</script> & more"}
    html = leaderboard_html(entries, [], [], best, records, complexity, mistakes, [b""] * len(mistakes))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_without_a_test_split_every_output_says_validation(evaluation, params, compare_params):
    record, rows = evaluation(RAW, params, 1.0, with_test=False)
    records, stage = {RAW: record}, compare_params(RAW)
    entries = leaderboard_entries(records, published(), stage, {})
    assert entries[0].split == "validation"
    assert set(leaderboard_table(entries)["split"]) == {"validation"}
    best, facts = choose_best(records, stage, {}), leaderboard_facts(records, published(), {})
    complexity = complexity_table(measured(records), records, published())
    mistakes = confident_mistakes({RAW: rows}, RAW, 2)
    for text in (
        leaderboard_markdown(entries, facts, [], best, complexity, mistakes),
        leaderboard_html(entries, facts, [], best, records, complexity, mistakes, [b"", b""]),
    ):
        assert "VALIDATION, n = 120" in text
        assert "the published split has no test galaxies" in text
        assert "test, n =" not in text
        assert "McNemar" not in text  # a single experiment has nothing to be told apart from


@pytest.mark.parametrize("source", [None, "archive", "archive GALAXIES 2.zip", "telescope"])
def test_where_the_galaxies_come_from_is_told(records, source):
    changed = {name: {**record, "data_source": source} for name, record in records.items()}
    told = dict(leaderboard_facts(changed, published(), {}))["Galaxies"]
    expected = {
        None: "not recorded.",
        "archive": "a labelled archive.",
        "archive GALAXIES 2.zip": "a labelled archive, GALAXIES 2.zip.",
    }
    assert told == expected.get(source, "telescope.")


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


def test_the_table_holds_the_tests_against_the_reference(entries, comparisons):
    rows = leaderboard_table(entries)
    ours = rows[rows["source"] == "galmorph"].set_index("experiment")
    one = comparisons[RESNET]
    found = ours.loc[RESNET]
    assert (found["reference"], found["b"], found["c"]) == (MEDIAN, one.b, one.c)
    assert (found["p_mcnemar"], found["p_holm"], found["told_apart"]) == (one.p, one.p_holm, True)
    difference = ours["accuracy"][RESNET] - ours["accuracy"][MEDIAN]
    assert found["accuracy_difference"] == pytest.approx(difference, abs=2e-6)
    assert found["accuracy_difference_low"] < difference < found["accuracy_difference_high"] < 0
    columns = ["reference", "b", "c", "p_mcnemar", "p_holm", "told_apart"]
    assert ours.loc[MEDIAN, columns].isna().all()  # the reference itself
    assert rows.loc[rows["source"] == "published", columns].isna().all(axis=None)


def test_the_reference_s_column_says_tied_or_told_apart(html, entries, comparisons):
    texts = {texts[0]: texts for kind, texts in Page(html).rows if kind == "ours"}
    for name, one in comparisons.items():
        difference, counts = next(entry.against() for entry in entries if entry.experiment == name)
        assert difference.startswith("\u2212")
        assert counts.startswith(f"{'told apart' if one.told_apart else 'tied'}: b {one.b}, c {one.c}, p ")
        assert difference in texts[name]
        assert counts in texts[name]


def test_ties_are_explained_in_words(records, comparisons):
    words = dict(leaderboard_facts(records, published(), comparisons))["Ties"]
    assert words.startswith(f"On test, every experiment is tested against {MEDIAN} on the same galaxies")
    assert f"{RAW} and {RESNET} are told apart" in words
    assert "Tied" not in words
    changed = {**comparisons, RAW: dataclasses.replace(comparisons[RAW], told_apart=False)}
    words = dict(leaderboard_facts(records, published(), changed))["Ties"]
    assert f"{RAW} is tied with it; {RESNET} is told apart" in words
    assert "Tied does not mean equally good" in words


def test_a_tie_at_the_choice_is_marked(records, entries, facts, best, complexity, mistakes):
    tied = {**best, "indistinguishable": [RAW]}
    pictures = [b""] * len(mistakes)
    rows = Page(leaderboard_html(entries, facts, [], tied, records, complexity, mistakes, pictures)).rows
    assert [texts[0] for _, texts in rows if "tied at the choice" in texts] == [RAW]
    assert f"| {RAW} (tied at the choice) |" in leaderboard_markdown(entries, facts, [], tied, complexity, mistakes)


@pytest.mark.parametrize(
    ("recipes", "told"),
    [
        (
            [("none", [12]), ("none", [12]), ("none", [3, 5])],
            ["8 to 12 epochs", "No pretrained weights: every network"],
        ),
        (
            [("none", [4]), ("none", [4]), ("imagenet", [4])],
            ["4 epochs", "ImageNet weights: resnet50; no pretrained weights: regularised_cnn"],
        ),
        (
            [("none", [4]), ("mine.h5", [4]), ("none", [4])],
            [f"Weights of mine.h5: {MEDIAN}; no pretrained weights: {RAW} and resnet50."],
        ),
    ],
)
def test_what_the_rows_were_trained_with_is_told(records, recipes, told):
    changed = {
        name: {**record, "recipe": {**record["recipe"], "weights": weights, "epochs": epochs}}
        for (name, record), (weights, epochs) in zip(records.items(), recipes, strict=True)
    }
    words = dict(leaderboard_facts(changed, published(), {}))["Trained with"]
    assert words.startswith("64 px; published: 300 px.")
    assert all(part in words for part in told)
    assert "laptop scale" in words


def test_at_the_published_size_nothing_is_called_laptop_scale(records):
    changed = {name: {**record, "image_size": 300} for name, record in records.items()}
    assert "laptop scale" not in dict(leaderboard_facts(changed, published(), {}))["Trained with"]


def test_published_rows_say_what_they_started_from(entries):
    theirs = {entry.experiment: entry.scale for entry in entries if entry.source == "published"}
    assert theirs[RESNET] == "300 px of the whole frame, ImageNet weights"
    assert theirs[RAW] == "300 px of the whole frame"


def test_the_page_shows_complexity_and_mistakes(html, complexity, mistakes):
    page = Page(html)
    rows = [texts for kind, texts in page.rows if kind == "measured"]
    assert [row[0] for row in rows] == complexity["experiment"].tolist()
    assert {"89.7 M", "2.3 G", "187", "3 Conv2D, 2 Dense"} <= set(rows[0])
    assert html.count('src="data:image/jpeg;base64,') == len(mistakes) > 0
    for row in mistakes.to_dict("records"):
        assert row["CATAID"] in page.texts
        assert f"{row['wrong']} of 3 wrong" in page.texts


def test_no_mistake_is_said(records, entries, facts, best, complexity, mistakes):
    html = leaderboard_html(entries, facts, [], best, records, complexity, mistakes.head(0), [])
    assert "None on test" in html
    assert "<img" not in html
    assert f"{MEDIAN} makes none." in leaderboard_markdown(entries, facts, [], best, complexity, mistakes.head(0))
