"""Stability: whether an explanation is that of a galaxy, or of its noise and the way up it lies."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.base import Explainer
from galmorph.explain.faithfulness.galaxies import Draw, Galaxies
from galmorph.explain.faithfulness.maps import TURNS, empty, mean_known, rank_correlations, turned, turned_back
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]


def noise_stability(
    explainer: Explainer, galaxies: Galaxies, maps: np.ndarray, params: FaithfulnessParams, seed: int
) -> Array:
    """Compare maps with those of the same images under a little noise.

    After the sensitivity of Yeh et al. 2019 (arXiv:1901.09392). Departures from the paper: the mean over random noise,
    not the worst of it, and rank correlation in the place of a distance, so that methods of different units compare.

    Parameters
    ----------
    explainer
        The method.
    galaxies
        Images and targets.
    maps
        `(N, S, S)`, what the method made of the images themselves.
    params
        `noise`, the standard deviation of 255, and `noisy_copies`, over which the mean is taken.
    seed
        Of the noise.

    Returns
    -------
    numpy.ndarray
        `(N,)` mean rank correlation, 1 for maps that noise does not change. A map that the noise empties counts as 0;
        NaN where the map is empty to begin with.
    """
    randoms = [galaxies.random(at, Draw.NOISE, seed) for at in range(len(galaxies))]

    def noisy(images: np.ndarray, places: np.ndarray) -> np.ndarray:
        noise = np.stack([randoms[at].normal(0, params.noise, images.shape[1:]) for at in places])
        return np.asarray(np.clip(images + noise, 0, 255), np.float32)

    return mean_known(
        _similarity(explainer, galaxies, maps, noisy, lambda found: found) for _ in range(params.noisy_copies)
    )


def turn_stability(explainer: Explainer, galaxies: Galaxies, maps: np.ndarray) -> Array:
    """Compare maps with those of the images turned by 90°, 180° and 270° and mirrored, all turned back.

    A galaxy has no upper end, so neither should its explanation.

    Parameters
    ----------
    explainer, galaxies, maps
        As for `noise_stability`.

    Returns
    -------
    numpy.ndarray
        `(N,)` mean rank correlation over the seven; 0 and NaN as for `noise_stability`.
    """

    def similarity(turn: int) -> Array:
        return _similarity(
            explainer,
            galaxies,
            maps,
            lambda images, _: turned(images, turn),
            lambda found: turned_back(found, turn),
        )

    return mean_known(similarity(turn) for turn in TURNS[1:])


def _similarity(
    explainer: Explainer,
    galaxies: Galaxies,
    maps: np.ndarray,
    alter: Callable[[np.ndarray, np.ndarray], np.ndarray],
    restore: Callable[[np.ndarray], np.ndarray],
) -> Array:
    """Rank correlation of maps with those of altered images; no more than a batch is altered at a time."""
    result = np.empty(len(galaxies))
    for start in range(0, len(galaxies), explainer.batch_size):
        places = np.arange(start, min(start + explainer.batch_size, len(galaxies)))
        altered = alter(galaxies.images[places].astype(np.float32), places)
        found = restore(explainer.explain(altered, galaxies.targets(places)))
        result[places] = np.nan_to_num(rank_correlations(maps[places], found))
    result[empty(maps)] = np.nan
    return result
