"""How models are scored, compared, explained and registered."""

from typing import Annotated, Literal

from pydantic import Field

from galmorph.params.base import Architecture, Positive, Section, Share
from galmorph.params.training import ExperimentParams


class EvaluateParams(Section):
    """How a model is scored; see `galmorph.evaluation`."""

    batch_size: Positive
    bootstrap: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: int
    calibration_bins: Positive


class CompareParams(Section):
    """How the experiments are ranked.

    Attributes
    ----------
    select_by
        What decides on validation.
    reference
        The experiment that the others are tested against: its name, or `chosen` for the one that was chosen.
    mistakes
        How many of the chosen experiment's most confident mistakes are shown.
    """

    select_by: Literal["loss", "accuracy"]
    reference: str
    mistakes: Annotated[int, Field(ge=0)]


class SampleParams(Section):
    """How many galaxies of each kind are explained."""

    most_confident: Annotated[int, Field(ge=0)]
    most_wrong: Annotated[int, Field(ge=0)]
    borderline: Annotated[int, Field(ge=0)]
    random: Annotated[int, Field(ge=0)]


class ExplainParams(Section):
    """What is explained, and how it is shown; see `galmorph.explain`."""

    methods: tuple[Literal["grad_cam"], ...]
    split: Literal["train", "validation", "test"]
    sample: SampleParams
    seed: int
    layer: str | None
    colour_map: str
    alpha: Share
    batch_size: Positive


class RegisterParams(Section):
    """Which model is registered, and as what."""

    model: str
    architecture: Architecture | Literal["any"]
    alias: str


class CompareStageParams(Section):
    """What `galmorph compare` needs: the table of experiments names the rows, `register` what may be chosen."""

    compare: CompareParams
    evaluate: EvaluateParams
    # A field named `register` would hide a method of every class (`abc.ABCMeta.register`); the same for `validate`.
    register_: Annotated[RegisterParams, Field(alias="register")]
    experiments: dict[str, ExperimentParams]
