"""How alike methods are, and how much a map keeps to few pixels."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.faithfulness.maps import empty, ranks

Array = NDArray[np.float64]


def agreement(maps: Mapping[str, np.ndarray]) -> Array:
    """Mean rank correlation between methods.

    Parameters
    ----------
    maps
        By method, `(N, S, S)` each, of the same images.

    Returns
    -------
    numpy.ndarray
        `(M, M)`, symmetric, in the order of `maps`. An image counts where both maps say something; NaN where none does.
    """
    said = {name: ~empty(of_method) for name, of_method in maps.items()}
    total, count = np.zeros((len(maps), len(maps))), np.zeros((len(maps), len(maps)))
    for at in range(len(next(iter(maps.values()), ()))):
        # An empty map has no ranks: zeros add nothing, and are not counted.
        known = np.array([said[name][at] for name in maps])
        ranked = np.stack(
            [
                ranks(of_method[at]) if said[name][at] else np.zeros(of_method[at].size)
                for name, of_method in maps.items()
            ]
        )
        total += ranked @ ranked.T
        count += np.outer(known, known)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


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
