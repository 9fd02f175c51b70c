"""Stability: whether an explanation is that of a galaxy, or of its noise and the way up it lies."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.base import Explainer, attribute_by
from galmorph.explain.faithfulness.galaxies import Draw, Galaxies
from galmorph.explain.faithfulness.maps import TURNS, empty, mean_known, rank_correlations, turned, turned_back
from galmorph.explain.gradients import slices
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]


def noise_stability(
    explainers: Mapping[str, Explainer],
    galaxies: Galaxies,
    maps: Mapping[str, np.ndarray],
    params: FaithfulnessParams,
    seed: int,
    batch_size: int,
) -> dict[str, Array]:
    """Compare maps with those of the same images under a little noise.

    After the sensitivity of Yeh et al. 2019 (arXiv:1901.09392). Departures from the paper: the mean over random noise,
    not the worst of it, and rank correlation in the place of a distance, so that methods of different units compare.

    Parameters
    ----------
    explainers
        By name.
    galaxies
        Images and targets.
    maps
        By name, `(N, S, S)`: what the method made of the images themselves.
    params
        `noise`, the standard deviation of 255, and `noisy_copies`, over which the mean is taken.
    seed
        Of the noise.
    batch_size
        Galaxies at a time: no more are altered and explained at once.

    Returns
    -------
    dict
        By name, `(N,)` mean rank correlation, 1 for maps that noise does not change. A map that the noise empties
        counts as 0; NaN where the map is empty to begin with.
    """
    randoms = [galaxies.random(at, Draw.NOISE, seed) for at in range(len(galaxies))]

    def noisy(images: np.ndarray, places: np.ndarray) -> np.ndarray:
        noise = np.stack([randoms[at].normal(0, params.noise, images.shape[1:]) for at in places])
        return np.asarray(np.clip(images + noise, 0, 255), np.float32)

    return _means(
        _similarity(explainers, galaxies, maps, batch_size, noisy, lambda found: found)
        for _ in range(params.noisy_copies)
    )


def turn_stability(
    explainers: Mapping[str, Explainer], galaxies: Galaxies, maps: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, Array]:
    """Compare maps with those of the images turned by 90°, 180° and 270° and mirrored, all turned back.

    A galaxy has no upper end, so neither should its explanation.

    Parameters
    ----------
    explainers, galaxies, maps, batch_size
        As for `noise_stability`.

    Returns
    -------
    dict
        By name, `(N,)` mean rank correlation over the seven; 0 and NaN as for `noise_stability`.
    """

    def similarity(turn: int) -> dict[str, Array]:
        return _similarity(
            explainers,
            galaxies,
            maps,
            batch_size,
            lambda images, _: turned(images, turn),
            lambda found: turned_back(found, turn),
        )

    return _means(similarity(turn) for turn in TURNS[1:])


def _means(found: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    every = list(found)
    return {name: mean_known(each[name] for each in every) for name in every[0]}


def _similarity(
    explainers: Mapping[str, Explainer],
    galaxies: Galaxies,
    maps: Mapping[str, np.ndarray],
    batch_size: int,
    alter: Callable[[np.ndarray, np.ndarray], np.ndarray],
    restore: Callable[[np.ndarray], np.ndarray],
) -> dict[str, Array]:
    """Rank correlation of maps with those of altered images, by name."""
    result = {name: np.empty(len(galaxies)) for name in explainers}
    for part in slices(len(galaxies), batch_size):
        places = np.arange(part.start, part.stop)
        altered = alter(galaxies.images[places].astype(np.float32), places)
        for name, found in attribute_by(explainers, altered, galaxies.targets(places)).items():
            result[name][places] = np.nan_to_num(rank_correlations(maps[name][places], restore(found.maps)))
    for name, similar in result.items():
        similar[empty(maps[name])] = np.nan
    return result
