"""The panels of a Grafana dashboard, and what a Prometheus answers them."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

#: What Grafana puts in the place of its variables; `$experiment` stands for all of them.
_VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$experiment": ".+"}


def read(path: Path) -> dict[str, Any]:
    """Read a dashboard."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels that ask something: all but the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the title, the expression as Prometheus reads it, and the legend, of every query and annotation."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], filled(target["expr"]), target["legendFormat"]
    for annotation in board["annotations"]["list"]:
        yield annotation["name"], filled(annotation["expr"]), annotation["titleFormat"]


def filled(expression: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def series(api: httpx.Client, expression: str, legend: str) -> dict[str, float]:
    """Ask Prometheus; return the finite numbers by the names of their series, which must have all labels."""
    answer = api.get("/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    found = {}
    for each in answer["data"]["result"]:
        value = float(each["value"][1])
        if math.isfinite(value):
            labels = each["metric"]
            found[re.sub(r"{{(\w+)}}", lambda name, labels=labels: labels[name[1]], legend)] = value
    return found


def empty(api: httpx.Client, board: dict[str, Any]) -> list[str]:
    """Name the queries without a number."""
    return [f"{title}: {query}" for title, query, legend in queries(board) if not series(api, query, legend)]


def colourless(api: httpx.Client, board: dict[str, Any]) -> list[str]:
    """Name the series that share a panel with others and have no colour of their own."""
    found = []
    for panel in panels(board):
        overrides = [each["matcher"]["options"].strip("/") for each in panel["fieldConfig"]["overrides"]]
        names = {
            name for target in panel["targets"] for name in series(api, filled(target["expr"]), target["legendFormat"])
        }
        if overrides and len(names) > 1:
            found += [f"{panel['title']}: {name}" for name in names if not any(re.search(o, name) for o in overrides)]
    return found
