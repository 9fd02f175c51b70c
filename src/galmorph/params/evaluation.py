"""How models are scored, compared and registered."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from galmorph.params.base import Architecture, Positive, PositiveFloat, Section, Share
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
    """How a model is evaluated; see `galmorph.evaluation`.

    Attributes
    ----------
    reference_bins
        Parts of as many galaxies each that `galmorph.evaluation.reference` cuts each quantity into.
    """

    slices: SliceParams
    shortcuts: ShortcutParams
    reference_bins: Annotated[int, Field(ge=2)]


class RobustnessParams(Section):
    """How far the cutouts of the chosen model are degraded; see `galmorph.evaluation.degrade`.

    Attributes
    ----------
    galaxies, seed
        At most so many of the scored split, drawn by a hash of the seed and the id.
    zoom
        Apparent sizes: at 2 the galaxy looks twice as large.
    flat_zoom
        Between these the summary looks for the largest loss.
    rotation
        Degrees, anticlockwise.
    brightness
        What the image is multiplied by.
    noise
        Standard deviation of what is added, of 255.
    blur
        Standard deviation of a Gaussian, pixels of the full frame.
    jpeg
        Quality, of 100.
    padding
        Sides of the frame after it was surrounded with black, in its own.
    """

    galaxies: Positive
    seed: int
    batch_size: Positive
    bootstrap: Positive
    confidence: Confidence
    zoom: tuple[Annotated[float, Field(ge=0.1, le=10)], ...]
    flat_zoom: tuple[PositiveFloat, PositiveFloat]
    rotation: tuple[Annotated[float, Field(ge=-180, le=180)], ...]
    brightness: tuple[PositiveFloat, ...]
    noise: tuple[PositiveFloat, ...]
    blur: tuple[PositiveFloat, ...]
    jpeg: tuple[Annotated[int, Field(ge=1, le=100)], ...]
    padding: tuple[Annotated[float, Field(gt=1, le=4)], ...]

    @model_validator(mode="after")
    def _something_to_measure(self) -> Self:
        low, high = self.flat_zoom
        if not any(low <= zoom <= high for zoom in self.zoom):
            raise ValueError(
                f"zoom must have a level within flat_zoom, {low:g} to {high:g}. Received: {list(self.zoom)}"
            )
        return self


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


class RegisterParams(Section):
    """Which model is registered, as what, and how it answers; see `galmorph.models.pyfunc`.

    Attributes
    ----------
    model, alias
        The registered model, and the alias that its newest version gets.
    architecture
        Of the model that may be registered.
    batch_size
        Images that a version answers at a time.
    max_pixels
        Larger images are not decoded.
    """

    model: Annotated[str, Field(pattern=r"^[^/:@]+$")]
    architecture: Architecture | Literal["any"]
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")]
    batch_size: Positive
    max_pixels: Positive


class CompareStageParams(Section):
    """What `galmorph compare` needs: the table of experiments names the rows, `register` what may be chosen."""

    compare: CompareParams
    evaluate: EvaluateParams
    # A field named `register` would hide a method of every class (`abc.ABCMeta.register`); the same for `validate`.
    register_: Annotated[RegisterParams, Field(alias="register")]
    experiments: dict[str, ExperimentParams]
