"""What the scored galaxies look like to the model, and how far other galaxies are from that.

A model's scores hold for images like those it was scored on. `reference` keeps how four quantities are distributed
there, as shares of bins; `psi` says how far the images of a service have moved from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from galmorph.data.segment import grey, segment, shape, sky_level

#: What is compared, in the order of tables.
QUANTITIES = ("brightness", "colour", "size", "score")
#: Added to each count, so that an empty bin is rare and not impossible (Jeffreys' prior for a multinomial).
_PRIOR = 0.5


@dataclass(frozen=True)
class Look:
    """What is measured of an image that a model sees, and its answer.

    Attributes
    ----------
    brightness
        Mean of all pixels and channels, of 255.
    colour
        Red minus blue over the sum of all three, of the galaxy's light above the sky; NaN where no galaxy was found.
    size
        Semi-major axis of the ellipse that holds half of the galaxy's light, as a share of the image's side; NaN where
        no galaxy was found.
    score
        `p_elliptical`.
    """

    brightness: float
    colour: float
    size: float
    score: float


def look(image: np.ndarray, p_elliptical: float) -> Look:
    """Measure an image as the model sees it, cropped and resized.

    Parameters
    ----------
    image
        `(S, S, 3)` uint8 RGB.
    p_elliptical
        The model's answer.
    """
    segments = segment(image)
    own = shape(image, segments.galaxy)
    colour = float("nan")
    if segments.galaxy.any():
        sky = [sky_level(image[..., k][segments.sky])[0] for k in range(3)]
        light = np.maximum(image[segments.galaxy].mean(0) - sky, 0)
        colour = float((light[0] - light[2]) / light.sum()) if light.sum() > 0 else colour
    return Look(float(grey(image).mean()), colour, own.radius_pixels / image.shape[0], p_elliptical)


def reference(looks: Sequence[Look], bins: int) -> dict[str, Any]:
    """Keep how each quantity is distributed.

    Parameters
    ----------
    looks
        Of every scored galaxy; at least one.
    bins
        Into how many parts, of as many galaxies each, a quantity is cut. Where many galaxies have the same value there
        are fewer.

    Returns
    -------
    dict
        `galaxies`: how many; `quantities`: of each, its inner `edges`, in order, and the `counts` of the bins (one more
        than edges; a value on an edge is in the upper one), the last count being that of galaxies without a value.
    """
    quantities = {}
    for name in QUANTITIES:
        values = np.array([getattr(each, name) for each in looks], float)
        known = values[np.isfinite(values)]
        edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if known.size else np.empty(0)
        quantities[name] = {"edges": edges.tolist(), "counts": counts(values, edges).tolist()}
    return {"galaxies": len(looks), "quantities": quantities}


def counts(values: np.ndarray, edges: Sequence[float] | np.ndarray) -> np.ndarray:
    """Count values between edges: `(len(edges) + 2,)` int64, the last being the values that are not finite."""
    places = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)
    return np.bincount(places, minlength=len(edges) + 2)


def drift(looks: Sequence[Look], known: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Say how far images are from a reference.

    Parameters
    ----------
    looks
        Of the images; at least one.
    known
        What `reference` gave.

    Returns
    -------
    dict
        Of each quantity, `psi` and `expected_psi`.
    """
    found = {}
    for name, kept in known["quantities"].items():
        now = counts(np.array([getattr(each, name) for each in looks], float), kept["edges"])
        found[name] = (psi(now, np.array(kept["counts"])), expected_psi(now, np.array(kept["counts"])))
    return found


def psi(now: np.ndarray, then: np.ndarray) -> float:
    """Return the population stability index of two sets of counts, with half a count added to each.

    `sum((p - q) ln(p / q))` over the bins: the symmetric Kullback-Leibler divergence (Jeffreys 1946,
    doi:10.1098/rspa.1946.0056). 0 is no change; above 0.25 is by custom taken for another population.

    Parameters
    ----------
    now, then
        `(K,)` counts of the same bins.
    """
    p, q = ((each + _PRIOR) / (each.sum() + _PRIOR * len(each)) for each in (now, then))
    return float(((p - q) * np.log(p / q)).sum())


def expected_psi(now: np.ndarray, then: np.ndarray) -> float:
    """Return what `psi` is on average for two samples of one population: `(K - 1) (1 / N + 1 / M)`.

    N and M are the sizes of the samples, K the bins that hold anything (Yurdakul & Naranjo 2020,
    doi:10.21314/JRMV.2020.227). A small test split makes a noticeable index of nothing at all.
    """
    filled = int(((now + then) > 0).sum())
    return float((filled - 1) * (1 / now.sum() + 1 / then.sum()))
