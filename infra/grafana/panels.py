"""What Grafana dashboards are made of: panels of few kinds, in rows, in colours that everybody can tell apart.

The kinds and fields are Grafana's dashboard schema (version 39, Grafana 11; later ones migrate it when they load it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Okabe & Ito 2008: told apart with every kind of colour vision.
BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#7F7F7F",
)  # fmt: skip
SCHEMA_VERSION = 39
_COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Panel = dict[str, Any]
#: An expression and the name of its series.
Query = tuple[str, str]
#: From where a value begins to what its colour is; the first begins at None.
Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True)
class Row:
    """Panels under a heading; `repeat` names the variable that there is a row for each value of."""

    title: str
    panels: Sequence[Panel]
    repeat: str | None = None


def good_until(limit: float) -> Steps:
    """Green below a limit, vermillion from there."""
    return [(None, GREEN), (limit, VERMILLION)]


def good_from(limit: float) -> Steps:
    """Vermillion below a limit, green from there."""
    return [(None, VERMILLION), (limit, GREEN)]


def stat(
    title: str, description: str, *queries: Query, unit: str, steps: Steps = ((None, BLUE),), width: int = 3,
    words: Mapping[int, str] | None = None, show: str = "value", alert: str | None = None,
) -> Panel:  # fmt: skip
    """One number now; `words` stand for some numbers, `show="name"` shows the series' name instead."""
    defaults = {"color": {"mode": "thresholds"}, "mappings": _mappings(words or {})}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": show, "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
    }  # fmt: skip
    return _panel("stat", title, description, queries, unit, defaults, options, (width, 4), steps, alert)


def lines(
    title: str, description: str, *queries: Query, unit: str, colours: Mapping[str, str], width: int = 12,
    limit: float | None = None, stacked: bool = False, least: float | None = 0, most: float | None = None,
    dashed: str | None = None, alert: str | None = None,
) -> Panel:  # fmt: skip
    """Numbers over time; `colours` are by a regular expression of the series' name, `dashed` is one too."""
    custom = {
        "drawStyle": "line", "lineWidth": 2, "fillOpacity": 30 if stacked else 0, "showPoints": "auto",
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if limit is None else "dashed"},
    }  # fmt: skip
    ends = {"min": least, "max": most}
    defaults = {
        "color": {"mode": "fixed", "fixedColor": BLUE}, "custom": custom,
        **{name: value for name, value in ends.items() if value is not None},
    }  # fmt: skip
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    steps: Steps = [(None, GREY)] if limit is None else good_until(limit)
    made = _panel("timeseries", title, description, queries, unit, defaults, options, (width, 8), steps, alert)
    made["fieldConfig"]["overrides"] = [
        _override(name, "color", {"mode": "fixed", "fixedColor": colour}) for name, colour in colours.items()
    ]
    if dashed is not None:
        made["fieldConfig"]["overrides"].append(_override(dashed, "custom.lineStyle", {"fill": "dash", "dash": [8, 6]}))
    return made


def bars(
    title: str, description: str, query: Query, *, unit: str, steps: Steps = ((None, BLUE),), width: int = 12,
    height: int = 8, most: float | None = None, alert: str | None = None,
) -> Panel:  # fmt: skip
    """Each series as a bar, now."""
    defaults: dict[str, Any] = {"color": {"mode": "thresholds"}, "min": 0}
    if most is not None:
        defaults["max"] = most
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "displayMode": "basic", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color",
    }  # fmt: skip
    made = _panel("bargauge", title, description, [query], unit, defaults, options, (width, height), steps, alert)
    made["targets"][0] |= {"instant": True, "range": False}
    return made


def distribution(title: str, description: str, metric: str, *, unit: str, width: int = 12) -> Panel:
    """How a histogram's values are distributed over time."""
    options = {
        "calculate": False, "cellGap": 1, "legend": {"show": True}, "tooltip": {"mode": "single", "yHistogram": True},
        "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64, "exponent": 0.5, "reverse": False},
        "yAxis": {"unit": unit, "axisPlacement": "left"}, "filterValues": {"le": 1e-9}, "rowsFrame": {"layout": "auto"},
    }  # fmt: skip
    query = (f"sum by (le) (increase({metric}_bucket[$__rate_interval]))", "{{le}}")
    made = _panel("heatmap", title, description, [query], "short", {}, options, (width, 8), [(None, GREY)], None)
    made["targets"][0]["format"] = "heatmap"
    return made


def periods(title: str, description: str, query: Query, words: Mapping[int, str], *, width: int = 12) -> Panel:
    """When each series had which value."""
    defaults = {
        "color": {"mode": "thresholds"}, "custom": {"fillOpacity": 70, "lineWidth": 0}, "mappings": _mappings(words),
    }  # fmt: skip
    options = {
        "mergeValues": True, "showValue": "never", "rowHeight": 0.8, "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "single"},
    }  # fmt: skip
    steps = [(None, GREY), (1, BLUE)]
    return _panel("state-timeline", title, description, [query], "short", defaults, options, (width, 6), steps, None)


def dashboard(
    uid: str, title: str, description: str, rows: Sequence[Row], *, variables: Sequence[dict[str, Any]] = (),
    annotations: Sequence[dict[str, Any]] = (), other: str, period: str,
) -> dict[str, Any]:  # fmt: skip
    """Put rows under one another, panels beside one another where they fit; `other` is the dashboard to link to."""
    return {
        "uid": uid, "title": title, "description": description, "tags": ["galmorph"], "schemaVersion": SCHEMA_VERSION,
        "version": 1, "id": None, "editable": True, "graphTooltip": 1, "timezone": "browser", "refresh": "30s",
        "time": {"from": f"now-{period}", "to": "now"}, "panels": _laid_out(rows),
        "templating": {"list": [_DATASOURCE, *variables, _RUNBOOK]}, "annotations": {"list": list(annotations)},
        "links": [
            {"title": "Runbook", "type": "link", "icon": "doc", "url": "${runbook:raw}", "targetBlank": True},
            {"title": other, "type": "dashboards", "tags": ["galmorph"], "keepTime": True, "includeVars": False},
        ],
    }  # fmt: skip


def values_of(name: str, label: str, metric: str) -> dict[str, Any]:
    """Return a variable: the values of a label."""
    return {
        "name": name, "label": name, "type": "query", "datasource": _SOURCE, "refresh": 2, "sort": 1, "multi": True,
        "definition": f"label_values({metric}, {label})", "includeAll": True, "allValue": ".+",
        "query": {"query": f"label_values({metric}, {label})", "refId": "variable"},
        "current": {"text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


def at_time_of(name: str, expression: str, text: str) -> dict[str, Any]:
    """Return vertical lines at the times, in seconds since 1970, that an expression gives."""
    return {
        "name": name, "datasource": _SOURCE, "enable": True, "hide": False, "iconColor": PURPLE,
        "expr": f"{expression} * 1000", "useValueForTime": "on", "titleFormat": text, "step": "60s",
    }  # fmt: skip


_DATASOURCE = {
    "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1,
    "current": {}, "hide": 0, "multi": False, "includeAll": False,
}  # fmt: skip
#: Where this team reads docs/operations.md; the repository's path until somebody says.
_RUNBOOK = {
    "name": "runbook", "label": "Runbook", "type": "textbox", "query": "docs/operations.md", "hide": 0,
    "current": {"text": "docs/operations.md", "value": "docs/operations.md"},
}  # fmt: skip


def _panel(
    kind: str, title: str, description: str, queries: Sequence[Query], unit: str, defaults: Mapping[str, Any],
    options: Mapping[str, Any], size: tuple[int, int], steps: Steps, alert: str | None,
) -> Panel:  # fmt: skip
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
        for number, (expression, legend) in enumerate(queries)
    ]
    thresholds = {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps]}
    made = {
        "type": kind, "title": title, "description": description, "datasource": _SOURCE, "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": thresholds, **defaults}, "overrides": []},
        "options": dict(options), "gridPos": {"w": size[0], "h": size[1]},
    }  # fmt: skip
    if alert is not None:
        url = f"${{runbook:raw}}#{alert.lower()}"
        made["links"] = [{"title": f"What to do on {alert}", "url": url, "targetBlank": True}]
    return made


def _mappings(words: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"type": "value", "options": {str(value): {"text": text} for value, text in words.items()}}] * bool(words)


def _override(name: str, field: str, value: object) -> dict[str, Any]:
    return {"matcher": {"id": "byRegexp", "options": f"/{name}/"}, "properties": [{"id": field, "value": value}]}


def _laid_out(rows: Sequence[Row]) -> list[Panel]:
    placed: list[Panel] = []
    y = 0

    def place(panel: Panel, x: int, y: int, w: int, h: int) -> None:
        placed.append({**panel, "id": len(placed) + 1, "gridPos": {"x": x, "y": y, "w": w, "h": h}})

    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        place({**heading, **({"repeat": row.repeat} if row.repeat else {})}, 0, y, _COLUMNS, 1)
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            w, h = panel["gridPos"]["w"], panel["gridPos"]["h"]
            if x + w > _COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place(panel, x, y, w, h)
            x, tallest = x + w, max(tallest, h)
        y += tallest
    return placed
