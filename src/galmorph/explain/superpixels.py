"""Super-pixels for galaxies: the pieces of an image that LIME shows and hides.

Those by colour (SLIC) know nothing of a galaxy. Those in annuli are made for one: its centre, its body, its outskirts,
its neighbours and the sky are different pieces, so that what is said of a piece can be said in an astronomer's words.
"""

from dataclasses import dataclass

import numpy as np
from skimage.segmentation import slic

from galmorph.data.segment import Segments, grey, segment, shape, sky_level
from galmorph.params import LimeParams

#: The innermost ellipse, of the radius that holds half the light: the centre, or the bulge of a galaxy that has one.
_CORE = 0.5
#: The galaxy's edge is the ellipse that holds this share of its own pixels: an arm's tip does not blow it up.
_EDGE = 0.95
#: The outermost ellipse, of the edge: a galaxy's wings go on where they are too faint to detect, and models see them.
#: Were the sky to begin at the edge, it would be credited with them.
_WINGS = 1.5
#: Innermost and outermost circle where no galaxy is found, as shares of the image's side.
_NO_GALAXY = (0.06, 0.45)


@dataclass(frozen=True)
class Superpixels:
    """How an image is cut up.

    Attributes
    ----------
    labels
        `(S, S)` int: 0 to K - 1, each of them at least once.
    galaxy_found
        Whether there is a galaxy at the image's centre.
    """

    labels: np.ndarray
    galaxy_found: bool

    @property
    def count(self) -> int:
        """How many there are, K."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class _Ellipse:
    """A galaxy's centre, its form, and the semi-major axes, in pixels, between which its annuli lie."""

    x: float
    y: float
    axis_ratio: float
    position_angle: float
    inner: float
    outer: float


def superpixels(image: np.ndarray, params: LimeParams) -> Superpixels:
    """Cut an image up.

    Parameters
    ----------
    image
        `(S, S, 3)` RGB in [0, 255], uint8 or float.
    params
        `superpixels`: how; `annuli` and `sectors`, or `segments` and `compactness`: how many.

    Returns
    -------
    Superpixels
        Always the same for the same image.

    References
    ----------
    Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods", IEEE TPAMI,
    doi:10.1109/TPAMI.2012.120.
    """
    eight_bit = np.asarray(np.rint(image), np.uint8)
    segments = segment(eight_bit)
    if params.superpixels == "slic":
        labels = slic(eight_bit, n_segments=params.segments, compactness=params.compactness, start_label=0)
    else:
        labels = _annuli(eight_bit, segments, params.annuli, params.sectors)
    return Superpixels(_contiguous(labels), bool(segments.galaxy.any()))


def _annuli(image: np.ndarray, segments: Segments, annuli: int, sectors: int) -> np.ndarray:
    """Cut along the galaxy's own ellipses and across them.

    The annuli's radii grow by a constant factor from the centre to the galaxy's faint wings. The centre is one piece;
    the annuli, the sky beyond the last and the neighbours in front of any of them are cut into sectors, the first of
    them about the major axis.
    """
    ellipse = _ellipse(image, segments)
    radius, sector = _elliptical(image.shape[0], ellipse, sectors)
    edges = np.geomspace(ellipse.inner, ellipse.outer, annuli) if annuli > 1 else np.array([ellipse.outer])
    ring = np.searchsorted(edges, radius)  # 0: the centre; annuli: the sky
    ring[segments.neighbours] = annuli + 1
    return np.where(ring == 0, 0, ring * sectors + sector)


def _ellipse(image: np.ndarray, segments: Segments) -> _Ellipse:
    """Return the galaxy's ellipse; where there is no galaxy, a circle about the image's centre."""
    own = shape(image, segments.galaxy)
    side = image.shape[0]
    if np.isnan(own.radius_pixels):
        middle = (side - 1) / 2
        return _Ellipse(middle, middle, 1.0, 0.0, *(share * side for share in _NO_GALAXY))
    y, x = np.nonzero(segments.galaxy)
    pixels = grey(image)
    light = np.maximum(pixels[y, x] - sky_level(pixels[~segments.galaxy])[0], 0).astype(np.float64)
    at = (float(np.average(x, weights=light)), float(np.average(y, weights=light)))
    free = _Ellipse(*at, own.axis_ratio, own.position_angle, 0, 0)
    edge = float(np.quantile(_elliptical(side, free, 1)[0][y, x], _EDGE))
    # All the light may be in one pixel, at a radius of 0.
    radius = max(own.radius_pixels, 1.0)
    return _Ellipse(*at, own.axis_ratio, own.position_angle, _CORE * radius, _WINGS * max(edge, radius))


def _elliptical(side: int, ellipse: _Ellipse, sectors: int) -> tuple[np.ndarray, np.ndarray]:
    """Semi-major axis of the ellipse through each pixel, and its sector; `(side, side)` float64 and int.

    Sectors are of equal angle in the circle that the ellipse is a projection of, so of equal area within an annulus.
    """
    y, x = np.mgrid[:side, :side]
    dx, dy = x - ellipse.x, ellipse.y - y
    angle = np.radians(ellipse.position_angle)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / ellipse.axis_ratio
    turn = np.arctan2(across, along) / (2 * np.pi)
    return np.hypot(along, across), np.floor(turn * sectors + 0.5).astype(int) % sectors


def _contiguous(labels: np.ndarray) -> np.ndarray:
    """Renumber labels from 0 without gaps: an annulus narrower than a pixel leaves some out."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
