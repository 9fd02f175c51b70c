"""Means with their intervals, and what follows from them: passed, failed or undecided.

A check is passed when the interval lies on the right side, failed when it shows that there is nothing to speak of, and
undecided when so many galaxies cannot tell. No galaxies, or one, decide nothing.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from galmorph.evaluation.bootstrap import mean_intervals
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over galaxies.

    Attributes
    ----------
    value
        NaN where no galaxy has a value.
    low, high
        Percentile interval over resampled galaxies; None where the resamples cannot tell: there are fewer than two
        galaxies, or all have the same value.
    n
        Galaxies that have one.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What the mean lies between; None where too few galaxies have a value. Where all agree, that very value."""
        if self.n < 2:
            return None
        return (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)

    @property
    def negative(self) -> "Estimate":
        """The same of the values with their signs changed."""
        return Estimate(
            -self.value, None if self.high is None else -self.high, None if self.low is None else -self.low, self.n
        )

    def __str__(self) -> str:
        """Value and interval as text, with their signs."""
        return f"{self.value:+.3f}" + ("" if self.low is None else f" [{self.low:+.3f}, {self.high:+.3f}]")


@dataclass(frozen=True)
class Verdict:
    """What a check says of a method, and the sentence that says why."""

    verdict: Literal["passed", "failed", "undecided"]
    reason: str


def estimate(values: Array, params: FaithfulnessParams, seed: int) -> Estimate:
    """Average over galaxies.

    Parameters
    ----------
    values
        `(N,)`, NaN for galaxies that have none: they are left out, and `n` says how many are left.
    params
        `bootstrap` and `confidence`.
    seed
        Of the resamples.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Estimate(float("nan"), None, None, 0)
    (value,), ((low, high),) = mean_intervals(known[:, None], params.bootstrap, params.confidence, seed)
    return Estimate(float(value), low, high, len(known))


def on_deletion(difference: Estimate, negligible: float) -> Verdict:
    """Judge deletion; the difference of areas, map less displaced map, must be below 0."""
    return _exceeds_nothing(
        difference.negative,
        negligible,
        f"deleting what it marks first moves the class's mean probability by {difference} against the same map in a "
        "wrong place, and must lower it",
    )


def on_insertion(difference: Estimate, negligible: float) -> Verdict:
    """Judge insertion; the difference of areas, map less displaced map, must be above 0."""
    return _exceeds_nothing(
        difference,
        negligible,
        f"showing only what it marks first moves the class's mean probability by {difference} against the same map in "
        "a wrong place, and must raise it",
    )


def on_galaxy(difference: Estimate, negligible: float) -> Verdict:
    """Judge on-galaxy energy; the galaxy's share, less that of a uniform map, must be above 0."""
    return _exceeds_nothing(
        difference,
        negligible,
        f"the galaxy's share of the attribution less its share of the picture is {difference}, and must be above 0",
    )


def on_randomisation(absolute: Estimate, signed: Estimate, most: float) -> Verdict:
    """Judge the randomisation check: how alike the maps are when all weights are random.

    Parameters
    ----------
    absolute
        Mean rank correlation of the absolute maps; it decides. Either sign of it counts: a map that is turned upside
        down is as little the model's.
    signed
        That of the maps as they are. Gradients times the image keep the image's outline in their size, and change only
        their signs: then their size says nothing of the model, and where the energy of such a map lies neither.
    most
        Correlations surely at or beyond it fail, surely within it pass.
    """
    if absolute.bounds is None:
        return _too_few(absolute)
    low, high = absolute.bounds
    said = f"with random weights its maps have a rank correlation of {absolute} with the true ones"
    if signed.value != absolute.value:
        said += f" in size, and of {signed} with their signs"
    said += f", on {absolute.n} galaxies; the limit is {most:g}"
    if max(low, -high) >= most:
        return Verdict("failed", f"{said}: it shows the image more than what the model learned")
    if max(high, -low) < most:
        return Verdict("passed", f"{said}: it depends on what the model learned")
    return Verdict("undecided", f"{said}: so few cannot tell")


def _exceeds_nothing(difference: Estimate, negligible: float, sentence: str) -> Verdict:
    """Pass what is above 0 for sure; fail what is no more than negligible for sure."""
    if difference.bounds is None:
        return _too_few(difference)
    low, high = difference.bounds
    said = f"{sentence}, on {difference.n} galaxies"
    if high <= negligible:
        return Verdict("failed", f"{said}: it does no better than chance, and up to {negligible:g} would count as none")
    if low > 0:
        return Verdict("passed", f"{said}: it does better than chance")
    return Verdict("undecided", f"{said}: so few cannot tell it from chance")


def _too_few(what: Estimate) -> Verdict:
    return Verdict("undecided", f"{what.n} galaxies could be scored, and it takes at least two")
