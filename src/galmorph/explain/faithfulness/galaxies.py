"""The galaxies whose explanations are scored, and the random numbers that belong to each of them."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from galmorph.data.split import uniform
from galmorph.errors import InputError
from galmorph.explain.base import target_signs


class Draw(IntEnum):
    """Independent random numbers of one galaxy, so that a further draw in one place moves nothing in another."""

    ORDER = 0
    NOISE = 1


@dataclass(frozen=True)
class Galaxies:
    """What is explained, a galaxy a row.

    Attributes
    ----------
    cataids
        `(N,)` ids, each once.
    images
        `(N, S, S, 3)` uint8 RGB at the model's size, in memory or memory-mapped.
    frames
        N cutouts, `(H, W, 3)` uint8 RGB each, before crop and resize. They are asked for once, one after another, so
        that they need not be in memory together.
    target
        `(N,)` the class that is explained: `Elliptical` or `Other`.
    blank_channels
        `(N,)` letters of the channels without light, as in the manifest's column `blank_channel`; empty for none.

    Raises
    ------
    InputError
        When the parts are not of one length, an id comes twice, or a class is not known.
    """

    cataids: Sequence[str]
    images: np.ndarray
    frames: Iterable[np.ndarray]
    target: Sequence[str]
    blank_channels: Sequence[str]

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.cataids, self.images, self.target, self.blank_channels)}
        if len(lengths) > 1:
            raise InputError(
                "every galaxy needs an id, an image, a target and its blank channels. Received: "
                f"{len(self.cataids)} ids, {len(self.images)} images, {len(self.target)} targets and "
                f"{len(self.blank_channels)} entries of blank channels"
            )
        if len(set(self.cataids)) < len(self.cataids):
            twice = sorted({id_ for id_ in self.cataids if list(self.cataids).count(id_) > 1})
            raise InputError(f"every galaxy must be there once. Received more than once: {', '.join(twice[:10])}")
        target_signs(list(self.target))

    def __len__(self) -> int:
        """How many."""
        return len(self.cataids)

    @property
    def signs(self) -> np.ndarray:
        """What the logit is multiplied by to score each target, `(N,)` float32."""
        return target_signs(list(self.target))

    def targets(self, places: np.ndarray) -> list[str]:
        """Classes of some of the galaxies."""
        return [self.target[at] for at in places.tolist()]

    def random(self, at: int, draw: Draw, seed: int) -> np.random.Generator:
        """Return random numbers that depend on the galaxy's id, not on which others are scored or in what order."""
        return np.random.default_rng([seed, draw, zlib.crc32(self.cataids[at].encode())])

    def some(self, most: int, seed: int) -> np.ndarray:
        """Places of at most `most` galaxies, in order, chosen by a hash of seed and id."""
        draws = [uniform(seed, cataid) for cataid in self.cataids]
        return np.sort(np.argsort(draws, kind="stable")[:most])

    def only(self, places: np.ndarray) -> "Galaxies":
        """Return some of the galaxies, without their frames."""
        return Galaxies(
            [self.cataids[at] for at in places.tolist()],
            self.images[places],
            (),
            self.targets(places),
            [self.blank_channels[at] for at in places.tolist()],
        )
