"""The values of params.yaml, checked and frozen: one model per section, no default in code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from galmorph.errors import ParamsError

Label = Literal["Elliptical", "Other"]
Variant = Literal["raw", "median", "bilateral", "nlm", "tv", "wavelet"]
Architecture = Literal["baseline_cnn", "regularised_cnn", "vgg16", "resnet50", "vit"]
Phase = Literal["scratch", "frozen", "finetune"]
Band = Literal["g", "i", "H"]
DiscType = Literal["S0", "Sa", "Sbc", "Scd", "Im"]
Model = TypeVar("Model", bound="Section")
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of params.yaml: frozen, and every key is known and given."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LuptonParams(Section):
    """Stretch and Q of the asinh colour image of Lupton et al. (2004), doi:10.1086/382245."""

    stretch: PositiveFloat
    q: PositiveFloat


class SimulateParams(Section):
    """How galaxies are simulated; see `galmorph.data.simulate`."""

    galaxies: Positive
    seed: Annotated[int, Field(ge=0)]
    elliptical_fraction: Share
    disc_types: dict[DiscType, Annotated[float, Field(ge=0)]]
    radius: tuple[PositiveFloat, PositiveFloat]
    size: Annotated[int, Field(ge=32)]
    pixel_scale: PositiveFloat
    psf_fwhm: dict[Band, tuple[PositiveFloat, PositiveFloat]]
    sky_noise: dict[Band, float]
    noise_scatter: Annotated[float, Field(ge=0)]
    sky_scatter: Annotated[float, Field(ge=0)]
    neighbours: Annotated[float, Field(ge=0)]
    stars: Annotated[float, Field(ge=0)]
    blank_fraction: Share
    scale: dict[Band, PositiveFloat]
    pedestal: Annotated[float, Field(ge=0)]
    lupton: LuptonParams
    keep_noise_free: bool

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given: dict[str, Mapping[Band, Any]] = {
            "psf_fwhm": self.psf_fwhm,
            "sky_noise": self.sky_noise,
            "scale": self.scale,
        }
        for name, bands in given.items():
            if missing := [band for band in get_args(Band) if band not in bands]:
                raise ValueError(f"{name} needs a value for each of g, i, H; missing: {', '.join(missing)}")
        ranges: dict[str, tuple[float, float]] = {"radius": self.radius}
        ranges.update({f"psf_fwhm.{band}": width for band, width in self.psf_fwhm.items()})
        for name, (low, high) in ranges.items():
            if low > high:
                raise ValueError(f"{name}: the first value must not be above the second. Received: {low}, {high}")
        if sum(self.disc_types.values()) <= 0:
            raise ValueError("disc_types needs a type with a share above 0")
        return self


class ArchiveColumns(Section):
    """Names of the label file's columns."""

    id: str
    label: str


class ArchiveParams(Section):
    """What a folder or archive of labelled images looks like; see `galmorph.data.archive`."""

    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    patterns: Annotated[tuple[str, ...], Field(min_length=1)]
    columns: ArchiveColumns
    coding: Annotated[dict[str, Label], Field(min_length=1)]

    @model_validator(mode="after")
    def _patterns_name_the_galaxy(self) -> Self:
        if wrong := [pattern for pattern in self.patterns if pattern.count("{CATAID}") != 1]:
            raise ValueError(f"each of patterns must hold {{CATAID}} once. Received: {', '.join(wrong)}")
        return self


class SkyParams(Section):
    """How a band's sky level and flux unit are found; see `galmorph.data.bands`."""

    border: Annotated[float, Field(gt=0, le=0.5)]
    noise: dict[Band, PositiveFloat]
    pedestal: Annotated[float, Field(ge=0)]


class CutoutColumns(Section):
    """Names of the catalogue's columns."""

    id: str
    ra: str
    dec: str
    label: str
    hubble_type: str


class CutoutsParams(Section):
    """How cutouts are fetched for a catalogue; see `galmorph.data.cutouts`."""

    service: str
    surveys: dict[Band, str]
    size: Positive
    pixel_scale: PositiveFloat
    lupton: LuptonParams
    scale: dict[Band, PositiveFloat]
    unit: dict[Band, PositiveFloat | None]
    sky: SkyParams
    columns: CutoutColumns
    coding: dict[str, Label]
    hubble_types: dict[int, Label | None]
    parallel: Annotated[int, Field(ge=1, le=4)]
    timeout: PositiveFloat
    retries: Annotated[int, Field(ge=0)]
    backoff: Annotated[float, Field(ge=0)]
    max_wait: PositiveFloat
    give_up_after: Positive

    @model_validator(mode="after")
    def _every_band(self) -> Self:
        given: dict[str, Mapping[Band, Any]] = {
            "surveys": self.surveys,
            "scale": self.scale,
            "unit": self.unit,
            "sky.noise": self.sky.noise,
        }
        for name, bands in given.items():
            if missing := [band for band in get_args(Band) if band not in bands]:
                raise ValueError(f"{name} needs a value for each of g, i, H; missing: {', '.join(missing)}")
        return self


class AcquireParams(Section):
    """Where galaxies come from."""

    source: Literal["simulate", "archive", "cutouts"]
    path: Path
    max_pixels: Positive
    simulate: SimulateParams
    archive: ArchiveParams
    cutouts: CutoutsParams


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


class EvaluateParams(Section):
    """How a model is scored; see `galmorph.evaluation`."""

    batch_size: Positive
    bootstrap: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: int
    calibration_bins: Positive


class CompareParams(Section):
    """How the experiments are ranked."""

    select_by: Literal["loss", "accuracy"]


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


class CompareStageParams(Section):
    """What `galmorph compare` needs: the table of experiments names the rows, `register` what may be chosen."""

    compare: CompareParams
    # A field named `register` would hide a method of every class (`abc.ABCMeta.register`); the same for `validate`.
    register_: Annotated[RegisterParams, Field(alias="register")]
    experiments: dict[str, ExperimentParams]


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
    explain: ExplainParams
    register_: Annotated[RegisterParams, Field(alias="register")]


def merged(base: Any, changes: Any) -> Any:
    """Lay `changes` over `base`, mapping by mapping; anything but a mapping is replaced whole."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


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


def with_overrides(values: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Lay `section.key=value` assignments over values; the right-hand side is read as YAML.

    Raises
    ------
    ParamsError
        When an assignment has no `=`.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise ParamsError(f"--set takes section.key=value. Received: {assignment!r}")
        try:
            change = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise ParamsError(f"--set {name}: the value is not valid YAML. Received: {text!r}") from error
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
        Naming each key that is unknown, missing or of the wrong type.
    """
    params = checked(Params, values, source)
    for name, experiment in values["experiments"].items():
        stage = {"preprocess": values["preprocess"], "train": values["train"], "experiment": experiment}
        checked(TrainStageParams, stage, f"{source}: experiments.{name} with its overrides")
    return params


def checked(model: type[Model], values: Any, source: str) -> Model:
    """Build a section's model, or say which keys are wrong and what is known there."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(model, detail) for detail in error.errors())
        raise ParamsError(f"{source}: {problems}") from error


def _problem(model: type[Section], detail: Any) -> str:
    location = detail["loc"]
    name = ".".join(str(part) for part in location) or "values"
    if detail["type"] == "extra_forbidden":
        return f"{name}: unknown key. Known here: {', '.join(_known_keys(model, location[:-1]))}"
    if detail["type"] == "missing":
        return f"{name}: missing key"
    return f"{name}: {detail['msg']}. Received: {detail['input']!r:.80}"


def _known_keys(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the model at `location`; steps that are not fields (list items, unions) are passed over."""
    here: type[Section] | None = model
    for step in location:
        fields = {field.alias or name: field for name, field in here.model_fields.items()} if here else {}
        if step in fields:
            annotation = fields[str(step)].annotation
            here = next((found for found in _models_in(annotation)), None)
    return sorted(field.alias or name for name, field in here.model_fields.items()) if here else []


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
