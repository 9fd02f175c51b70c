"""What is tuned, how, and where the study is kept."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from galmorph.params.base import NotNegative, Positive, PositiveFloat, Section

_KEYS = frozenset({"low", "high", "log", "step", "choices"})


class Range(Section):
    """Any number from `low` to `high`; with `log` its logarithm is uniform. Whole numbers where the key takes them."""

    low: int | float
    high: int | float
    log: bool

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 where log is true")
        return self


class Steps(Section):
    """`low`, `low + step`, ... `high`. Whole numbers where the key takes them."""

    low: int | float
    high: int | float
    step: Annotated[int | float, Field(gt=0)]

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        low, high, step = (Decimal(str(value)) for value in (self.low, self.high, self.step))
        if low >= high:
            raise ValueError("low must be below high")
        if (high - low) % step:
            raise ValueError("high must be a whole number of steps above low")
        return self


class Choices(Section):
    """One of some values."""

    choices: Annotated[tuple[bool | int | float | str | None, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("each of choices must be there once")
        return self


def _kind(values: Any) -> str:
    keys = type(values).model_fields if isinstance(values, Section) else values if isinstance(values, Mapping) else ()
    return "choices" if "choices" in keys else "steps" if "step" in keys else "range"


def _flat(space: Any) -> Any:
    """Bring keys that `--set` has taken apart at their dots together again; what is null is not searched."""
    if not isinstance(space, Mapping):
        return space
    flat: dict[str, Any] = {}
    for key, value in _entries(space, ""):
        flat.pop(key, None)
        if value is not None:
            flat[key] = value
    return flat


def _entries(space: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in space.items():
        if isinstance(value, Mapping) and value and not _KEYS & value.keys():
            yield from _entries(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


#: The values that one key may take.
Search = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Steps, Tag("steps")] | Annotated[Choices, Tag("choices")],
    Discriminator(_kind),
]
Space = Annotated[dict[str, Search], BeforeValidator(_flat)]


class MedianPrunerParams(Section):
    """A trial ends when its best epoch so far is worse than the median of the others at that epoch.

    Attributes
    ----------
    startup_trials
        Finished trials before which nothing is pruned.
    warmup
        Epochs of each trial in which it is not pruned.
    """

    startup_trials: NotNegative
    warmup: NotNegative


class HyperbandPrunerParams(Section):
    """Successive halving in brackets of different patience (Li et al. 2018, arXiv:1603.06560).

    Attributes
    ----------
    warmup
        Epochs of each trial in which it is not pruned, in the bracket that prunes soonest.
    reduction
        A share of 1/reduction of the trials goes on at each halving.
    """

    warmup: Positive
    reduction: Annotated[int, Field(ge=2)]


class PrunerParams(Section):
    """Which trials are ended early; `none`: every one is trained to its end."""

    name: Literal["none", "median", "hyperband"]
    median: MedianPrunerParams
    hyperband: HyperbandPrunerParams


class HeartbeatParams(Section):
    """How a worker that died is noticed, on a database that several share.

    Attributes
    ----------
    interval, grace
        Seconds between two signs of life, and after the last one, until the trial is given up.
    """

    interval: Positive
    grace: Positive

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.grace <= self.interval:
            raise ValueError("grace must be longer than interval")
        return self


class TuneParams(Section):
    """A study: trials of one experiment with other values; see `galmorph.models.tune`.

    Attributes
    ----------
    experiment
        The row of `experiments` to start from.
    study, storage
        The study's name, and the URL of the database that keeps it.
    trials
        Of the whole study, over all its workers and runs.
    timeout
        Seconds after which a worker starts no further trial; null: none.
    metric
        Of validation, at the epoch whose weights would be kept.
    startup_trials
        Trials at random, before the sampler learns from them.
    retries
        How often a trial that was cut short is run again with the same values.
    space
        Which keys are searched, and where.
    """

    experiment: str
    study: Annotated[str, Field(min_length=1)]
    storage: Annotated[str, Field(min_length=1)]
    trials: NotNegative
    timeout: PositiveFloat | None
    seed: NotNegative
    metric: Literal["loss", "accuracy"]
    startup_trials: NotNegative
    pruner: PrunerParams
    heartbeat: HeartbeatParams
    retries: NotNegative
    space: Annotated[Space, Field(min_length=1)]
