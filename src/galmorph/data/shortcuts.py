"""How far a model would come without looking at the galaxy's structure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

#: Parts that a galaxy is one of, by its group: each is judged by a fit to the others.
_FOLDS = 5
#: Galaxies of each class that every fit must see.
_ENOUGH = 5
_Z = 1.959964  # standard deviations either way that hold 95 % of a normal distribution


@dataclass(frozen=True)
class Shortcut:
    """A logistic regression on a few numbers.

    Attributes
    ----------
    name
        What it looks at.
    columns
        The numbers: columns of the manifest, or what `_with_colours` makes of them.
    galaxies
        How many were judged.
    accuracy, low, high
        Cross-validated accuracy and its 95 % interval (Wilson 1927, doi:10.2307/2276774); NaN for too few galaxies.
    """

    name: str
    columns: tuple[str, ...]
    galaxies: int
    accuracy: float
    low: float
    high: float


def shortcuts(galaxies: pd.DataFrame) -> list[Shortcut]:
    """Measure how well colours and shape alone tell the classes apart.

    Parameters
    ----------
    galaxies
        The accepted rows of the manifest.

    Returns
    -------
    list of Shortcut
        The commoner class's share first, for comparison. The true axis ratio is listed beside the measured one where
        the catalogue has a column `axis_ratio`.
    """
    galaxies = _with_colours(galaxies)
    share = float(galaxies["label"].value_counts(normalize=True).max()) if len(galaxies) else float("nan")
    always = Shortcut("always the commoner class", (), len(galaxies), share, *wilson(share, len(galaxies)))
    asked: list[tuple[str, tuple[str, ...]]] = [
        ("mean colours of the frame", ("mean_r", "mean_g", "mean_b")),
        ("mean colours of the galaxy", ("red_over_green", "green_over_blue")),
        ("mean brightness of the galaxy", ("brightness",)),
        ("axis ratio, true", ("axis_ratio",)),
        ("axis ratio, measured", ("axis_ratio_measured",)),
        ("radius, measured", ("radius_pixels",)),
    ]
    known = [(name, columns) for name, columns in asked if set(columns) <= set(galaxies.columns)]
    return [always, *(_measured(galaxies, name, columns) for name, columns in known)]


def _with_colours(galaxies: pd.DataFrame) -> pd.DataFrame:
    """Tell a galaxy's colours from its brightness: logarithms of the channels' ratios, and their sum (of 765)."""
    light = [galaxies[f"galaxy_{channel}"].astype(float) for channel in ("r", "g", "b")]
    # A blank channel has no light: half a level keeps the ratio finite, and far from any other.
    red, green, blue = (channel.clip(lower=0.5) for channel in light)
    return galaxies.assign(
        red_over_green=np.log(red / green),
        green_over_blue=np.log(green / blue),
        brightness=light[0] + light[1] + light[2],
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of `count` trials; NaN without trials."""
    if not count or np.isnan(share):
        return float("nan"), float("nan")
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    reach = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return float(max(0.0, centre - reach)), float(min(1.0, centre + reach))


def _measured(galaxies: pd.DataFrame, name: str, columns: tuple[str, ...]) -> Shortcut:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = galaxies[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    known = np.isfinite(numbers).any(axis=1)
    numbers, labels = numbers[known], galaxies["label"].to_numpy()[known]
    parts = _parts(galaxies["group"].to_numpy()[known])
    right = np.zeros(len(labels), bool)
    for part in range(_FOLDS):
        fitted, judged = parts != part, parts == part
        classes, counts = np.unique(labels[fitted], return_counts=True)
        if len(classes) < 2 or counts.min() < _ENOUGH or not judged.any():
            return Shortcut(name, columns, len(labels), *(float("nan"),) * 3)
        model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
        right[judged] = model.fit(numbers[fitted], labels[fitted]).predict(numbers[judged]) == labels[judged]
    accuracy = float(right.mean())
    return Shortcut(name, columns, len(labels), accuracy, *wilson(accuracy, len(labels)))


def _parts(groups: Sequence[str] | np.ndarray) -> np.ndarray:
    """Part of each galaxy: by its group, so that a near duplicate is never judged by a fit to its twin."""
    return np.array([zlib.crc32(str(group).encode()) % _FOLDS for group in groups], np.int64)
