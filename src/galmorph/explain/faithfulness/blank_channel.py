"""Whether an answer hangs on a channel that was never observed.

A map of pixels cannot show that a model reacts to a blank channel: the evidence lies everywhere in the image alike. So
the channel is filled, and the model asked again.
"""

from dataclasses import dataclass

import numpy as np

from galmorph.data.dataset import THRESHOLD
from galmorph.data.facts import CHANNELS
from galmorph.explain.faithfulness.answers import Answers, probability
from galmorph.explain.faithfulness.galaxies import Galaxies


@dataclass(frozen=True)
class Filled:
    """A galaxy with a blank channel, and what the model answers when it is filled.

    Attributes
    ----------
    cataid, channels
        Which galaxy, and the letters of its blank channels.
    p_elliptical, filled
        Calibrated probability of Elliptical as it is, and with each blank channel showing the mean of the others.
    change
        How far the log-odds move, without sign.
    """

    cataid: str
    channels: str
    p_elliptical: float
    filled: float
    change: float

    @property
    def flips(self) -> bool:
        """Whether the answer becomes the other class."""
        return (self.p_elliptical >= THRESHOLD) != (self.filled >= THRESHOLD)


def filled_channels(answers: Answers, galaxies: Galaxies) -> list[Filled]:
    """Ask again about every galaxy that has a blank channel, and another to fill it from.

    Parameters
    ----------
    answers
        Of the model.
    galaxies
        Images and their blank channels.

    Returns
    -------
    list
        In the galaxies' order; the others are not in it.
    """
    places = [at for at, letters in enumerate(galaxies.blank_channels) if 0 < len(set(letters)) < len(CHANNELS)]
    stream = (image for at in places for image in _with_filled(galaxies.images[at], galaxies.blank_channels[at]))
    log_odds = answers.log_odds(stream).reshape(-1, 2)
    p = probability(log_odds, np.ones(1))
    return [
        Filled(
            galaxies.cataids[at],
            galaxies.blank_channels[at],
            float(p[row, 0]),
            float(p[row, 1]),
            float(abs(log_odds[row, 1] - log_odds[row, 0])),
        )
        for row, at in enumerate(places)
    ]


def _with_filled(image: np.ndarray, letters: str) -> tuple[np.ndarray, np.ndarray]:
    blank = np.array([channel in letters for channel in CHANNELS])
    filled = image.astype(np.float32)
    filled[..., blank] = filled[..., ~blank].mean(-1, keepdims=True)
    return image, filled
