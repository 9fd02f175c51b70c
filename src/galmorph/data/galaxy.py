"""What is true of a simulated galaxy, and the columns of the catalogue that say so."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from galmorph.params import Band, Label

GalaxyType = Literal["E", "S0", "Sa", "Sbc", "Scd", "Im"]
#: Axis 0 of an array of band images, blue to red.
BANDS: tuple[Band, ...] = ("g", "i", "H")
#: Size of a galaxy in each band over its size in i: from g to K the radii of ellipticals fall by 38 % and those of
#: discs by 25 % (Kelvin et al. 2012, arXiv:1112.1956), here with the logarithm of the wavelength.
_RELATIVE_SIZE: dict[Label, dict[Band, float]] = {
    "Elliptical": {"g": 1.159, "i": 1.0, "H": 0.787},
    "Other": {"g": 1.093, "i": 1.0, "H": 0.866},
}


class Stream(IntEnum):
    """Independent random numbers of one galaxy, so that a further draw in one place moves nothing in another."""

    PROPERTIES = 0
    STRUCTURE = 1
    SKY = 2


@dataclass(frozen=True)
class Companion:
    """A star (radius 0) or another galaxy in the frame.

    Attributes
    ----------
    x, y
        Offset from the centre of the frame, arcsec.
    magnitude, g_i, i_h
        i-band magnitude and colours, AB.
    r_e
        Half-light radius, arcsec.
    axis_ratio, position_angle
        Shape; degrees anticlockwise from the x axis.
    """

    x: float
    y: float
    magnitude: float
    g_i: float
    i_h: float
    r_e: float = 0.0
    axis_ratio: float = 1.0
    position_angle: float = 0.0


@dataclass(frozen=True)
class Galaxy:
    """The truth about one simulated cutout.

    Attributes
    ----------
    seed, index
        What it was drawn from.
    cataid, label, type
        Its id, its class and its Hubble type.
    magnitude, g_i, i_h
        Total i-band magnitude and colours, AB.
    r_e
        Half-light radius in i, arcsec: of the whole profile (E) or of the disc seen face on.
    sersic_n
        Index of the elliptical, or of the bulge; NaN without a bulge.
    bulge_fraction
        Share of the spheroid in the i-band light; 1 for an elliptical.
    bulge_r_e
        Half-light radius of the spheroid in i, arcsec; NaN without one.
    axis_ratio, inclination, thickness, position_angle
        Minor over major axis of the elliptical or the disc; of a disc also the inclination (degrees, 0 face on) and
        its scale height over scale length; direction of the major axis, degrees anticlockwise from the x axis.
    arms, pitch, arm_strength, arm_phase
        Number of spiral arms (0: none), pitch angle (degrees, negative when wound the other way), amplitude, and
        phase (radians).
    bar
        Share of the disc's light that is in a bar.
    clumpiness, knots
        Amplitude of irregular brightness of the disc, and number of star-forming knots.
    psf_g, psf_i, psf_h
        Full width at half maximum of the point-spread function, arcsec.
    noise
        Sky noise of this cutout over that of `SimulateParams.sky_noise`.
    sky_g, sky_i, sky_h
        What the survey left of the sky when it subtracted it, in units of `SimulateParams.sky_noise`.
    blank_h
        Whether the H band was not observed.
    companions
        Stars and other galaxies in the frame.
    """

    seed: int
    index: int
    cataid: str
    label: Label
    type: GalaxyType
    magnitude: float
    g_i: float
    i_h: float
    r_e: float
    sersic_n: float
    bulge_fraction: float
    bulge_r_e: float
    axis_ratio: float
    inclination: float
    thickness: float
    position_angle: float
    arms: int
    pitch: float
    arm_strength: float
    arm_phase: float
    bar: float
    clumpiness: float
    knots: int
    psf_g: float
    psf_i: float
    psf_h: float
    noise: float
    sky_g: float
    sky_i: float
    sky_h: float
    blank_h: bool
    companions: tuple[Companion, ...]


def random_stream(seed: int, index: int, stream: Stream) -> np.random.Generator:
    """Return the random numbers of one galaxy for one purpose; nothing else has the same."""
    return np.random.default_rng([seed, index, int(stream)])


def truth(galaxy: Galaxy) -> dict[str, object]:
    """Return the row of the catalogue: identity, label and the truth columns of a galaxy.

    Numbers are rounded to four decimals, angles and fluxes far below what an image shows.
    """
    row: dict[str, object] = {
        "CATAID": galaxy.cataid,
        "label": galaxy.label,
        "row": galaxy.index + 2,  # line 1 holds the names
        "rejected": "",
        "type": galaxy.type,
    }
    for name in (
        *("magnitude", "g_i", "i_h", "r_e", "sersic_n", "bulge_fraction", "bulge_r_e", "axis_ratio", "inclination"),
        *("position_angle", "arms", "pitch", "arm_strength", "bar", "clumpiness", "knots", "psf_g", "psf_i", "psf_h"),
        *("noise", "sky_g", "sky_i", "sky_h", "blank_h"),
    ):
        value = getattr(galaxy, name)
        row[name] = round(value, 4) if isinstance(value, float) else value
    stars = sum(companion.r_e == 0 for companion in galaxy.companions)
    return {**row, "neighbours": len(galaxy.companions) - stars, "stars": stars}


def cataid(seed: int, index: int) -> str:
    """Return the id of galaxy `index`: ten digits that say which seed and which galaxy, unique within a seed.

    Sets from different seeds seldom share an id, so that they can be put together.
    """
    return f"{1000 + seed % 9000:04d}{index:06d}"


def disc_axis_ratio(inclination: float, thickness: float) -> float:
    """Return the apparent axis ratio of a disc (Hubble 1926, doi:10.1086/143018): q² = cos²i + q₀² sin²i.

    Parameters
    ----------
    inclination
        Degrees; 0 is face on.
    thickness
        Axis ratio q₀ of the disc seen edge on.
    """
    tilt = math.radians(inclination)
    return math.hypot(math.cos(tilt), thickness * math.sin(tilt))


def band_magnitude(magnitude: float, g_i: float, i_h: float, band: Band) -> float:
    """Return the magnitude in a band from the one in i and the two colours."""
    return magnitude + {"g": g_i, "i": 0.0, "H": -i_h}[band]


def relative_size(galaxy: Galaxy, band: Band) -> float:
    """Return the galaxy's size in a band over its size in i."""
    return _RELATIVE_SIZE[galaxy.label][band]
