"""Write what the manifests take from files elsewhere in the repository: `python -m infra.k8s.generate`.

Kustomize reads no file above its own folder and makes no manifest of another format, so both are written here, kept
beside the manifests, and compared with their sources in a test.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from infra.yaml_text import yaml_text

REPOSITORY = Path(__file__).resolve().parents[2]
_HERE = Path("infra/k8s")
_HEADER = "# Written by `python -m infra.k8s.generate` from {sources}; change it there.\n"
#: What `galmorph serve` reads of params.yaml. No more: the service is rolled whenever the ConfigMap changes.
_SERVED = ("serve", "acquire.cutouts", "validate.min_side", "validate.blank_contrast")
_RULES = ("infra/prometheus/recording.yml", "infra/prometheus/alerts.yml")


def served_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick what the service reads of the values of params.yaml, in the same places."""
    picked: dict[str, Any] = {}
    for path in _SERVED:
        *sections, key = path.split(".")
        source, target = values, picked
        for section in sections:
            source, target = source[section], target.setdefault(section, {})
        target[key] = source[key]
    return picked


def prometheus_rule(groups: list[Any]) -> dict[str, Any]:
    """Put groups of Prometheus's rules into the form that its operator reads."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "galmorph"},
        "spec": {"groups": groups},
    }


def generated(repository: Path = REPOSITORY) -> dict[Path, str]:
    """Return every generated file, by its path in the repository, with the text that it must have."""
    params = served_values(_read(repository / "params.yaml"))
    rule = prometheus_rule([group for path in _RULES for group in _read(repository / path)["groups"]])
    return {
        _HERE / "base/generated/params.yaml": yaml_text(params, _HEADER.format(sources="params.yaml")),
        _HERE / "components/monitoring/generated/rules.yaml": yaml_text(
            rule, _HEADER.format(sources=" and ".join(_RULES))
        ),
    }


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / path).write_text(text)
        print(path)


def _read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


if __name__ == "__main__":
    main()
