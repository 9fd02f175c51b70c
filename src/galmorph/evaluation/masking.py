"""A cutout without its galaxy, and a galaxy without its surroundings."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from galmorph.data.segment import Segments, segment

#: Tries to find sky for what is to be filled, each in another place of the frame.
_PLACES = 24


@dataclass(frozen=True)
class Masked:
    """A cutout, changed in two ways; `(H, W, 3)` uint8 each.

    Attributes
    ----------
    without_galaxy
        The galaxy covered with sky.
    without_surroundings
        Everything but the galaxy replaced by noise.
    """

    without_galaxy: np.ndarray
    without_surroundings: np.ndarray


def masked(image: np.ndarray, margin: float, seed: int, name: str) -> Masked | None:
    """Take the galaxy out of a cutout, and everything else out of another.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.
    margin
        How far around its segment a galaxy reaches, as a share of the frame's shorter side. Neighbours are none of it.
    seed, name
        Of the random choices; `name` is the galaxy's.

    Returns
    -------
    Masked or None
        None where no galaxy is found at the centre, or no sky.
    """
    segments = segment(image)
    if not segments.galaxy.any() or not segments.sky.any():
        return None
    # By the galaxy's name, so that it does not depend on which others are looked at.
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    galaxy = _with_margin(segments, margin)
    return Masked(
        without_galaxy=covered(image, galaxy, segments.sky & ~galaxy, random),
        without_surroundings=redrawn(image, ~galaxy, segments.sky, random),
    )


def covered(image: np.ndarray, mask: np.ndarray, sky: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cover pixels with pieces of sky from elsewhere in the frame.

    Pieces are copied as they are, so that what covers the galaxy has the level, the noise and the grain of the rest:
    noise of another grain would leave the galaxy's outline to be seen, and with it its size and axis ratio.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.
    mask, sky
        `(H, W)` bool: what to cover, and where sky may be taken from. Nothing is covered where there is no sky.
    """
    result, left = image.copy(), mask & sky.any()
    height, width = mask.shape
    for _ in range(_PLACES):
        if not left.any():
            break
        move = (int(random.integers(height)), int(random.integers(width)))
        take = left & np.roll(sky, move, (0, 1))
        result[take] = np.roll(image, move, (0, 1))[take]
        left &= ~take
    return redrawn(result, left, sky, random)


def redrawn(image: np.ndarray, mask: np.ndarray, sky: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Replace pixels by noise at the level of the frame's own sky.

    Each becomes one of the sky's pixels, drawn at random: level, noise and colours of both are the sky's, a band that
    was never observed stays blank; gradients, neighbours and the noise's grain are gone.

    Parameters
    ----------
    image, mask, sky
        As for `covered`.
    """
    result = image.copy()
    if mask.any() and sky.any():
        pixels = image[sky]
        result[mask] = pixels[random.integers(len(pixels), size=int(mask.sum()))]
    return result


def _with_margin(segments: Segments, margin: float) -> np.ndarray:
    reach = round(margin * min(segments.galaxy.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(segments.galaxy.astype(np.uint8), disc).astype(bool) & ~segments.neighbours)
