"""Simulated galaxies: the properties of each, drawn from the seed and its index alone.

What is drawn here is the truth that goes into the catalogue; `galmorph.data.render` makes images of it. Galaxy `index`
is the same in whatever order, on however many cores and in however large a set it is made.

Two choices keep the classes from being told apart by one number. S0 and Sa galaxies have the colours of ellipticals,
and discs are seen at every inclination, from rounder than most ellipticals to edge on.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import get_args

import numpy as np

from galmorph.data.galaxy import (
    BANDS,
    Companion,
    Galaxy,
    GalaxyType,
    Stream,
    cataid,
    disc_axis_ratio,
    random_stream,
)
from galmorph.params import DiscType, Label, SimulateParams


@dataclass(frozen=True)
class _Recipe:
    """How the galaxies of one type are drawn; ranges are uniform, `(mean, scatter)` pairs are normal."""

    colours: tuple[float, float]  # g−i and i−H, AB magnitudes, whole galaxy seen face on
    surface_brightness: tuple[float, float]  # mean inside the half-light radius in i, AB mag/arcsec²: (mean, scatter)
    bulge: tuple[float, float]  # share of the light in i
    bulge_index: tuple[float, float]
    arm_strength: tuple[float, float] = (0.0, 0.0)
    pitch: tuple[float, float] = (10.0, 30.0)  # degrees
    clumpiness: tuple[float, float] = (0.0, 0.0)
    knots: float = 0.0  # mean number
    barred: float = 0.0  # share of the galaxies


#: Colours are those of template spectra of nearby E, Sbc, Scd and Im galaxies, AB; S0 and Sa take those of E.
_EARLY = (1.22, 0.82)
_DISCS: dict[DiscType, _Recipe] = {
    "S0": _Recipe(_EARLY, (20.2, 0.75), (0.25, 0.7), (1.5, 4.0), barred=0.3),
    "Sa": _Recipe(_EARLY, (20.2, 0.75), (0.2, 0.5), (1.5, 4.0), (0.3, 0.55), (10.0, 17.0), (0.0, 0.1), 2.0, 0.35),
    "Sbc": _Recipe(
        (0.83, 0.80), (20.3, 0.75), (0.08, 0.3), (1.0, 3.0), (0.5, 0.85), (12.0, 24.0), (0.1, 0.2), 8.0, 0.35
    ),
    "Scd": _Recipe(
        (0.59, 0.46), (20.5, 0.75), (0.0, 0.1), (1.0, 2.0), (0.5, 0.9), (16.0, 30.0), (0.15, 0.35), 14.0, 0.25
    ),
    "Im": _Recipe((0.38, 0.44), (20.8, 0.75), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), (10.0, 30.0), (0.4, 0.7), 12.0, 0.15),
}
_ELLIPTICAL = _Recipe(_EARLY, (19.6, 0.75), (1.0, 1.0), (2.5, 6.0))
_COLOUR_SCATTER = 0.1
#: Ellipticals: Sérsic index (mean, scatter) inside `_Recipe.bulge_index`, axis ratio (mean, scatter) inside a range.
_ELLIPTICAL_INDEX = (4.0, 1.0)
_ELLIPTICAL_AXIS_RATIO = (0.72, 0.18)
_ELLIPTICAL_AXIS_RANGE = (0.4, 1.0)
#: Indices come from a grid: the tables that GalSim needs for each then last for many galaxies.
_INDEX_STEP = 0.1
_THICKNESS = (0.20, 0.27)
#: Half-light radii are log-normal inside `SimulateParams.radius`: median in arcsec, and scatter of the logarithm.
_RADIUS_MEDIAN = {"Elliptical": 2.6, "Other": 3.0}
_RADIUS_SCATTER = 0.42
#: A dusty disc seen edge on is dimmer and redder, by 0.6 mag in g and 0.4 in i from face on to edge on (Masters et al.
#: 2010, arXiv:1001.1744): magnitudes in i, and of g−i, per decade of axis ratio. i−H is taken to redden as much.
_DUST_DIMMING, _DUST_REDDENING = 0.57, 0.29
_ARM_NUMBERS = ((2, 3, 4), (0.65, 0.2, 0.15))
_STAR_MAGNITUDES = (15.5, 22.5)
_NEIGHBOUR_MAGNITUDES = (17.5, 22.5)
#: Slope of log10(counts) with magnitude: faint objects are more frequent.
_STAR_SLOPE, _NEIGHBOUR_SLOPE = 0.15, 0.35


def draw_galaxy(index: int, params: SimulateParams) -> Galaxy:
    """Draw the properties of galaxy `index`.

    Parameters
    ----------
    index
        From 0. The result depends on it and on `params`, but not on `params.galaxies`.
    params
        The recipe's settings.

    Returns
    -------
    Galaxy
        Sizes in arcsec, magnitudes in AB, angles in degrees (`arm_phase` in radians).
    """
    rng = random_stream(params.seed, index, Stream.PROPERTIES)
    elliptical = rng.random() < params.elliptical_fraction
    blank_h = bool(rng.random() < params.blank_fraction)
    label: Label = "Elliptical" if elliptical else "Other"
    name: GalaxyType = "E" if elliptical else _choose(rng, params.disc_types)
    recipe = _ELLIPTICAL if name == "E" else _DISCS[name]
    r_e = _truncated_log_normal(rng, _RADIUS_MEDIAN[label], _RADIUS_SCATTER, params.radius)
    surface_brightness = rng.normal(*recipe.surface_brightness)
    position_angle = rng.uniform(0, 180)

    if elliptical:
        axis_ratio = _truncated_normal(rng, *_ELLIPTICAL_AXIS_RATIO, _ELLIPTICAL_AXIS_RANGE)
        inclination = thickness = math.nan
        sersic_n = _on_grid(_truncated_normal(rng, *_ELLIPTICAL_INDEX, recipe.bulge_index))
        bulge_fraction, bulge_r_e, dust = 1.0, r_e, 0.0
    else:
        thickness = rng.uniform(*_THICKNESS)
        inclination = math.degrees(math.acos(rng.uniform(0, 1)))
        axis_ratio = disc_axis_ratio(inclination, thickness)
        bulge_fraction = rng.uniform(*recipe.bulge)
        sersic_n = _on_grid(rng.uniform(*recipe.bulge_index)) if bulge_fraction > 0 else math.nan
        bulge_r_e = r_e * rng.uniform(0.15, 0.35) if bulge_fraction > 0 else math.nan
        dust = 0.0 if name == "S0" else math.log10(1 / axis_ratio)

    arms = int(rng.choice(_ARM_NUMBERS[0], p=_ARM_NUMBERS[1])) if recipe.arm_strength[1] > 0 else 0
    bar = rng.uniform(0.05, 0.15) if rng.random() < recipe.barred else 0.0
    seeing = rng.random()  # g and i are observed in much the same weather
    psf = {band: _between(params.psf_fwhm[band], seeing + rng.normal(0, 0.15)) for band in BANDS}
    return Galaxy(
        seed=params.seed,
        index=index,
        cataid=cataid(params.seed, index),
        label=label,
        type=name,
        magnitude=_total_magnitude(surface_brightness, r_e) + _DUST_DIMMING * dust,
        g_i=recipe.colours[0] + rng.normal(0, _COLOUR_SCATTER) + _DUST_REDDENING * dust,
        i_h=recipe.colours[1] + rng.normal(0, _COLOUR_SCATTER) + _DUST_REDDENING * dust,
        r_e=r_e,
        sersic_n=sersic_n,
        bulge_fraction=bulge_fraction,
        bulge_r_e=bulge_r_e,
        axis_ratio=axis_ratio,
        inclination=inclination,
        thickness=thickness,
        position_angle=position_angle,
        arms=arms,
        pitch=rng.choice([-1.0, 1.0]) * rng.uniform(*recipe.pitch) if arms else math.nan,
        arm_strength=rng.uniform(*recipe.arm_strength),
        arm_phase=rng.uniform(0, 2 * math.pi),
        bar=bar,
        clumpiness=rng.uniform(*recipe.clumpiness),
        knots=int(rng.poisson(recipe.knots)),
        psf_g=psf["g"],
        psf_i=psf["i"],
        psf_h=psf["H"],
        noise=math.exp(rng.normal(0, params.noise_scatter)),
        sky_g=rng.normal(0, params.sky_scatter),
        sky_i=rng.normal(0, params.sky_scatter),
        sky_h=rng.normal(0, params.sky_scatter),
        blank_h=blank_h,
        companions=_draw_companions(rng, r_e, params),
    )


def _total_magnitude(surface_brightness: float, r_e: float) -> float:
    """Half of the light falls within r_e: m = ⟨μ⟩ − 2.5 log10(2π r_e²)."""
    return surface_brightness - 2.5 * math.log10(2 * math.pi * r_e**2)


def _draw_companions(rng: np.random.Generator, r_e: float, params: SimulateParams) -> tuple[Companion, ...]:
    half = params.size * params.pixel_scale / 2
    stars = [
        Companion(
            *_draw_place(rng, half, r_e),
            magnitude=_draw_counts(rng, _STAR_MAGNITUDES, _STAR_SLOPE),
            **_draw_star_colours(rng),
        )
        for _ in range(rng.poisson(params.stars))
    ]
    neighbours = [
        Companion(
            *_draw_place(rng, half, r_e),
            magnitude=_draw_counts(rng, _NEIGHBOUR_MAGNITUDES, _NEIGHBOUR_SLOPE),
            g_i=rng.normal(1.2, 0.45),
            i_h=rng.normal(0.8, 0.25),
            r_e=_truncated_log_normal(rng, 0.7, 0.4, (0.3, 2.0)),
            axis_ratio=rng.uniform(0.3, 1.0),
            position_angle=rng.uniform(0, 180),
        )
        for _ in range(rng.poisson(params.neighbours))
    ]
    return (*stars, *neighbours)


def _draw_star_colours(rng: np.random.Generator) -> dict[str, float]:
    """Draw a place on the line from blue (F) to red (M) stars, AB."""
    red = rng.beta(1.0, 1.3)
    return {"g_i": 0.4 + 2.0 * red + rng.normal(0, 0.08), "i_h": 1.1 * red + rng.normal(0, 0.08)}


def _draw_place(rng: np.random.Generator, half: float, r_e: float) -> tuple[float, float]:
    """Draw a place in the frame that does not cover the galaxy's core: such a pair would be another kind of object."""
    keep_out = min(1.0 + r_e, 0.8 * half)
    while True:
        x, y = rng.uniform(-half, half, 2)
        if math.hypot(x, y) > keep_out:
            return float(x), float(y)


def _draw_counts(rng: np.random.Generator, limits: tuple[float, float], slope: float) -> float:
    """Draw a magnitude where counts go as 10^(slope · m)."""
    low, high = (10 ** (slope * limit) for limit in limits)
    return math.log10(rng.uniform(low, high)) / slope


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * min(max(share, 0.0), 1.0)


def _choose(rng: np.random.Generator, shares: dict[DiscType, float]) -> DiscType:
    # Not in the order of the mapping: a pipeline hands values on as JSON, which has none.
    names: tuple[DiscType, ...] = tuple(name for name in get_args(DiscType) if name in shares)
    weights = np.array([shares[name] for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _truncated_normal(rng: np.random.Generator, mean: float, scatter: float, limits: tuple[float, float]) -> float:
    """Draw through the inverse distribution: one random number each, however far out the limits are."""
    normal = NormalDist(mean, scatter)
    share = rng.uniform(normal.cdf(limits[0]), normal.cdf(limits[1]))
    value = normal.inv_cdf(share) if 0 < share < 1 else mean
    return min(max(value, limits[0]), limits[1])


def _truncated_log_normal(
    rng: np.random.Generator, median: float, scatter: float, limits: tuple[float, float]
) -> float:
    return math.exp(_truncated_normal(rng, math.log(median), scatter, (math.log(limits[0]), math.log(limits[1]))))


def _on_grid(index: float) -> float:
    return round(round(index / _INDEX_STEP) * _INDEX_STEP, 1)
