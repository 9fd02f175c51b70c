"""Writes the dashboards: `python -m infra.grafana.build`, in the repository's folder."""

import json
import math
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from infra.grafana.service import service
from infra.grafana.training import training

FOLDER = Path(__file__).parent / "dashboards"
ALERTS = Path(__file__).parents[1] / "prometheus" / "alerts.yml"


def limits() -> dict[str, float]:
    """Read from where on each alert fires, so that dashboards draw no line of their own."""
    groups = YAML(typ="safe").load(ALERTS)["groups"]
    pairs = ((rule["alert"], rule["expr"].rpartition(" > ")) for group in groups for rule in group["rules"])
    return {name: math.prod(map(float, right.split("*"))) for name, (left, _, right) in pairs if left}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards, by the names of their files."""
    return {"service.json": service(limits()), "training.json": training()}


def text(content: dict[str, Any]) -> str:
    """Return the file's content."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, content in dashboards().items():
        (FOLDER / name).write_text(text(content))
