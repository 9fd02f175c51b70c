"""How alike methods are, and how much a map keeps to few pixels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.faithfulness.maps import empty, ranks

Array = NDArray[np.float64]


def agreement(maps: Mapping[str, np.ndarray]) -> Array:
    """Rank correlation between methods, image by image.

    Parameters
    ----------
    maps
        By method, `(N, S, S)` each, of the same images.

    Returns
    -------
    numpy.ndarray
        `(N, M, M)`, symmetric, in the order of `maps`; NaN where one of the two maps says nothing.
    """
    said = np.stack([~empty(of_method) for of_method in maps.values()], -1)  # (N, M)
    found = np.full((*said.shape, said.shape[-1]), np.nan)
    for at, known in enumerate(said):
        if known.any():
            ranked = np.stack([ranks(of_method[at]) for of_method, of in zip(maps.values(), known, strict=True) if of])
            found[at][np.ix_(known, known)] = ranked @ ranked.T
            found[at][known, known] = 1  # but for rounding it is, and rounding is no spread
    return found


def sparsity(maps: np.ndarray) -> Array:
    """Gini index of the attributions' sizes (Hurley & Rickard 2009, doi:10.1109/TIT.2009.2027527).

    Parameters
    ----------
    maps
        `(N, S, S)`; of signed maps the absolute values count.

    Returns
    -------
    numpy.ndarray
        `(N,)`: 0 when all pixels have as much, near 1 when one has all; NaN for an empty map.
    """
    result = np.full(len(maps), np.nan)
    for at in np.flatnonzero(~empty(maps)):
        sizes = np.sort(np.abs(maps[at]), axis=None).astype(np.float64)
        weights = (len(sizes) - np.arange(len(sizes)) - 0.5) / len(sizes)
        result[at] = 1 - 2 * float(sizes @ weights) / float(sizes.sum())
    return result
