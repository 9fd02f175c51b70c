"""How answers are explained, and how explanations are checked."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from galmorph.params.base import NotNegative, Positive, PositiveFloat, Section, Share
from galmorph.params.evaluation import Confidence
from galmorph.params.preparation import DenoiseParams

Method = Literal[
    "grad_cam",
    "grad_cam_tv",
    "grad_cam_plus_plus",
    "integrated_gradients",
    "integrated_gradients_denoised",
    "smooth_grad",
    "lime",
    "occlusion",
    "attention_rollout",
]
#: What an image is replaced by where it shall carry nothing: black, the image's own sky, or the image blurred.
Baseline = Literal["black", "sky", "blurred"]


class SampleParams(Section):
    """Which galaxies of a split are explained with pictures.

    Attributes
    ----------
    cataids
        These, whatever the model says of them.
    indices
        Places in the split's table, from 0, in order of CATAID.
    most_confident, most_wrong, borderline, random
        How many of each kind.
    """

    cataids: tuple[str, ...]
    indices: tuple[NotNegative, ...]
    most_confident: NotNegative
    most_wrong: NotNegative
    borderline: NotNegative
    random: NotNegative


class PictureParams(Section):
    """How a heat map is drawn: a matplotlib colour map, and its opacity over the cutout."""

    colour_map: str
    alpha: Share


class ActivationsParams(Section):
    """Which convolutions are shown filter by filter.

    Attributes
    ----------
    layers
        These layers, by name; none: the `first` and the `last` so many convolutions.
    filters
        At most so many of a layer are drawn; all are counted.
    """

    layers: tuple[str, ...]
    first: NotNegative
    last: NotNegative
    filters: Positive


class GradCamParams(Section):
    """Grad-CAM; see `galmorph.explain.grad_cam`.

    Attributes
    ----------
    layer
        Name of a convolution, or of an activation after one; None: the last convolution, after the ReLU that follows.
    tv_weight
        Of the total-variation denoised version, for maps in [0, 1].
    """

    layer: str | None
    tv_weight: PositiveFloat


class NoiseReductionParams(DenoiseParams):
    """How a noisy attribution is smoothed; see `galmorph.explain.noise_reduction`.

    Attributes
    ----------
    method
        `gaussian` (of `sigma` pixels), or one of the five denoisers, with values of their own.
    """

    method: Literal["gaussian", "median", "bilateral", "nlm", "tv", "wavelet"]
    sigma: PositiveFloat


class IntegratedGradientsParams(Section):
    """Integrated Gradients; see `galmorph.explain.integrated_gradients`.

    Attributes
    ----------
    steps, max_steps
        Points of the path: at first, and at most, where the attributions do not add up.
    tolerance
        How far the attributions' sum may lie from the difference of the logits, as a share of it.
    """

    baseline: Baseline
    steps: Positive
    max_steps: Positive
    tolerance: PositiveFloat
    noise_reduction: NoiseReductionParams

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_steps < self.steps:
            raise ValueError(f"max_steps must be at least steps, {self.steps}. Received: {self.max_steps}")
        return self


class SmoothGradParams(Section):
    """SmoothGrad: so many noisy copies of an image; the noise's standard deviation as a share of the image's range."""

    samples: Positive
    noise: PositiveFloat


class LimeParams(Section):
    """LIME; see `galmorph.explain.lime`.

    Attributes
    ----------
    superpixels
        `annuli`: elliptical annuli around the galaxy's centre, cut into sectors; `slic`: by colour.
    samples
        Images with some super-pixels hidden.
    annuli, sectors
        How many.
    segments, compactness
        Of SLIC.
    hidden
        What a hidden super-pixel shows.
    """

    superpixels: Literal["annuli", "slic"]
    samples: Annotated[int, Field(ge=10)]
    annuli: Positive
    sectors: Positive
    segments: Annotated[int, Field(ge=2)]
    compactness: PositiveFloat
    hidden: Baseline


class OcclusionParams(Section):
    """Occlusion: side of the square that is hidden and how far it moves, as shares of the image's side."""

    patch: Annotated[float, Field(gt=0, le=1)]
    stride: Annotated[float, Field(gt=0, le=1)]
    hidden: Baseline


class RandomisationParams(Section):
    """The model-randomisation check.

    Attributes
    ----------
    galaxies
        At most so many.
    stages
        Into how many steps the cascade is cut at which maps are made again; every layer is randomised.
    max_correlation
        A method whose maps still have this mean rank correlation with the true model's fails.
    """

    galaxies: Positive
    stages: Positive
    max_correlation: Share


class FaithfulnessParams(Section):
    """How explanations are checked; see `galmorph.explain.faithfulness`.

    Attributes
    ----------
    galaxies
        At most so many of the split, by a hash of the seed and the id; null: all of them.
    bootstrap, confidence
        Of the intervals.
    hidden
        What deletion, insertion and MuFidelity put in place of pixels.
    steps
        Of the deletion and insertion curves.
    subsets, cells, share
        Of MuFidelity: how many sets of cells are hidden, cells a side, share of the cells hidden at a time.
    noise, noisy_copies
        Of the sensitivity: standard deviation, of 255, and how many copies of an image.
    max_listed
        How many galaxies that are explained by their neighbours or a blank channel are listed.
    """

    galaxies: Positive | None
    bootstrap: Positive
    confidence: Confidence
    hidden: Baseline
    steps: Annotated[int, Field(ge=2)]
    subsets: Annotated[int, Field(ge=4)]
    cells: Annotated[int, Field(ge=2)]
    share: Annotated[float, Field(gt=0, lt=1)]
    noise: PositiveFloat
    noisy_copies: Positive
    max_listed: NotNegative
    randomisation: RandomisationParams


class ExplainParams(Section):
    """What is explained, how it is shown and how it is checked; see `galmorph.explain`."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    split: Literal["train", "validation", "test"]
    sample: SampleParams
    seed: int
    batch_size: Positive
    picture: PictureParams
    activations: ActivationsParams
    grad_cam: GradCamParams
    integrated_gradients: IntegratedGradientsParams
    smooth_grad: SmoothGradParams
    lime: LimeParams
    occlusion: OcclusionParams
    faithfulness: FaithfulnessParams
