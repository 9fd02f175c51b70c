"""On-galaxy energy: whether the model looks at the galaxy.

A map is brought back to the full cutout, where the galaxy, its neighbours and the sky are told apart
(`galmorph.data.segment`), and its energy is counted in each: the share of the sum of absolute attributions. They are
absolute for signed maps too, since evidence against a class comes from where the model looks as much as evidence for
it. A map without any preference gives each region the share of the crop that it covers; that is what a true share is
held against.

The pointing game asks whether the strongest evidence for the class, the map's maximum, lies on the galaxy (Zhang et al.
2018, doi:10.1007/s11263-017-1059-x). Departure from the paper: the segment itself, no margin of pixels around it; where
several pixels share the maximum, as in super-pixels, most of them must.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from galmorph.data.dataset import crop_box, to_frame
from galmorph.data.segment import segment
from galmorph.errors import InputError
from galmorph.params import PreprocessParams

Array = NDArray[np.float64]

#: What a crop is made of; `rest` is the faint edge of objects, which is neither theirs nor sky.
REGIONS = ("galaxy", "neighbours", "sky", "rest")


@dataclass(frozen=True)
class Energy:
    """Where the attributions of N galaxies lie.

    Attributes
    ----------
    uniform
        `(N, 4)` share of the crop that each of `REGIONS` covers; NaN where no galaxy is found in the crop.
    shares
        By method, `(N, 4)` share of the energy in each; NaN there too, and for a map of zeros or of no numbers.
    pointing
        By method, `(N,)` 1 where the maximum lies on the galaxy, else 0; NaN as for `shares`.
    """

    uniform: Array
    shares: Mapping[str, Array]
    pointing: Mapping[str, Array]


def energies(frames: Iterable[np.ndarray], maps: Mapping[str, np.ndarray], preprocess: PreprocessParams) -> Energy:
    """Count the energy of every method's maps in each region of every galaxy's crop.

    Parameters
    ----------
    frames
        N cutouts, `(H, W, 3)` uint8 RGB each, one after another.
    maps
        By method, `(N, S, S)` of what the model saw of them.
    preprocess
        The model's crop and size.

    Returns
    -------
    Energy
        In the frames' order.

    Raises
    ------
    InputError
        When there are not as many frames as maps.
    """
    count = len(next(iter(maps.values())))
    uniform = np.full((count, len(REGIONS)), np.nan)
    shares = {name: uniform.copy() for name in maps}
    pointing = {name: np.full(count, np.nan) for name in maps}
    seen = 0
    for at, frame in enumerate(frames):
        seen = at + 1
        if at >= count:
            break
        regions = regions_of(frame, preprocess)
        if not regions[0].any():
            continue
        uniform[at] = regions.mean((1, 2))
        for name, of_method in maps.items():
            # A map of one value everywhere has no ranks, but its energy has a place: everywhere alike.
            if np.isfinite(of_method[at]).all() and of_method[at].any():
                in_crop = _in_crop(np.abs(of_method[at]), frame, preprocess)
                shares[name][at] = (regions * in_crop).sum((1, 2)) / in_crop.sum(dtype=np.float64)
                pointing[name][at] = points_at(_in_crop(of_method[at], frame, preprocess), regions[0])
    if seen != count:
        raise InputError(f"every map needs its cutout. Received: {count} maps and {seen} cutouts or more")
    return Energy(uniform, shares, pointing)


def regions_of(frame: np.ndarray, preprocess: PreprocessParams) -> np.ndarray:
    """Tell galaxy, neighbours, sky and the rest apart in what the model sees of a cutout.

    Parameters
    ----------
    frame
        `(H, W, 3)` uint8 RGB.
    preprocess
        The model's crop.

    Returns
    -------
    numpy.ndarray
        `(4, side, side)` bool, in the order of `REGIONS`: every pixel of the crop is in one of them.
    """
    found = segment(frame)
    parts = np.stack([found.galaxy, found.neighbours, found.sky])
    top, left, side = crop_box(frame.shape[0], frame.shape[1], preprocess)
    inside = parts[:, top : top + side, left : left + side]
    return np.concatenate([inside, ~inside.any(0, keepdims=True)])


def points_at(map_: np.ndarray, region: np.ndarray) -> bool:
    """Tell whether most of the pixels that share the map's maximum lie in a region."""
    return bool(region[map_ == map_.max()].mean() > 0.5)


def _in_crop(map_: np.ndarray, frame: np.ndarray, preprocess: PreprocessParams) -> np.ndarray:
    height, width = frame.shape[:2]
    top, left, side = crop_box(height, width, preprocess)
    return to_frame(map_, height, width, preprocess)[top : top + side, left : left + side]
