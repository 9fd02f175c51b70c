"""What a model sees, how it is built, and how it learns."""

import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from galmorph.params.base import (
    Architecture,
    Fill,
    NotNegative,
    NotNegativeFloat,
    Phase,
    Positive,
    PositiveFloat,
    Section,
    Share,
    Variant,
    merged,
)


class PreprocessParams(Section):
    """What of a cutout the model sees; stored with the model. See `galmorph.data.dataset`."""

    crop: Annotated[float, Field(gt=0, le=1)]
    image_size: Annotated[int, Field(ge=8)]


class AugmentationParams(Section):
    """Random transforms of the training images; see `galmorph.data.augmentation`.

    Attributes
    ----------
    rotation, shift, shear, zoom
        In the conventions of Keras's ImageDataGenerator: degrees either way, share of the side either way, degrees
        either way, and what each axis by itself is stretched by, either way.
    quarter_turns, horizontal_flip, vertical_flip
        Whether images are also turned by a multiple of 90°, and mirrored.
    scale
        The apparent size of a galaxy is multiplied by a number between these, both axes together, its logarithm
        uniform.
    context
        How much more of the frame than the model sees is at hand, so that a galaxy is turned and shrunk into its own
        surroundings; 1 for none. Past what is there, edge pixels are repeated (`fill: nearest`) or black.
    brightness
        Of the natural logarithm of what the image is multiplied by, either way.
    noise
        Largest standard deviation of the added noise, of 255.
    """

    rotation: Annotated[float, Field(ge=0, le=180)]
    quarter_turns: bool
    shift: Share
    shear: Annotated[float, Field(ge=0, lt=90)]
    zoom: Annotated[float, Field(ge=0, lt=1)]
    scale: tuple[PositiveFloat, PositiveFloat]
    context: Annotated[float, Field(ge=1, le=4)]
    horizontal_flip: bool
    vertical_flip: bool
    brightness: NotNegativeFloat
    noise: NotNegativeFloat
    fill: Fill

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: the first value must not be above the second. Received: {self.scale}")
        return self


def strengthened(augmentation: AugmentationParams, strength: float) -> AugmentationParams:
    """Multiply the ranges of an augmentation.

    Parameters
    ----------
    augmentation
        Its rotation, shift, shear, zoom, logarithm of scale, brightness and noise are multiplied; what is on or off,
        context and fill stay as they are.
    strength
        0 leaves flips and quarter turns only, 1 everything as it is. A range ends at the largest value it may have.
    """
    changes = {
        "rotation": min(180.0, strength * augmentation.rotation),
        "shift": min(1.0, strength * augmentation.shift),
        "shear": min(math.nextafter(90.0, 0.0), strength * augmentation.shear),
        "zoom": min(math.nextafter(1.0, 0.0), strength * augmentation.zoom),
        "scale": tuple(_power(bound, strength) for bound in augmentation.scale),
        "brightness": strength * augmentation.brightness,
        "noise": strength * augmentation.noise,
    }
    return AugmentationParams.model_validate({**augmentation.model_dump(), **changes})


def _power(bound: float, strength: float) -> float:
    """`bound ** strength`, ending where floating point numbers do."""
    steepness = abs(math.log(bound))
    return bound if steepness == 0 else bound ** min(strength, math.log(sys.float_info.max) / steepness)


class PhaseParams(Section):
    """Length, learning rate and its schedule of a training phase.

    Attributes
    ----------
    schedule
        `constant`, or `cosine`: falls to nearly 0 over the epochs.
    warmup
        Epochs over which the learning rate rises to its value.
    """

    epochs: Positive
    learning_rate: PositiveFloat
    schedule: Literal["constant", "cosine"]
    warmup: NotNegative

    @model_validator(mode="after")
    def _warm_in_time(self) -> Self:
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup must be less than epochs, {self.epochs}. Received: {self.warmup}")
        return self


class FrozenParams(PhaseParams):
    """The phase in which the backbone only extracts features, its batch normalisation in inference mode.

    Attributes
    ----------
    augment_views
        How many augmented views of each training image have their features computed once and reused, an epoch
        drawing one of them for each image; 0: the images as they are.
    """

    augment_views: NotNegative


class FinetuneParams(PhaseParams):
    """The phase in which the backbone learns too.

    Attributes
    ----------
    unfrozen
        `all` layers of the backbone, or the last n of them.
    batch_norm
        Whether the backbone's batch normalisation stays in inference mode, its weights untouched (`frozen`), or learns
        (`trained`). Without pretrained weights there is nothing to keep, and it is trained in any case.
    """

    unfrozen: Literal["all"] | Positive
    batch_norm: Literal["frozen", "trained"]


class CnnParams(Section):
    """Sizes of the convolutional networks; see `galmorph.models.cnn`.

    Attributes
    ----------
    convolutions
        In each block; the published networks have one.
    pooling
        What is between the last block and the head: `flatten`, as published, or the `average` over the image.
    """

    filters: Annotated[tuple[Positive, ...], Field(min_length=1)]
    convolutions: Positive
    pooling: Literal["flatten", "average"]
    dense_units: Positive
    block_dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]
    batch_norm_momentum: Annotated[float, Field(gt=0, lt=1)]


class TransferParams(Section):
    """VGG16 and ResNet50 under the study's head; see `galmorph.models.transfer`.

    Attributes
    ----------
    weights
        What the backbone starts from: `imagenet` (Keras fetches them), `none` (random: the frozen phase is then
        skipped), or the path of a weights file.
    scaling
        `backbone`: the `preprocess_input` that its ImageNet weights were trained with; `none`: raw pixels, as the
        published study fed them.
    """

    weights: str
    scaling: Literal["backbone", "none"]
    dense_units: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]


class VitParams(Section):
    """Sizes of the vision transformer; see `galmorph.models.vit`."""

    patch: Positive
    width: Positive
    depth: Positive
    heads: Positive
    mlp: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}. Received: {self.width}")
        return self


class LossParams(Section):
    """What training minimises.

    Attributes
    ----------
    name
        `cross_entropy`, or `generalised_cross_entropy` (Zhang & Sabuncu 2018, arXiv:1805.07836), which gives in to
        wrong labels less the nearer its `q` is to 1.
    label_smoothing
        Share of each target that is spread evenly over the two classes.
    """

    name: Literal["cross_entropy", "generalised_cross_entropy"]
    q: Annotated[float, Field(gt=0, le=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]


class OptimiserParams(Section):
    """What minimises it; `weight_decay` is decoupled (Loshchilov & Hutter 2019) and is adamw's alone."""

    name: Literal["adam", "adamw"]
    weight_decay: NotNegativeFloat


class TrainParams(Section):
    """How a model is trained; see `galmorph.models.train`.

    Attributes
    ----------
    augmentation
        A row of `augmentations`, or none; `augmentation_strength` multiplies all its ranges.
    precision
        `float32`, or `mixed`: float16 on a GPU, bfloat16 on a CPU that has it.
    xla
        Whether training steps are compiled by XLA.
    memory_share
        Of the memory that is free: images that need more are cached on disk.
    """

    seed: int
    batch_size: Positive
    class_weights: bool
    augmentation: str | None
    augmentation_strength: NotNegativeFloat
    augmentations: dict[str, AugmentationParams]
    loss: LossParams
    optimiser: OptimiserParams
    early_stopping: Positive
    precision: Literal["float32", "mixed"]
    xla: bool
    memory_share: Annotated[float, Field(gt=0, le=1)]
    cnn: CnnParams
    transfer: TransferParams
    vit: VitParams
    batch_norm_images: Positive
    scratch: PhaseParams
    frozen: FrozenParams
    finetune: FinetuneParams

    @model_validator(mode="after")
    def _known_augmentation(self) -> Self:
        if self.augmentation is not None and self.augmentation not in self.augmentations:
            known = ", ".join(self.augmentations) or "none"
            raise ValueError(f"augmentation must be null or one of augmentations: {known}")
        return self

    @property
    def transforms(self) -> AugmentationParams | None:
        """The row of `augmentations` that is chosen, its ranges times `augmentation_strength`."""
        if self.augmentation is None:
            return None
        return strengthened(self.augmentations[self.augmentation], self.augmentation_strength)


class ExperimentParams(Section):
    """A row of the study: what is trained on what, and how it departs from `preprocess` and `train`."""

    architecture: Architecture
    variant: Variant
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    overrides: dict[Literal["preprocess", "train"], dict[str, Any]]

    @model_validator(mode="after")
    def _each_phase_once(self) -> Self:
        if len(set(self.phases)) < len(self.phases):
            raise ValueError(f"phases: each must stand there once. Received: {', '.join(self.phases)}")
        return self


class TrainStageParams(Section):
    """What `galmorph train EXPERIMENT` needs; the experiment's overrides are applied on construction."""

    preprocess: PreprocessParams
    train: TrainParams
    experiment: ExperimentParams

    @model_validator(mode="before")
    @classmethod
    def _apply_overrides(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("experiment"), Mapping):
            return values
        overrides = values["experiment"].get("overrides") or {}
        return {key: merged(value, overrides.get(key, {})) for key, value in values.items()}
