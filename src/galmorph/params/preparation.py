"""What galaxies must be like, how they are split, and how their images are denoised."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from galmorph.params.base import Positive, PositiveFloat, Section, Share


class SkyField(Section):
    """A rectangle on the sky, degrees."""

    ra: tuple[float, float]
    dec: tuple[float, float]


class ValidateParams(Section):
    """What a galaxy must be like to be used; see `galmorph.data.validate`."""

    max_pixels: Positive
    min_side: Positive
    blank_contrast: Annotated[float, Field(ge=0)]
    max_saturated: Share
    footprint: Literal["gama", "any"] | tuple[SkyField, ...]
    class_share: tuple[Share, Share]
    hash_distance: Annotated[int, Field(ge=0, le=64)]
    duplicate_correlation: Share
    max_rejected: Share
    max_shortcut: Share
    montage: Positive


class Fractions(Section):
    """Shares of the galaxies; they add up to 1."""

    train: Share
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must add up to 1")
        return self


class SplitParams(Section):
    """How galaxies are assigned to train, validation and test; see `galmorph.data.split`."""

    method: Literal["stable", "published"]
    seed: int
    fractions: Fractions
    min_per_class: Positive
    max_imbalance: Share


class MedianParams(Section):
    """Median filter."""

    kernel: Annotated[int, Field(ge=3)]

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError("kernel must be odd")
        return self


class BilateralParams(Section):
    """Bilateral filter."""

    diameter: Positive
    sigma_colour: PositiveFloat
    sigma_space: PositiveFloat


class NlmParams(Section):
    """Non-local means."""

    strength: PositiveFloat
    template: Positive
    search: Positive

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.template % 2 == 0 or self.search % 2 == 0:
            raise ValueError("template and search must be odd")
        return self


class TvParams(Section):
    """Total variation."""

    weight: PositiveFloat
    tolerance: PositiveFloat
    max_iterations: Positive


class WaveletParams(Section):
    """Wavelet shrinkage."""

    wavelet: str
    levels: Positive
    mode: Literal["soft", "hard"]
    noise: Literal["white", "correlated"]


class DenoiseParams(Section):
    """One section per denoised variant; see `galmorph.data.denoise`."""

    median: MedianParams
    bilateral: BilateralParams
    nlm: NlmParams
    tv: TvParams
    wavelet: WaveletParams


DenoiserParams = MedianParams | BilateralParams | NlmParams | TvParams | WaveletParams
