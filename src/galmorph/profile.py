"""Profiles: files of values that are laid over params.yaml, its comments kept."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from galmorph.params import check, read_values
from galmorph.storage import write_text


def apply_profile(profile: Path, params: Path) -> list[str]:
    """Lay the values of a profile over a params.yaml.

    Parameters
    ----------
    profile
        A YAML file with some of the sections and keys of params.yaml. A mapping is laid over, key by key; a table of
        experiments is replaced whole, because a study is a list and not an addition to another one.
    params
        The file to change. Comments and the order of keys are kept.

    Returns
    -------
    list of str
        `section.key: old -> new` of each value that changed.

    Raises
    ------
    ParamsError
        When a key of the profile is not known or a value is wrong; `params` is then untouched.
    """
    changes = read_values(profile)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    read_values(params)  # says in galmorph's words when the file is missing or broken
    document = yaml.load(params)
    changed: list[str] = []
    if "experiments" in changes and changes["experiments"] != document.get("experiments"):
        document["experiments"] = changes.pop("experiments")
        changed.append(f"experiments: {', '.join(document['experiments'])}")
    _lay_over(document, changes, "", changed)
    written = io.StringIO()
    yaml.dump(document, written)
    check(YAML(typ="safe").load(written.getvalue()), f"{params} with {profile}")
    if changed:
        write_text(params, written.getvalue())
    return changed


def _lay_over(document: Any, changes: Mapping[str, Any], prefix: str, changed: list[str]) -> None:
    for key, value in changes.items():
        old = document.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            _lay_over(old, value, f"{prefix}{key}.", changed)
        elif key not in document or old != value:
            changed.append(f"{prefix}{key}: {old!r} -> {value!r}")
            document[key] = value
