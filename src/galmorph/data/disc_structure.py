"""What a disc has beside its smooth light: spiral arms, a bar, clumps and knots of young stars.

It is made pixel by pixel, as surface brightness before the point-spread function, and is added to the smooth disc.
"""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from galmorph.data.galaxy import BANDS, Galaxy, Stream, random_stream, relative_size
from galmorph.params import SimulateParams

#: Half-light radius over scale length of an exponential disc.
HALF_LIGHT = 1.6783469900166605
#: By band g, i, H: arms and clumps are young and blue, they stand out less in H.
_ARM_CONTRAST = np.array([1.05, 1.0, 0.85])
#: Mean share of one knot in the disc's light, by band: star-forming regions are far bluer than the disc.
_KNOT_SHARE = np.array([0.0085, 0.0065, 0.004])
_KNOT_FWHM = (0.5, 1.3)  # arcsec
#: The most of its own light that a disc loses between its arms.
_DEEPEST = -0.95
#: Arms start at this many scale lengths; inside it they fade, as ln r winds up without end there.
_ARM_START = 0.7
_BAR_LENGTH, _BAR_WIDTH = 0.8, 0.2  # Gaussian widths, scale lengths
#: Scale lengths beyond which a disc is not drawn; it is far below the sky noise there.
_REACH = 8.0


def has_structure(galaxy: Galaxy) -> bool:
    """Whether the galaxy has anything that `disc_structure` would draw."""
    return galaxy.arms > 0 or galaxy.bar > 0 or galaxy.clumpiness > 0 or galaxy.knots > 0


def knot_shares(galaxy: Galaxy) -> np.ndarray:
    """Return the share of the disc's light that is in knots, by band: `(3,)` float64, at most a half."""
    shares: np.ndarray = np.minimum(_KNOT_SHARE * galaxy.knots, 0.5)
    return shares


def disc_structure(galaxy: Galaxy, disc_flux: np.ndarray, params: SimulateParams) -> np.ndarray:
    """Return arms, bar, clumps and knots as surface brightness to be added to the smooth disc.

    Arms are the disc times `A cos(m (θ − ln(r / r₀) / tan p))` in the plane of the disc: logarithmic spirals with `m`
    arms and pitch angle `p`.

    Parameters
    ----------
    galaxy
        With a disc.
    disc_flux
        `(3,)` total flux of the disc in g, i and H, any unit.
    params
        `size` and `pixel_scale` say where the pixels are.

    Returns
    -------
    numpy.ndarray
        `(3, N, N)` float32, unit of `disc_flux` per arcsec², the pixels at the centre of the frame (N ≤ size) that the
        disc reaches; row 0 at the lower edge. Sums to about the flux of bar and knots: arms and clumps move light and
        add none.
    """
    rng = random_stream(galaxy.seed, galaxy.index, Stream.STRUCTURE)
    scale_length = galaxy.r_e / HALF_LIGHT
    pixels = params.size - 2 * disc_margin(galaxy, params)
    offsets = ((np.arange(pixels) - (pixels - 1) / 2) * params.pixel_scale).astype(np.float32)  # arcsec from the centre
    along, across = _disc_plane(galaxy, offsets / scale_length)  # scale lengths
    radius = np.hypot(along, across)
    modulation = _arms(galaxy, along, across, radius) + _clumps(galaxy, scale_length / params.pixel_scale, radius, rng)
    modulation *= _visibility(galaxy.inclination)
    bar = _bar(galaxy, along, across) / (scale_length**2 * galaxy.axis_ratio)
    knots = _knots(galaxy, scale_length, offsets, rng)
    structure = np.empty((len(BANDS), pixels, pixels), np.float32)
    for index, band in enumerate(BANDS):
        knot_share = float(knot_shares(galaxy)[index])
        size = relative_size(galaxy, band)
        per_area = (1 - galaxy.bar - knot_share) / (2 * math.pi * (scale_length * size) ** 2 * galaxy.axis_ratio)
        disc = per_area * np.exp(radius * (-1 / size))
        moved = disc * np.maximum(float(_ARM_CONTRAST[index]) * modulation, _DEEPEST)
        structure[index] = float(disc_flux[index]) * (moved + bar + knot_share * knots)
    return structure


def disc_margin(galaxy: Galaxy, params: SimulateParams) -> int:
    """Return how many pixels at each edge of the frame the galaxy's disc does not reach."""
    reach = _REACH * galaxy.r_e / HALF_LIGHT * max(relative_size(galaxy, band) for band in BANDS)
    return max((params.size - 2 * math.ceil(reach / params.pixel_scale)) // 2, 0)


def _disc_plane(galaxy: Galaxy, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel lies in the plane of the disc."""
    x, y = offsets[None, :], offsets[:, None]
    angle = math.radians(galaxy.position_angle)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = (y * math.cos(angle) - x * math.sin(angle)) / galaxy.axis_ratio
    return along, across


def _visibility(inclination: float) -> float:
    """Return what is left of the contrast in a tilted disc: seen edge on, its thickness covers arms and gaps alike."""
    return min(max((math.cos(math.radians(inclination)) - 0.1) / 0.4, 0.0), 1.0)


def _arms(galaxy: Galaxy, along: np.ndarray, across: np.ndarray, radius: np.ndarray) -> np.ndarray | float:
    if galaxy.arms == 0:
        return 0.0
    winding = np.log(np.maximum(radius, 1e-3) / _ARM_START) / math.tan(math.radians(galaxy.pitch))
    phase = galaxy.arms * (np.arctan2(across, along) - winding) + galaxy.arm_phase
    fade = 1 - np.exp(-((radius / _ARM_START) ** 2))
    return np.asarray(galaxy.arm_strength * fade * np.cos(phase))


def _clumps(galaxy: Galaxy, scale_length: float, radius: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """Return irregular brightness: smoothed noise, and one side brighter than the other. `scale_length` in pixels."""
    if galaxy.clumpiness == 0:
        return 0.0
    field = gaussian_filter(rng.standard_normal(radius.shape, np.float32), max(1.5, 0.35 * scale_length), mode="wrap")
    return np.asarray(galaxy.clumpiness * field / field.std())


def _bar(galaxy: Galaxy, along: np.ndarray, across: np.ndarray) -> np.ndarray | float:
    """Return a bar in units of the disc's flux per scale length², seen face on; arms start at its ends."""
    if galaxy.bar == 0:
        return 0.0
    angle = -galaxy.arm_phase / max(galaxy.arms, 1)
    length = along * math.cos(angle) + across * math.sin(angle)
    width = across * math.cos(angle) - along * math.sin(angle)
    profile = np.exp(-0.5 * ((length / _BAR_LENGTH) ** 2 + (width / _BAR_WIDTH) ** 2))
    return np.asarray(galaxy.bar * profile / (2 * math.pi * _BAR_LENGTH * _BAR_WIDTH))


def _knots(galaxy: Galaxy, scale_length: float, offsets: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """Return knots per arcsec² and unit of their flux; they lie on the arms, where there are arms."""
    if galaxy.knots == 0:
        return 0.0
    image = np.zeros((offsets.size, offsets.size), np.float32)
    radius = rng.gamma(2.0, 1.0, galaxy.knots)  # scale lengths: as the light of an exponential disc is spread
    angle = rng.uniform(0, 2 * math.pi, galaxy.knots)
    if galaxy.arms:
        crest = rng.integers(0, galaxy.arms, galaxy.knots) * 2 * math.pi - galaxy.arm_phase
        angle = (crest + rng.normal(0, 0.4, galaxy.knots)) / galaxy.arms
        angle += np.log(np.maximum(radius, 0.1) / _ARM_START) / math.tan(math.radians(galaxy.pitch))
    share = rng.lognormal(0, 0.7, galaxy.knots)
    width = rng.uniform(*_KNOT_FWHM, galaxy.knots) / 2.3548
    turn = math.radians(galaxy.position_angle)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * galaxy.axis_ratio
    x = scale_length * (along * math.cos(turn) - across * math.sin(turn))
    y = scale_length * (along * math.sin(turn) + across * math.cos(turn))
    for knot in range(galaxy.knots):
        columns = np.exp(-0.5 * ((offsets - x[knot]) / width[knot]) ** 2)
        rows = np.exp(-0.5 * ((offsets - y[knot]) / width[knot]) ** 2)
        # A Gaussian is a product, and far from its centre it is nothing: only the rows it reaches are touched.
        reached = rows > 1e-6
        image[reached] += (
            share[knot] / share.sum() / (2 * math.pi * width[knot] ** 2) * np.outer(rows[reached], columns)
        )
    return image
