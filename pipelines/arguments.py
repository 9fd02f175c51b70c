"""What a run is given: `--param` assignments over the defaults of a compiled pipeline, checked before they are sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from galmorph import params as p
from galmorph.cluster.values import carried, meant
from galmorph.errors import ParamsError

#: Python's types for those of a pipeline's parameters, beside STRING, which is taken as it is written.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def run_arguments(spec: Mapping[str, Any], assignments: Sequence[str], source: str) -> dict[str, Any]:
    """Return the arguments that a run must be given; what nobody changes keeps the default of the pipeline.

    Parameters
    ----------
    spec
        The compiled pipeline. Its parameters that have a section's name hold that section of params.yaml.
    assignments
        `section.key=value` changes one value of a section, `name=value` another parameter of the pipeline.
    source
        The pipeline's name, for messages.

    Raises
    ------
    ParamsError
        When a parameter or key is not known, a value has the wrong type, or a parameter without default is not given.
    """
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    sections = {
        name: meant(parameter["defaultValue"])
        for name, parameter in known.items()
        if name in p.section_names() and isinstance(parameter.get("defaultValue"), dict)
    }
    changed: list[str] = []
    others: dict[str, Any] = {}
    for assignment in assignments:
        name = assignment.partition("=")[0].partition(".")[0]
        if name not in known:
            raise ParamsError(
                f"--param: {source} has no parameter {name}. Known: {', '.join(known)}. Received: {assignment!r}"
            )
        if name in sections:
            changed.append(assignment)
        else:
            others[name] = _plain(name, known[name]["parameterType"], assignment)
    values = p.with_overrides(sections, changed, option="--param")
    p.check_some(values, f"--param over the values in {source}")
    arguments = {name: carried(value) for name, value in values.items() if value != sections[name]} | others
    _refuse_missing(known, arguments, source)
    return arguments


def _plain(name: str, kind: str, assignment: str) -> Any:
    """Read the value of a parameter that is no section."""
    value = p.with_overrides({}, [assignment], option="--param").get(name)
    if kind == "STRING":
        return assignment.partition("=")[2]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
        raise ParamsError(f"--param {name}: must be {kind}, written as in YAML. Received: {assignment!r}")
    return value


def _refuse_missing(known: Mapping[str, Any], arguments: Mapping[str, Any], source: str) -> None:
    missing = [
        name
        for name, parameter in known.items()
        if name not in arguments and "defaultValue" not in parameter and not parameter.get("isOptional")
    ]
    if missing:
        raise ParamsError(f"{source} needs --param {missing[0]}=VALUE. Received: no value for {', '.join(missing)}")
