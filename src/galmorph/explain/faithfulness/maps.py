"""What all scores do with maps: ranks, turns, and maps that say nothing. Of NumPy alone, for the service."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The 90° turns and mirror images of a square; 0 is the square as it is.
TURNS = range(8)


def empty(maps: Iterable[np.ndarray]) -> np.ndarray:
    """Tell which of N maps point nowhere: every pixel has one value, or some have none. `(N,)` bool."""
    return np.array([not np.isfinite(map_).all() or map_.min() == map_.max() for map_ in maps], bool)


def ranks(map_: np.ndarray) -> Array:
    """Ranks of a map's pixels, flattened, with mean 0 and length 1: their products are Spearman's correlations.

    Equal values share their mean rank. The map must not be empty.
    """
    _, place, count = np.unique(map_, return_inverse=True, return_counts=True)
    ranked = (np.cumsum(count) - (count - 1) / 2)[place.ravel()]
    ranked -= ranked.mean()
    return np.asarray(ranked / np.linalg.norm(ranked), np.float64)


def rank_correlations(one: np.ndarray, other: np.ndarray) -> Array:
    """Spearman's rank correlation of two sets of maps, map by map.

    Parameters
    ----------
    one, other
        `(N, S, S)` each.

    Returns
    -------
    numpy.ndarray
        `(N,)` in [-1, 1]; NaN where one of the two is empty: it has no ranks.
    """
    result = np.full(len(one), np.nan)
    for at in np.flatnonzero(~(empty(one) | empty(other))):
        result[at] = ranks(one[at]) @ ranks(other[at])
    return result


def correlations(one: Array, other: Array) -> Array:
    """Pearson's correlation of the rows of two `(N, M)` arrays: `(N,)`, NaN where a row is constant."""
    one = one - one.mean(1, keepdims=True)
    other = other - other.mean(1, keepdims=True)
    norm = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return np.asarray(np.divide((one * other).sum(1), norm, out=np.full(len(one), np.nan), where=norm > 0))


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Turn and mirror squares: `(N, S, S, …)`, one of `TURNS`."""
    mirrored = pixels[:, :, ::-1] if turn >= 4 else pixels
    return np.rot90(mirrored, turn % 4, (1, 2))


def turned_back(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Undo `turned`."""
    straight = np.rot90(pixels, -(turn % 4), (1, 2))
    return straight[:, :, ::-1] if turn >= 4 else straight


def mean_known(rows: Iterable[Array]) -> Array:
    """Mean of several `(N,)` arrays, NaN where any of them is."""
    return np.asarray(np.mean(list(rows), axis=0), np.float64)
