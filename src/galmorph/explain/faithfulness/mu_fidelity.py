"""MuFidelity: whether cells count as much to the answer as a map says.

Random sets of cells are hidden; the score is the correlation, over the sets, between the attribution that was hidden
and how much the logit of the target class fell (Bhatt, Weller & Moura 2020, arXiv:2005.00631). Departures from the
paper: the features that are hidden are square cells of the image, not single pixels, whose absence a network hardly
notices; the fall is that of the calibrated log-odds, which correlates as the logit does.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.baselines import baselines
from galmorph.explain.faithfulness.answers import Answers
from galmorph.explain.faithfulness.galaxies import Galaxies
from galmorph.explain.faithfulness.maps import correlations, empty
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]


def hidden_sets(size: int, params: FaithfulnessParams, seed: int) -> np.ndarray:
    """Choose cells at random, set by set; the same sets serve every galaxy and every method.

    Parameters
    ----------
    size
        S, the images' side in pixels.
    params
        `subsets`, `cells`, `share`.
    seed
        Of the choice.

    Returns
    -------
    numpy.ndarray
        `(subsets, S, S)` bool: the pixels that are hidden. Each set has the same number of cells, at least one.
    """
    random = np.random.default_rng(seed)
    count = params.cells**2
    taken = max(1, round(params.share * count))
    chosen = np.argsort(random.random((params.subsets, count)), 1) < taken
    cell = np.arange(size) * params.cells // size
    return chosen.reshape(-1, params.cells, params.cells)[:, cell[:, None], cell[None, :]]


def falls(answers: Answers, galaxies: Galaxies, sets: np.ndarray, params: FaithfulnessParams) -> Array:
    """Measure how much the target's log-odds fall when each set of pixels is hidden.

    Parameters
    ----------
    answers
        Of the model.
    galaxies
        Images and targets.
    sets
        `(M, S, S)` bool.
    params
        `hidden`: what takes the pixels' place.

    Returns
    -------
    numpy.ndarray
        `(N, M)`; it does not depend on any map.
    """
    answered = answers.log_odds(
        changed for image in galaxies.images for changed in _with_hidden(np.asarray(image), sets, params)
    ).reshape(len(galaxies), 1 + len(sets))
    return np.asarray((answered[:, :1] - answered[:, 1:]) * galaxies.signs[:, None], np.float64)


def _with_hidden(image: np.ndarray, sets: np.ndarray, params: FaithfulnessParams) -> Iterator[np.ndarray]:
    hidden = baselines(image[None], params.hidden)[0]
    yield image
    for pixels in sets:
        yield np.where(pixels[..., None], hidden, image)


def mu_fidelity(maps: np.ndarray, sets: np.ndarray, fallen: Array) -> Array:
    """Correlate the attribution that sets of pixels hold with how much the answer falls without them.

    Parameters
    ----------
    maps
        `(N, S, S)`.
    sets
        `(M, S, S)` bool, as `hidden_sets` makes them.
    fallen
        `(N, M)`, as `falls` measures them.

    Returns
    -------
    numpy.ndarray
        `(N,)` in [-1, 1]; NaN for an empty map, and where the answer falls equally for every set.
    """
    masks = sets.reshape(len(sets), -1).astype(np.float64)
    said = np.flatnonzero(~empty(maps))
    held = np.array([masks @ np.ravel(maps[at]) for at in said]).reshape(len(said), len(sets))
    result = np.full(len(maps), np.nan)
    result[said] = correlations(held, fallen[said])
    return result
