"""Reading params.yaml and profiles, overrides, and messages that name the key."""

from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from galmorph.errors import ParamsError
from galmorph.params.acquisition import AcquireParams
from galmorph.params.base import Section, merged
from galmorph.params.evaluation import (
    CompareParams,
    EvaluateParams,
    RegisterParams,
    RobustnessParams,
)
from galmorph.params.explanation import ExplainParams
from galmorph.params.prediction import StreamParams
from galmorph.params.preparation import DenoiseParams, SplitParams, ValidateParams
from galmorph.params.registration import PromoteParams
from galmorph.params.serving import ServeParams
from galmorph.params.training import ExperimentParams, PreprocessParams, TrainParams, TrainStageParams
from galmorph.params.tuning import TuneParams

Model = TypeVar("Model", bound=Section)


class Params(Section):
    """The whole of params.yaml."""

    acquire: AcquireParams
    validate_: Annotated[ValidateParams, Field(alias="validate")]
    split: SplitParams
    denoise: DenoiseParams
    preprocess: PreprocessParams
    train: TrainParams
    experiments: Annotated[dict[str, ExperimentParams], Field(min_length=1)]
    evaluate: EvaluateParams
    compare: CompareParams
    robustness: RobustnessParams
    explain: ExplainParams
    register_: Annotated[RegisterParams, Field(alias="register")]
    promote: PromoteParams
    predict: StreamParams
    serve: ServeParams
    tune: TuneParams


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file of values (params.yaml or a profile) as plain dicts and lists, unchecked.

    Raises
    ------
    ParamsError
        When the file is missing or is not a YAML mapping.
    """
    if not path.exists():
        raise ParamsError(f"{path}: no such parameter file. Give one with --params, or run from the project's folder.")
    try:
        values = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML. Received: {error}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path}: must hold sections (`section:` and indented keys). Received: {values!r:.80}")
    return values


def with_overrides(values: dict[str, Any], assignments: list[str], option: str = "--set") -> dict[str, Any]:
    """Lay `section.key=value` assignments over values; the right-hand side is read as YAML.

    `option` is what messages call the assignments' place on the command line.

    Raises
    ------
    ParamsError
        When an assignment has no `=`.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ParamsError(f"{option} takes section.key=value. Received: {assignment!r}")
        try:
            change = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise ParamsError(f"{option} {name}: the value is not valid YAML. Received: {text!r}") from error
        for key in reversed(name.split(".")):
            change = {key: change}
        values = merged(values, change)
    return values


def check(values: dict[str, Any], source: str) -> Params:
    """Check values against the models, every experiment with its overrides applied.

    Parameters
    ----------
    values
        The content of a whole params.yaml.
    source
        Its name, for the message.

    Raises
    ------
    ParamsError
        Naming each key that is unknown, missing or of the wrong type, or the reference that is no experiment.
    """
    params = checked(Params, values, source)
    _check_references(values, source)
    return params


def check_some(values: dict[str, Any], source: str) -> Section:
    """Check as `check` does, where only some sections of params.yaml are at hand."""
    own = {
        name: (field.annotation, field) for name, field in Params.model_fields.items() if _key(name, field) in values
    }
    model = create_model("SomeParams", __base__=Section, **own)  # type: ignore[call-overload]
    some: Section = checked(model, values, source)
    _check_references(values, source)
    return some


def section_names() -> list[str]:
    """Return the names of the sections, as params.yaml writes them."""
    return [_key(name, field) for name, field in Params.model_fields.items()]


def _check_references(values: dict[str, Any], source: str) -> None:
    """Check what sections say about each other, as far as they are there."""
    experiments = values.get("experiments", {})
    if {"preprocess", "train"} <= set(values):
        for name, experiment in experiments.items():
            stage = {"preprocess": values["preprocess"], "train": values["train"], "experiment": experiment}
            checked(TrainStageParams, stage, f"{source}: experiments.{name} with its overrides")
    reference = values.get("compare", {}).get("reference")
    if reference and experiments and reference not in ("chosen", *experiments):
        raise ParamsError(
            f"{source}: compare.reference: must be `chosen` or one of experiments: {', '.join(experiments)}. "
            f"Received: {reference!r}"
        )


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def checked(model: type[Model], values: Any, source: str) -> Model:
    """Build a section's model, or a union's, or say which keys are wrong and what is known there."""
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        problems = "; ".join(_problem(model, detail) for detail in error.errors())
        raise ParamsError(f"{source}: {problems}") from error


def _problem(model: type[Section], detail: Any) -> str:
    location = detail["loc"]
    name = ".".join(str(part) for part in location) or "values"
    if detail["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(model, location[:-1]))
        return f"{name}: unknown key. Known here: {known}. Received: {location[-1]}"
    if detail["type"] == "missing":
        return f"{name}: missing key"
    return f"{name}: {detail['msg']}. Received: {detail['input']!r:.80}"


def _known_keys(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the models at `location`; steps that are not fields (list items, unions) are passed over."""
    here = _models_in(model)
    for step in location:
        annotations = [field.annotation for name, field in _fields(here) if name == step]
        here = [found for annotation in annotations for found in _models_in(annotation)] if annotations else here
    return sorted({name for name, _ in _fields(here)})


def _fields(models: list[type[Section]]) -> list[tuple[str, FieldInfo]]:
    return [(_key(name, field), field) for model in models for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
