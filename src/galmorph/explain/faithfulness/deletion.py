"""Deletion and insertion: whether the answer hangs on the pixels that a map marks.

Pixels are replaced by a baseline in the order of their attribution, highest first (deletion), or put back into the
baseline in that order (insertion); the area under the curve of the answer is the score: low for deletion, high for
insertion (Petsiuk, Das & Saenko 2018, arXiv:1806.07421).

The answer is the calibrated probability of the target class, as in the paper, not the log-odds. A cutout with its
galaxy replaced by plain sky is like nothing a model was trained on: a ResNet50 was seen to answer such frames with
log-odds ten times those of any real galaxy, and a mean of log-odds is then a mean of those few. Probabilities are
bounded, and the temperature that is fitted on validation keeps those of real galaxies away from 0 and 1.

An area says little by itself: how fast an answer falls depends on the model as much as on the map. So each map is held
against itself, turned, mirrored and moved to random places of the image (with what leaves on one side coming in on the
other). A map that is shuffled pixel by pixel would be an unfair opponent: it replaces single pixels all over the image,
a grain that destroys an answer sooner than any evidence does, and a smooth map would lose against it however true it
is. The displaced map has the values, the smoothness and the grain of the true one, and is wrong only in its place.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from galmorph.explain.baselines import baselines
from galmorph.explain.faithfulness.answers import Answers, probability
from galmorph.explain.faithfulness.galaxies import Draw, Galaxies
from galmorph.explain.faithfulness.maps import TURNS, empty, turned
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Areas:
    """Areas under the curves, `(N,)` in [0, 1] each, NaN for an empty map.

    Attributes
    ----------
    deletion, insertion
        Of the map; pixels of one value in random order.
    deletion_displaced, insertion_displaced
        Mean over the displaced copies of the map.
    """

    deletion: Array
    insertion: Array
    deletion_displaced: Array
    insertion_displaced: Array


def deletion_and_insertion(
    answers: Answers, galaxies: Galaxies, maps: np.ndarray, params: FaithfulnessParams, seed: int
) -> Areas:
    """Score maps by deletion and insertion, and displaced copies of them.

    Parameters
    ----------
    answers
        Of the model that the maps explain.
    galaxies
        Images and targets.
    maps
        `(N, S, S)`, high where the target's evidence is.
    params
        `hidden`, `steps`, `shuffles`.
    seed
        Of places and ties.

    Returns
    -------
    Areas
        In the galaxies' order.
    """
    known = np.flatnonzero(~empty(maps)).tolist()
    stream = (
        image
        for at in known
        for image in _altered_images(galaxies.images[at], maps[at], params, galaxies.random(at, Draw.ORDER, seed))
    )
    curves = (len(known), 1 + params.shuffles, 2, params.steps - 1)
    answered = answers.log_odds(stream).reshape(len(known), 2 + math.prod(curves[1:]))
    p = probability(answered, galaxies.signs[known, None])
    areas = np.full((len(maps), *curves[1:3]), np.nan)
    areas[known] = _areas(p[:, 0], p[:, 1], p[:, 2:].reshape(curves))
    own, displaced = areas[:, 0], areas[:, 1:].mean(1)
    return Areas(own[:, 0], own[:, 1], displaced[:, 0], displaced[:, 1])


def _altered_images(
    image: np.ndarray, map_: np.ndarray, params: FaithfulnessParams, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the image, its baseline, and the steps between: map by map, deletion before insertion."""
    hidden = baselines(image[None], params.hidden)[0]
    yield image
    yield hidden
    for ranked in (map_, *(displaced(map_, random) for _ in range(params.shuffles))):
        order = descending(ranked, random)
        yield from _steps(image, hidden, order, params.steps)
        yield from _steps(hidden, image, order, params.steps)


def displaced(map_: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn, mirror and move an `(S, S)` map at random."""
    turn = int(random.integers(len(TURNS)))
    down, right = random.integers(len(map_), size=2).tolist()
    return np.roll(turned(map_[None], turn)[0], (down, right), (0, 1))


def descending(map_: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places of an `(S, S)` map's pixels, flattened, from the highest on; ties at random, lest they go row by row."""
    return np.lexsort((random.random(map_.size), -map_.ravel()))


def _steps(before: np.ndarray, after: np.ndarray, order: np.ndarray, steps: int) -> Iterator[np.ndarray]:
    """Yield the steps - 1 images between two, of which the one becomes the other pixel by pixel."""
    changing = before.reshape(-1, 3).astype(np.float32)
    cuts = np.linspace(0, len(order), steps + 1).round().astype(int)
    for start, stop in pairwise(cuts[:-1]):
        changing[order[start:stop]] = after.reshape(-1, 3)[order[start:stop]]
        yield changing.reshape(before.shape).copy()


def _areas(full: Array, hidden: Array, between: Array) -> Array:
    """Areas by the trapezoidal rule: `(N,)`, `(N,)`, `(N, maps, 2, steps - 1)` to `(N, maps, 2)`."""
    ends = np.stack([full, hidden], -1)[:, None, :]  # deletion ends hidden, insertion begins so
    ends = np.broadcast_to(ends, (len(full), between.shape[1], 2))
    return np.asarray((between.sum(-1) + ends.sum(-1, keepdims=True) / 2) / (between.shape[-1] + 1), np.float64)
