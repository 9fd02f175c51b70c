"""The dashboards are what Grafana loads, say what to do, and read metrics that there are."""

import itertools
import re

import pytest
from ruamel.yaml import YAML

from galmorph.edge.training_metrics import TrainingMonitor
from galmorph.serving.monitoring import Monitor
from infra.grafana import build
from infra.grafana import panels as made
from tests import dashboards

NAMES = ("service.json", "training.json")
#: Grafana's names of units that are used here, and of the kinds of panels that come with it.
UNITS = {"short", "percentunit", "s", "reqps", "cps", "sci"}
KINDS = {"stat", "timeseries", "bargauge", "heatmap", "state-timeline"}
COLOURS = {made.BLUE, made.ORANGE, made.GREEN, made.VERMILLION, made.SKY, made.PURPLE, made.GREY}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@pytest.fixture(scope="module", params=NAMES)
def board(request, repository):
    return dashboards.read(repository / "infra/grafana/dashboards" / request.param)


@pytest.fixture(scope="module")
def headings(repository):
    """The anchors of the runbook, as GitHub makes them."""
    text = (repository / "docs/operations.md").read_text()
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.fixture(scope="module")
def rules(repository):
    read = YAML(typ="safe").load
    return [
        rule
        for name in ("recording.yml", "alerts.yml")
        for group in read(repository / "infra/prometheus" / name)["groups"]
        for rule in group["rules"]
    ]


def everything(content):
    """Every object within, itself included."""
    if isinstance(content, dict):
        yield content
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from everything(value)


def test_the_files_are_what_is_built(repository):
    folder = repository / "infra/grafana/dashboards"
    assert {path.name for path in folder.iterdir()} == set(build.dashboards())
    for name, content in build.dashboards().items():
        assert (folder / name).read_text() == build.text(content), "python -m infra.grafana.build writes them again"


def test_grafana_finds_what_it_needs(board):
    assert re.fullmatch(r"[a-z-]{1,40}", board["uid"])
    assert board["id"] is None
    assert board["title"]
    assert board["schemaVersion"] == made.SCHEMA_VERSION
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names[0] == "datasource"
    assert len(set(names)) == len(names)
    assert (
        board["templating"]["list"][0] | {"type": "datasource", "query": "prometheus"}
        == (board["templating"]["list"][0])
    )
    used = set(re.findall(r"\$\{?(\w+)", str(board))) - {"__rate_interval", "__range", "__all"}
    assert used <= set(names), "a variable that is not there"
    sources = [each["datasource"] for each in everything(board) if "datasource" in each]
    assert len(sources) > 20
    assert all(source == SOURCE for source in sources)


def test_uids_and_ids_are_unique(repository, board):
    uids = [dashboards.read(repository / "infra/grafana/dashboards" / name)["uid"] for name in NAMES]
    assert len(set(uids)) == len(NAMES)
    ids = [panel["id"] for panel in board["panels"]]
    assert sorted(ids) == list(range(1, len(ids) + 1))


def test_panels_lie_in_the_grid_and_not_on_one_another(board):
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in board["panels"])
    ]
    assert all(0 <= x < 24 for each in cells for x, _ in each)
    assert all(not one & other for one, other in itertools.combinations(cells, 2))


def test_every_panel_can_be_read(board):
    for panel in dashboards.panels(board):
        title = panel["title"]
        assert panel["type"] in KINDS, title
        assert len(panel["description"]) > 40, title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None, title
        ends = [step["value"] for step in steps[1:]]
        assert ends == sorted(ends), title
        refs = [target["refId"] for target in panel["targets"]]
        assert refs, title
        assert len(set(refs)) == len(refs), title
        assert all(target["legendFormat"] for target in panel["targets"]), title


def test_colours_can_be_told_apart_by_everybody(board):
    used = {value for each in everything(board) for key, value in each.items() if key in ("fixedColor", "iconColor")}
    used |= {each["color"] for each in everything(board) if isinstance(each.get("color"), str)}
    assert used <= COLOURS
    modes = {each["color"]["mode"] for each in everything(board) if isinstance(each.get("color"), dict)}
    assert modes <= {"fixed", "thresholds", "scheme"}, "a palette of Grafana's is not told apart by everybody"


def test_every_alert_has_its_heading_and_its_link_to_it(repository, headings, rules):
    alerts = [rule for rule in rules if "alert" in rule]
    assert len(alerts) > 5
    for alert in alerts:
        path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert anchor == alert["alert"].lower()
        assert anchor in headings, alert["alert"]
        assert (repository / path).is_file()


def test_links_lead_to_headings_and_every_alert_has_a_panel(repository, headings, rules):
    anchors = {
        link["url"].partition("#")[2]
        for name in NAMES
        for panel in dashboards.panels(dashboards.read(repository / "infra/grafana/dashboards" / name))
        for link in panel.get("links", ())
    }
    assert anchors <= headings
    # That nothing can be scraped is seen by every panel.
    assert anchors >= {rule["alert"].lower() for rule in rules if "alert" in rule} - {"galmorphdown"}


def test_every_metric_that_is_asked_for_is_one_of_ours(board, rules):
    ours = {
        family.name for monitor in (Monitor(), TrainingMonitor()) for family in monitor.registry.collect()
    }  # fmt: skip
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for title, query, _ in dashboards.queries(board):
        asked = set(re.findall(r"\b(?:galmorph[:_])[\w:]+", query))
        assert asked or "ALERTS" in query, title
        for name in asked:
            known = recorded if ":" in name else ours
            assert (name if ":" in name else re.sub("_(total|bucket|sum|count)$", "", name)) in known, (title, name)


def test_lines_are_drawn_where_alerts_fire(repository, rules):
    limits = build.limits()
    assert limits["GalmorphDrift"] == 0.25
    assert limits["GalmorphModelOld"] == 180 * 24 * 3600
    for panel in dashboards.panels(dashboards.read(repository / "infra/grafana/dashboards/service.json")):
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if panel["type"] == "timeseries" and len(steps) > 1:
            (link,) = panel["links"]
            assert steps[1]["value"] == limits[link["title"].split()[-1]], panel["title"]
