"""From an attribution to a picture; nothing here knows how the attribution came about.

A map has a scale of its own. It starts at 0, drawn dark, and ends where `picture.covered` of the map's pixels lie
within it: a few extreme pixels, which gradients tend to have, would leave everything else dark. Maps that also hold
evidence against the class get a scale with two ends, equally far from 0, and a dark middle.
"""

import matplotlib
import numpy as np

from galmorph.data.dataset import crop_box, to_frame
from galmorph.params import PictureParams, PreprocessParams


def scale_end(attribution: np.ndarray, signed: bool, covered: float) -> float:
    """Return the value at which a map's colour scale ends, 0 for an empty map.

    Parameters
    ----------
    attribution
        `(H, W)` float.
    signed
        Whether negative values are drawn; otherwise they count as 0.
    covered
        Share of the pixels whose size is at most the value. Where that is 0, as for a map of one hot pixel, the
        largest is taken.
    """
    if not attribution.size:
        return 0.0
    sizes = np.abs(attribution) if signed else np.clip(attribution, 0, None)
    end = float(np.quantile(sizes, covered, method="higher"))
    return end if end > 0 else float(sizes.max())


def normalised(attribution: np.ndarray, signed: bool, covered: float) -> np.ndarray:
    """Scale an attribution to [-1, 1], or to [0, 1] where negative values mean nothing; an empty map stays so.

    Parameters
    ----------
    attribution
        `(H, W)` float.
    signed, covered
        See `scale_end`.

    Returns
    -------
    numpy.ndarray
        `(H, W)` float32; what lies beyond the scale is put at its end.
    """
    end = scale_end(attribution, signed, covered)
    scaled = attribution / end if end > 0 else np.zeros(attribution.shape)
    return np.asarray(np.clip(scaled, -1.0 if signed else 0.0, 1.0), np.float32)


def colour_map_of(signed: bool, picture: PictureParams) -> str:
    """Name of the colour map that a map is drawn in."""
    return picture.signed_colour_map if signed else picture.colour_map


def coloured(attribution: np.ndarray, signed: bool, picture: PictureParams) -> np.ndarray:
    """Draw a map by itself.

    Parameters
    ----------
    attribution
        `(H, W)` float.
    signed
        Whether negative values are evidence against the class.
    picture
        The colour maps and the share of pixels that the scale covers.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8. 0 is the dark end of the colour map, or its middle where the map is signed.
    """
    values = normalised(attribution, signed, picture.covered)
    place = (values + 1) / 2 if signed else values
    colours = matplotlib.colormaps[colour_map_of(signed, picture)](place)[..., :3]
    return np.asarray(np.rint(255 * colours), np.uint8)


def overlay(image: np.ndarray, attribution: np.ndarray, signed: bool, picture: PictureParams) -> np.ndarray:
    """Lay a heat map over the image it explains.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8: the cutout as the astronomer knows it, not what was fed to the model.
    attribution
        `(H, W)` float of the same frame.
    signed
        Whether negative values are evidence against the class. Such a map is the more opaque the further from 0, so
        that the image stays clear where nothing speaks either way; one without signs is equally opaque everywhere.
    picture
        Colour maps, and the opacity in [0, 1].

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8; the image itself where the map is empty.
    """
    values = np.abs(normalised(attribution, signed, picture.covered))
    if not values.any():
        return image.copy()
    opacity = picture.alpha * (values if signed else np.ones_like(values))[..., None]
    mixed = opacity * coloured(attribution, signed, picture) + (1 - opacity) * image
    return np.asarray(np.rint(mixed).clip(0, 255), np.uint8)


def overlay_on_frame(
    image: np.ndarray, attribution: np.ndarray, signed: bool, preprocess: PreprocessParams, picture: PictureParams
) -> np.ndarray:
    """Lay a heat map of what the model saw over the whole cutout, at the place where the model saw it.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8, the whole cutout.
    attribution
        `(S, S)` float, of the crop that the model saw.
    signed, picture
        See `overlay`.
    preprocess
        The crop.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8. What the model did not see is left as it is.
    """
    height, width = image.shape[:2]
    top, left, side = crop_box(height, width, preprocess)
    box = slice(top, top + side), slice(left, left + side)
    whole = image.copy()
    whole[box] = overlay(image[box], to_frame(attribution, height, width, preprocess)[box], signed, picture)
    return whole
