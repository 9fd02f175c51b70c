"""How generated manifests are written: `infra.argo.generate` and `infra.k8s.generate` share it."""

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML


def yaml_text(content: Mapping[str, Any], header: str) -> str:
    """Return a manifest as YAML in the order that it has, below a comment.

    Long texts, such as Prometheus's expressions, stay on their lines; what occurs twice is written twice.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 1000
    # The representer is made when it is first asked for, and sorts if it has not been told by then.
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.ignore_aliases = lambda _: True
    out = io.StringIO()
    yaml.dump(content, out)
    return header + out.getvalue()
