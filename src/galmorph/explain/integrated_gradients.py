"""Integrated Gradients: what each pixel adds to the logit on the way from an image that carries nothing."""

from dataclasses import dataclass, field

import keras
import numpy as np

from galmorph.explain.base import Attributions, Explainer
from galmorph.explain.baselines import baselines
from galmorph.explain.gradients import LogitGradients, slices
from galmorph.explain.noise_reduction import reduce_noise
from galmorph.params import IntegratedGradientsParams


class IntegratedGradients(Explainer):
    """Integrated Gradients along the straight line from a baseline.

    A pixel's value is its distance from the baseline times the gradient's mean along the line, summed over the
    channels; it is signed. The values of an image add up to the difference of the target's score between image and
    baseline (*completeness*), but for the error of the integral. Departures from the paper: the logit is explained
    instead of the probability, and the integral is taken by the trapezoidal rule instead of a Riemann sum. The paths of
    all images are walked together, in batches.

    The first look takes `steps` points. Where the sum misses the difference by more than `tolerance` of it, the gaps
    between points are halved, the old points being used again, while there are no more than `max_steps` points. An
    image whose logit differs little from its baseline's need not be exact to a share of next to nothing: an error of
    `floor` is always allowed.

    Facts: `convergence_delta`, the attributions' sum less the difference of the target's score, in logits; `difference`
    itself; `steps`, the points that were taken; `converged`, whether that was enough.

    Sums are kept in float32 at least, also where the model computes in half precision. There the delta also holds the
    rounding of the two logits and of each gradient, about 0.4 % of each number that a bfloat16 stands for; more points
    do not help against the logits' part of it.

    Parameters
    ----------
    model
        A galmorph model.
    params
        Baseline, points and tolerance.
    batch_size
        Points of paths at a time, of whatever images, and images at a time.

    References
    ----------
    Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks", ICML, arXiv:1703.01365.
    """

    name = "integrated_gradients"
    title = "Integrated Gradients"
    meaning = "how much of the logit's difference from an image that carries nothing comes from a pixel"
    signed = True

    def __init__(self, model: keras.Model, params: IntegratedGradientsParams, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self.params = params
        self._gradients = LogitGradients(model, batch_size)

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        facts = {
            "convergence_delta": np.empty(len(images), np.float32),
            "difference": np.empty(len(images), np.float32),
            "steps": np.empty(len(images), np.int32),
            "converged": np.empty(len(images), bool),
        }
        for part in slices(len(images), self.batch_size):
            paths = _Paths(images[part], baselines(images[part], self.params.baseline))
            self._walk(paths)
            maps[part] = signs[part, None, None] * paths.attributions()
            facts["convergence_delta"][part] = signs[part] * paths.delta()
            facts["difference"][part] = signs[part] * paths.difference
            facts["steps"][part] = paths.points
            facts["converged"][part] = self._converged(paths)
        return Attributions(maps, facts)

    def _walk(self, paths: "_Paths") -> None:
        """Take points of each path until its delta is small enough, or their number is at its limit."""
        paths.start(self._gradients, self.params.steps)
        while True:
            more = ~self._converged(paths) & (2 * paths.points - 1 <= self.params.max_steps)
            if not more.any():
                return
            paths.halve(self._gradients, np.flatnonzero(more))

    def _converged(self, paths: "_Paths") -> np.ndarray:
        allowed = np.maximum(self.params.tolerance * np.abs(paths.difference), self.params.floor)
        return np.asarray(np.abs(paths.delta()) <= allowed)


class DenoisedIntegratedGradients(IntegratedGradients):
    """Integrated Gradients with less of the speckle that single pixels' gradients leave.

    The map is smoothed after it was made; what is smoothed away is part of what the model does, not an error of the
    method. Facts: those of `IntegratedGradients`, which hold before smoothing, and `smoothing_delta`, what smoothing
    added to the map's sum, in logits: it tells how far the map is still complete.

    Parameters
    ----------
    model, params, batch_size
        As for `IntegratedGradients`; `params.noise_reduction` says how.

    References
    ----------
    As for `IntegratedGradients` and `galmorph.explain.noise_reduction`.
    """

    name = "integrated_gradients_denoised"
    title = "Integrated Gradients, noise reduced"
    meaning = "how much of the logit's difference from an image that carries nothing comes from around a pixel"

    refines = IntegratedGradients.name

    def _attribute(self, images: np.ndarray, signs: np.ndarray) -> Attributions:
        return self.refined(super()._attribute(images, signs))

    def refined(self, made: Attributions) -> Attributions:
        """Smooth what `IntegratedGradients` has made."""
        maps = reduce_noise(made.maps, self.params.noise_reduction)
        change = maps.sum((1, 2), dtype=np.float64) - made.maps.sum((1, 2), dtype=np.float64)
        return Attributions(maps, {**made.facts, "smoothing_delta": change.astype(np.float32)})


@dataclass
class _Paths:
    """Straight lines from baselines to images, and what is known of the gradient's mean along them.

    Attributes
    ----------
    images, origins
        `(n, S, S, 3)` float32: where the paths end and start.
    means
        `(n, S, S, 3)` float32: of the logit's gradient.
    points
        `(n,)` int: how many were taken, both ends included.
    difference
        `(n,)` float64: of the logit, between the ends.
    """

    images: np.ndarray
    origins: np.ndarray
    means: np.ndarray = field(init=False)
    points: np.ndarray = field(init=False)
    difference: np.ndarray = field(init=False)

    def start(self, gradients: LogitGradients, points: int) -> None:
        """Take the first points: equally far from each other, from one end to the other."""
        count = len(self.images)
        self.means = np.zeros(self.images.shape, np.float32)
        self.points = np.full(count, points)
        weights = np.full(points, 1 / (points - 1), np.float32)
        weights[[0, -1]] /= 2
        logits = self._take(gradients, np.arange(count), np.linspace(0, 1, points), weights)
        self.difference = logits[:, -1].astype(np.float64) - logits[:, 0]  # (n,)

    def halve(self, gradients: LogitGradients, which: np.ndarray) -> None:
        """Take the points that lie halfway between those that were taken on some paths."""
        for points in np.unique(self.points[which]):
            gaps, rows = points - 1, which[self.points[which] == points]
            self.means[rows] /= 2  # each old point now stands for half as much of its path
            halfway = (np.arange(gaps) + 0.5) / gaps
            self._take(gradients, rows, halfway, np.full(gaps, 0.5 / gaps, np.float32))
            self.points[rows] = 2 * points - 1

    def attributions(self) -> np.ndarray:
        """Return what the pixels' values are, `(n, S, S)` float32, for the logit of Elliptical."""
        return np.asarray(((self.images - self.origins) * self.means).sum(-1))

    def delta(self) -> np.ndarray:
        """Return the attributions' sum less the logit's difference, `(n,)` float64."""
        return np.asarray(self.attributions().sum((1, 2), dtype=np.float64) - self.difference)

    def _take(self, gradients: LogitGradients, rows: np.ndarray, along: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Add the gradients at some places along some paths to their means; `(rows, places)` logits."""
        owners = np.repeat(rows, len(along))
        places = np.tile(along.astype(np.float32), len(rows))

        def points(part: slice) -> np.ndarray:
            ends, origins = self.images[owners[part]], self.origins[owners[part]]
            made: np.ndarray = origins + places[part, None, None, None] * (ends - origins)
            return made

        logits = gradients.accumulate(points, owners, np.tile(weights, len(rows)), self.means)
        return logits.reshape(len(rows), len(along))
