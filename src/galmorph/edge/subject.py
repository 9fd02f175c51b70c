"""A model and the galaxies whose answers are explained, wherever both come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from galmorph.data.dataset import prepare
from galmorph.models.saved import ModelFacts


@dataclass(frozen=True)
class Subject:
    """A model, and galaxies whose answers are explained.

    Attributes
    ----------
    model, facts
        As loaded.
    digest
        Of the model file.
    about
        What the report says of the model, each as a heading and a text.
    split, scores
        The split that the galaxies are of, and the model's scores there, in the layout of `metrics.json`; empty scores
        where they are not known.
    galaxies
        `CATAID`, `label` (None where it is not known), `predicted`, `logit`, `p_elliptical`, `blank_channel` (letters),
        `chosen_as` (a key of `explained.KINDS`; empty: not shown) and `checked` (bool); the shown ones first.
    shown, seen
        Give the cutout of an id, `(H, W, 3)` uint8: as the astronomer knows it, and as it is before the model's own
        crop. They differ where the variant is denoised.
    """

    model: keras.Model
    facts: ModelFacts
    digest: str
    about: Sequence[tuple[str, str]]
    split: str
    scores: Mapping[str, Any]
    galaxies: pd.DataFrame
    shown: Callable[[str], np.ndarray]
    seen: Callable[[str], np.ndarray]

    def prepared(self, cataids: Sequence[str]) -> np.ndarray:
        """Return what the model sees of some galaxies, `(n, S, S, 3)` uint8."""
        return np.stack([prepare(self.seen(cataid), self.facts.preprocess) for cataid in cataids])

    @property
    def to_show(self) -> pd.DataFrame:
        """The rows that are shown; they come first."""
        return self.galaxies[self.galaxies["chosen_as"] != ""]
