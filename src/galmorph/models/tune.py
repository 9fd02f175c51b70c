"""What a study searches: values of one experiment, checked before anything is trained.

A searched key is `experiment.variant`, or a dotted key of `preprocess` or `train`. A trial lays its values over the
experiment's own overrides, and the result is checked by the models that the train stage uses.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from itertools import chain
from typing import Any, Protocol, cast, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from galmorph.errors import ParamsError
from galmorph.models.planned import BACKBONES, is_run
from galmorph.params import Choices, Phase, Range, Search, Steps, TrainStageParams, checked, merged

VARIANT = "experiment.variant"
#: Sections of `train` that are one architecture's own.
_OWN_SECTIONS = {
    "cnn": ("baseline_cnn", "regularised_cnn"),
    "transfer": BACKBONES,
    "vit": ("vit",),
}
_PHASES = get_args(Phase)


class Suggests(Protocol):
    """What is asked of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...  # noqa: D102
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...  # noqa: D102


def is_used(key: str, params: TrainStageParams) -> bool:
    """Whether a dotted key has an effect on an experiment's training.

    A phase that is not run, another architecture's sizes, and the strength of no augmentation have none.
    """
    section, _, rest = key.partition(".")
    name, _, leaf = rest.partition(".")
    experiment = params.experiment
    if section != "train":
        return True
    if name in _PHASES:
        return is_run(cast("Phase", name), params.train, experiment)
    if name in _OWN_SECTIONS:
        plain = experiment.architecture == "baseline_cnn" and leaf in ("block_dropout", "batch_norm_momentum")
        return experiment.architecture in _OWN_SECTIONS[name] and not plain
    return name != "augmentation_strength" or params.train.augmentation is not None


def used_space(space: Mapping[str, Search], params: TrainStageParams) -> dict[str, Search]:
    """Return the part of a space that has an effect on an experiment, in its order.

    Numbers become of the kind that the key takes, whole or not: YAML tells 0 from 0.0, JSON and those who write spaces
    do not always.
    """
    values = params.model_dump()
    return {key: _of_kind(search, _at(values, key)) for key, search in space.items() if is_used(key, params)}


def _at(values: Any, key: str) -> Any:
    """Return the value at a dotted key, None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _of_kind(search: Search, value: Any) -> Search:
    """Write a search's numbers as integers where its key's value is one, and as floating point where that is.

    What is no value that the key takes stays as it is: the trial refuses it by its name.
    """
    if not _is_number(value):
        return search
    kind = type(value)

    def changed(each: Any) -> Any:
        if isinstance(each, tuple):
            return tuple(map(changed, each))
        return kind(each) if _is_number(each) and kind(each) == each else each

    return type(search).model_validate({name: changed(each) for name, each in search.model_dump().items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distribution(search: Search) -> BaseDistribution:
    """Return Optuna's name for the values that a key may take."""
    match search:
        case Choices():
            return CategoricalDistribution(search.choices)
        case Steps(low=int(), high=int(), step=int()):
            return IntDistribution(int(search.low), int(search.high), step=int(search.step))
        case Steps():
            return FloatDistribution(search.low, search.high, step=search.step)
        case Range(low=int(), high=int()):
            return IntDistribution(int(search.low), int(search.high), log=search.log)
    return FloatDistribution(search.low, search.high, log=search.log)


def suggested(trial: Suggests, space: Mapping[str, Search]) -> dict[str, Any]:
    """Ask a trial for a value of each key."""
    values: dict[str, Any] = {}
    for key, search in space.items():
        match distribution(search):
            case FloatDistribution() as found:
                values[key] = trial.suggest_float(key, found.low, found.high, step=found.step, log=found.log)
            case IntDistribution() as found:
                values[key] = trial.suggest_int(key, found.low, found.high, step=found.step, log=found.log)
            case CategoricalDistribution() as found:
                values[key] = trial.suggest_categorical(key, found.choices)
    return values


def tidy(value: Any) -> Any:
    """Round what steps of 0.1 add up to: 0.30000000000000004."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def tuned_row(row: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Lay chosen values over a row of `experiments`: the variant, and its overrides.

    Parameters
    ----------
    row
        As params.yaml has it.
    chosen
        A value for each searched key.

    Returns
    -------
    dict
        The row that trains with these values.
    """
    overrides: Any = row["overrides"]
    for key, value in chosen.items():
        if key == VARIANT:
            row = {**row, "variant": value}
            continue
        change = tidy(value)
        for part in reversed(key.split(".")):
            change = {part: change}
        overrides = merged(overrides, change)
    return {**row, "overrides": overrides}


def trial_params(
    values: Mapping[str, Any], experiment: str, chosen: Mapping[str, Any], source: str
) -> TrainStageParams:
    """Return the parameters that one trial trains with, checked.

    Parameters
    ----------
    values
        The content of a whole params.yaml.
    experiment
        A row of `experiments`.
    chosen
        A value for each searched key.
    source
        What to call them in a message.

    Raises
    ------
    ParamsError
        When a key is not known or a value is out of its range.
    """
    row = tuned_row(values["experiments"][experiment], chosen)
    stage = {"preprocess": values["preprocess"], "train": values["train"], "experiment": row}
    return checked(TrainStageParams, stage, source)


def check_space(space: Mapping[str, Search], values: Mapping[str, Any], experiment: str, source: str) -> None:
    """Check every key, and each one's ends or choices with all others as they are.

    Ranges are taken to be whole: what both ends may be, everything between may be.

    Raises
    ------
    ParamsError
        Naming the key and the value.
    """
    for key, search in space.items():
        if key != VARIANT and key.partition(".")[0] not in ("preprocess", "train"):
            raise ParamsError(
                f"{source}: tune.space takes keys of preprocess and train, and {VARIANT}. Received: {key!r}"
            )
        ends = search.choices if isinstance(search, Choices) else (search.low, search.high)
        for value in ends:
            trial_params(values, experiment, {key: value}, f"{source}: tune.space.{key} at {value!r}")


def starting_point(space: Mapping[str, Search], params: TrainStageParams) -> dict[str, Any]:
    """Return the experiment's own value of each searched key, where it lies in the space."""
    dumped = params.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, search in space.items():
        value: Any = dumped
        for part in key.split("."):
            value = value[part]
        if _holds(search, value):
            found[key] = value
    return found


def _holds(search: Search, value: Any) -> bool:
    if isinstance(search, Choices):
        return value in [choice for choice in search.choices if type(choice) is type(value)]
    if isinstance(value, bool) or not isinstance(value, int | float) or not search.low <= value <= search.high:
        return False
    if isinstance(distribution(search), IntDistribution) and not isinstance(value, int):
        return False
    steps = Decimal(str(value)) - Decimal(str(search.low))
    return not isinstance(search, Steps) or steps % Decimal(str(search.step)) == 0


def variants(space: Mapping[str, Search], params: TrainStageParams) -> list[str]:
    """Return the variants whose images a study needs."""
    search = space.get(VARIANT)
    return [str(choice) for choice in search.choices] if isinstance(search, Choices) else [params.experiment.variant]


def identity(
    space: Mapping[str, Search], params: TrainStageParams, metric: str, data: Mapping[str, str]
) -> dict[str, str]:
    """Return what all trials of a study must share to be comparable, as texts under dotted names.

    Parameters
    ----------
    space
        What is searched.
    params
        The experiment as it is; its values that are not searched belong to the identity.
    metric
        What trials are ranked by.
    data
        Digests of the images and splits.
    """
    fixed = params.model_dump(mode="json")
    del fixed["experiment"]["overrides"]  # they are applied
    texts = {f"space.{key}": _text(search.model_dump(mode="json")) for key, search in space.items()}
    for key, value in chain.from_iterable(_leaves(part, section) for section, part in fixed.items()):
        if key not in space and is_used(key, params):
            texts[key] = _text(value)
    return {**texts, "metric": metric, **{f"data.{name}": digest for name, digest in data.items()}}


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Say, key by key, how two identities differ."""
    keys = [*here, *(key for key in there if key not in here)]
    return [
        f"{key}: {there.get(key, 'nothing')} there, {here.get(key, 'nothing')} here"
        for key in keys
        if there.get(key) != here.get(key)
    ]


def best_profile(experiments: Mapping[str, Any], experiment: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile that gives an experiment its chosen values.

    The whole table of experiments is in it, because a profile replaces that table whole.
    """
    return {"experiments": {**experiments, experiment: tuned_row(experiments[experiment], chosen)}}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _leaves(values: Any, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        return [(prefix, values)]
    return [leaf for key, value in values.items() for leaf in _leaves(value, f"{prefix}.{key}")]
