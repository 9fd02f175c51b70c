"""Exact one-sided tests of counts: is a part worse than the rest, is one set of answers better than another."""

import numpy as np
from scipy.stats import binomtest, fisher_exact


def worse_than_rest(right: int, n: int, rest_right: int, rest_n: int) -> float:
    """Probability that a part of the galaxies is answered this badly, or worse, by chance.

    Parameters
    ----------
    right, n
        Galaxies of the part that are answered rightly, and all of it.
    rest_right, rest_n
        The same of the rest.

    Returns
    -------
    float
        One-sided p-value of Fisher's exact test (Fisher 1922, doi:10.2307/2340521): small only where the part is worse.
    """
    table = [[right, n - right], [rest_right, rest_n - rest_right]]
    return float(fisher_exact(table, alternative="less").pvalue)


def better_than(right: np.ndarray, other_right: np.ndarray) -> float:
    """Probability that the first answers are this much better than the others, or more, by chance.

    Parameters
    ----------
    right, other_right
        `(N,)` bool: whether each galaxy is answered rightly, by the one and by the other.

    Returns
    -------
    float
        One-sided p-value of the exact sign test of the galaxies on which the two differ (McNemar 1947,
        doi:10.1007/BF02295996); 1 where they differ on none.
    """
    for_first = int(np.sum(right & ~other_right))
    against = int(np.sum(~right & other_right))
    if not for_first + against:
        return 1.0
    return float(binomtest(for_first, for_first + against, 0.5, alternative="greater").pvalue)
