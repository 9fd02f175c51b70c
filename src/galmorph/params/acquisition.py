"""Where galaxies come from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from galmorph.params.base import Band, DiscType, Label, Positive, PositiveFloat, Section, Share


def _naming_the_galaxy(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [pattern for pattern in patterns if pattern.count("{CATAID}") != 1]:
        raise ValueError(f"each of patterns must hold {{CATAID}} once. Received: {', '.join(wrong)}")
    return patterns


#: What an image is called, `{CATAID}` standing for the id; the first that finds one counts.
Patterns = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_naming_the_galaxy)]


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
    patterns: Patterns
    columns: ArchiveColumns
    coding: Annotated[dict[str, Label], Field(min_length=1)]


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
