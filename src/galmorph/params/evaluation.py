"""How models are scored, compared, explained and registered."""

from typing import Annotated, Literal

from pydantic import Field

from galmorph.params.base import Architecture, Positive, Section, Share
from galmorph.params.training import ExperimentParams

Confidence = Annotated[float, Field(gt=0, lt=1)]


class ScoreParams(Section):
    """How answers are scored; see `galmorph.evaluation.metrics`."""

    batch_size: Positive
    bootstrap: Positive
    confidence: Confidence
    seed: int
    calibration_bins: Positive


class SliceParams(Section):
    """Which galaxies are looked at by themselves; see `galmorph.evaluation.slices`.

    Attributes
    ----------
    columns
        Of the manifest, beside blank channel, apparent size, brightness and nearness to the threshold. Numbers are cut
        into `quantiles` parts of as many galaxies each, text into its values.
    min_galaxies
        A slice with fewer, or that leaves fewer outside, is listed and not tested; values of a text column with fewer
        are taken together.
    near_threshold
        How far from 0.5 `p_elliptical` may lie for the answer to be a near thing.
    """

    columns: tuple[str, ...]
    quantiles: Annotated[int, Field(ge=2)]
    min_galaxies: Positive
    near_threshold: Annotated[float, Field(gt=0, lt=0.5)]


class ShortcutParams(Section):
    """How it is tested whether a model answers without looking at the galaxy; see `galmorph.evaluation.shortcut`.

    Attributes
    ----------
    galaxies
        At most so many of the scored split.
    margin
        How far around its segment a galaxy reaches with its faint wings, as a share of the frame's shorter side.
    """

    galaxies: Positive
    margin: Share


class EvaluateParams(ScoreParams):
    """How a model is evaluated; see `galmorph.evaluation`."""

    slices: SliceParams
    shortcuts: ShortcutParams


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
