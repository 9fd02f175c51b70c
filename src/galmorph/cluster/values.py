"""Values as the parameters of a run carry them.

Kubeflow Pipelines hands dictionaries on as JSON: keys are text, and numbers arrive as floating point, which the models
of `galmorph.params` undo. Its SDK knows no null inside a dictionary, so nothing is the word `null`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

#: No value of params.yaml is this text.
NULL = "null"


def carried(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn values into what a run's parameters can carry."""
    found: dict[str, Any] = _mapped(json.loads(json.dumps(values)), lambda value: NULL if value is None else value)
    return found


def meant(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what a run's parameters carried back into values; one that is null already stays it."""
    found: dict[str, Any] = _mapped(values, lambda value: None if value == NULL else value)
    return found


def _mapped(values: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(values, Mapping):
        return {key: _mapped(value, change) for key, value in values.items()}
    if isinstance(values, list):
        return [_mapped(value, change) for value in values]
    return change(values)
