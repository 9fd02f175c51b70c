"""What a model sees, how it is built, and how it learns."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from galmorph.params.base import Architecture, Phase, Positive, PositiveFloat, Section, Share, Variant, merged


class PreprocessParams(Section):
    """What of a cutout the model sees; stored with the model. See `galmorph.data.dataset`."""

    crop: Annotated[float, Field(gt=0, le=1)]
    image_size: Annotated[int, Field(ge=8)]


class AugmentationParams(Section):
    """Random transforms of the training images, in Keras's conventions."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Share
    shear: Annotated[float, Field(ge=0, lt=90)]
    zoom: Annotated[float, Field(ge=0, lt=1)]
    horizontal_flip: bool
    vertical_flip: bool


class PhaseParams(Section):
    """Length, learning rate and its schedule of a training phase."""

    epochs: Positive
    learning_rate: PositiveFloat
    schedule: Literal["constant", "cosine"]


class CnnParams(Section):
    """Sizes of the convolutional networks; see `galmorph.models.cnn`."""

    filters: Annotated[tuple[Positive, ...], Field(min_length=1)]
    dense_units: Positive
    block_dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]
    batch_norm_momentum: Annotated[float, Field(gt=0, lt=1)]


class TrainParams(Section):
    """How a model is trained; see `galmorph.models.train`."""

    seed: int
    batch_size: Positive
    class_weights: bool
    augmentation: AugmentationParams | None
    early_stopping: Positive
    cnn: CnnParams
    batch_norm_images: Positive
    scratch: PhaseParams
    frozen: PhaseParams
    finetune: PhaseParams


class ExperimentParams(Section):
    """A row of the study: what is trained on what, and how it departs from `preprocess` and `train`."""

    architecture: Architecture
    variant: Variant
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    overrides: dict[Literal["preprocess", "train"], dict[str, Any]]


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
