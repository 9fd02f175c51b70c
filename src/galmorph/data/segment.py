"""The galaxy's own pixels, its neighbours and the sky of a cutout, and the galaxy's shape.

The steps are those of SExtractor (Bertin & Arnouts 1996, doi:10.1051/aas:1996164): a sigma-clipped sky, a smoothed
image, a threshold, connected pixels, and touching objects told apart by thresholds rising from the saddle to the peak.
"""

from dataclasses import dataclass

import cv2
import numpy as np

#: Smoothing before detection, as a share of the frame's shorter side: 1.8 pixels at 300, about a seeing disc.
_SMOOTHING = 0.006
#: Detection threshold above the sky, and what an object's brightest pixel must reach, so that a chance clump of noise
#: is none: in standard deviations of the smoothed sky. The threshold is at least so many levels of 255.
_SIGMAS, _PEAK_SIGMAS, _LEVELS = 2.5, 6.0, 1.0
#: Smallest object, as a share of the frame's pixels: 18 pixels at 300 by 300.
_MIN_AREA = 2e-4
#: How far from the frame's centre the galaxy may begin, as a share of the shorter side.
_OFF_CENTRE = 0.12
#: Thresholds between an object's edge and its peak at which it may fall apart.
_DEBLEND_LEVELS = 12
#: What stands out of the saddle must hold this share of the object's light to be another object: knots of a spiral
#: arm hold less.
_DEBLEND_CONTRAST = 0.03
#: The sky begins this far from any object, as a share of the shorter side: their faint wings stay out of it.
_SKY_MARGIN = 0.02


@dataclass(frozen=True)
class Segments:
    """Which pixels of a cutout belong to what; `(H, W)` bool each, no pixel in two of them.

    Attributes
    ----------
    galaxy
        The object at the centre. Nothing where no object is found there.
    neighbours
        Every other object.
    sky
        Pixels well away from any object. Those at an object's edge are in none of the three.
    """

    galaxy: np.ndarray
    neighbours: np.ndarray
    sky: np.ndarray


@dataclass(frozen=True)
class Shape:
    """A galaxy's shape, NaN throughout where there is no galaxy.

    Attributes
    ----------
    axis_ratio
        Minor over major axis of the flux-weighted second moments, in (0, 1].
    radius_pixels
        Semi-major axis of the ellipse that holds half of the segment's light, in pixels.
    position_angle
        Direction of the major axis in degrees, in [0, 180), anticlockwise from the picture's horizontal.
    """

    axis_ratio: float
    radius_pixels: float
    position_angle: float


def grey(image: np.ndarray) -> np.ndarray:
    """Return the mean of the channels of an `(H, W, 3)` uint8 image as `(H, W)` float32."""
    return image.astype(np.float32) @ np.full(3, 1 / 3, np.float32)


def sky_level(values: np.ndarray) -> tuple[float, float]:
    """Level and standard deviation of the sky, by clipping what is brighter or darker than 3 sigma.

    Parameters
    ----------
    values
        Pixels, of any shape and real type; most of them sky. Of very many, some 10,000 are looked at.

    Returns
    -------
    level, deviation
        Median, and 1.4826 times the median absolute deviation, both of what is left after clipping; zeros where
        there is no pixel.
    """
    left = np.asarray(values, np.float32).ravel()
    left = left[:: max(1, left.size // 10_000)]
    if not left.size:
        return 0.0, 0.0
    for _ in range(6):
        level = float(np.median(left))
        deviation = 1.4826 * float(np.median(np.abs(left - level)))
        kept = left[np.abs(left - level) <= 3 * max(deviation, 0.5)]
        if kept.size == left.size:
            break
        left = kept
    return level, deviation


def segment(image: np.ndarray) -> Segments:
    """Find the galaxy, its neighbours and the sky in a cutout.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.

    Returns
    -------
    Segments
        The galaxy's mask is empty for a blank frame, and where nothing lies within 12 % of the side from the centre.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    smooth = cv2.GaussianBlur(grey(image), (0, 0), max(0.8, _SMOOTHING * side))
    level, deviation = sky_level(smooth)
    threshold = level + max(_SIGMAS * deviation, _LEVELS)
    min_area = max(4, round(_MIN_AREA * height * width))

    count, labels, stats, _ = cv2.connectedComponentsWithStats((smooth > threshold).astype(np.uint8), connectivity=8)
    bright = np.unique(labels[smooth > level + max(_PEAK_SIGMAS * deviation, 2 * _LEVELS)])
    kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    kept[np.setdiff1d(np.arange(count), bright)] = False
    kept[0] = False
    objects = kept[labels]
    margin = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(_SKY_MARGIN * side)) + 1,) * 2)
    sky = ~cv2.dilate(objects.astype(np.uint8), margin).astype(bool)

    central = _nearest_to_centre(np.where(objects, labels, 0), _OFF_CENTRE * side)
    if not central:
        return Segments(np.zeros((height, width), bool), objects, sky)
    galaxy = labels == central
    galaxy &= ~_touching_objects(np.where(galaxy, smooth - level, 0), galaxy, threshold - level, min_area)
    galaxy |= cv2.morphologyEx(galaxy.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5))).astype(bool) & ~objects
    return Segments(galaxy, objects & ~galaxy, sky)


def _nearest_to_centre(labels: np.ndarray, within: float) -> int:
    """Label of the object that the centre lies in, else the one that begins nearest to it, else 0."""
    height, width = labels.shape
    y, x = np.nonzero(labels)
    distance = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    if not distance.size or distance.min() > within:
        return 0
    nearest = int(distance.argmin())
    return int(labels[y[nearest], x[nearest]])


def _touching_objects(light: np.ndarray, mask: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Pixels of one connected object that belong to others than the one at the frame's centre.

    Parameters
    ----------
    light
        `(H, W)` sky-subtracted smoothed light.
    mask
        `(H, W)` bool: the connected object.
    threshold
        Light at which it was detected.
    min_area
        Smallest object, pixels.

    Returns
    -------
    numpy.ndarray
        `(H, W)` bool.
    """
    rows, columns = (slice(*np.flatnonzero(mask.any(axis))[[0, -1]] + (0, 1)) for axis in (1, 0))
    height, width = light.shape
    centre = ((height - 1) / 2 - rows.start, (width - 1) / 2 - columns.start)
    within = np.ascontiguousarray(light[rows, columns])
    others = _peaks_apart(within, threshold, min_area, centre)
    result = np.zeros(mask.shape, bool)
    if others is not None:
        result[rows, columns] = _flood(within, mask[rows, columns], threshold, others) > 1
    return result


def _peaks_apart(light: np.ndarray, threshold: float, min_area: int, centre: tuple[float, float]) -> np.ndarray | None:
    """Seeds of the flood: 1 the central object's, 2 and up the others'; None when it is all one object."""
    contrast = _DEBLEND_CONTRAST * float(light.sum())
    levels = np.geomspace(max(threshold, 0.1), max(float(light.max()), threshold + 1), _DEBLEND_LEVELS + 1)[1:-1]
    seeds = np.zeros(light.shape, np.int32)
    found = 0
    main = light > 0
    for level in levels:
        count, labels, stats, _ = cv2.connectedComponentsWithStats((main & (light > level)).astype(np.uint8))
        if count <= 1:
            break
        above = np.bincount(labels.ravel(), np.maximum(light - level, 0).ravel(), minlength=count)
        apart = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= min_area / 2 and above[k] > contrast]
        if not apart:
            break
        y, x = np.nonzero(np.isin(labels, apart))
        distance = np.hypot(y - centre[0], x - centre[1])
        nearest = int(distance.argmin())
        own = int(labels[y[nearest], x[nearest]])
        for other in apart:
            if other != own:
                found += 1
                seeds[labels == other] = found + 1
        # What follows is looked for in the central branch alone: the others are neighbours, however many they are.
        main = labels == own
        core = main
    if not found:
        return None
    seeds[core & (seeds == 0)] = 1
    return seeds


def _flood(light: np.ndarray, mask: np.ndarray, threshold: float, seeds: np.ndarray) -> np.ndarray:
    """Let the seeds grow downhill into the mask, level by level; `(H, W)` int32 labels."""
    grown = np.asarray(seeds, np.float32)
    kernel = np.ones((3, 3), np.uint8)
    for level in np.geomspace(max(float(light.max()), threshold + 1), max(threshold, 0.1), 2 * _DEBLEND_LEVELS):
        open_ = mask & (light >= level)
        _grow(grown, open_, kernel)
    _grow(grown, mask, kernel)
    return grown.astype(np.int32)


def _grow(grown: np.ndarray, allowed: np.ndarray, kernel: np.ndarray) -> None:
    while True:
        fresh = allowed & (grown == 0)
        if not fresh.any():
            return
        reached = cv2.dilate(grown, kernel)
        fresh &= reached > 0
        if not fresh.any():
            return
        grown[fresh] = reached[fresh]


def shape(image: np.ndarray, galaxy_mask: np.ndarray) -> Shape:
    """Measure a galaxy's shape by the flux-weighted second moments of its segment.

    The seeing is not taken out: what is small looks rounder than it is.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB.
    galaxy_mask
        `(H, W)` bool, as `segment` finds it.

    Returns
    -------
    Shape
        NaN throughout for an empty mask, or one without light above the sky.
    """
    nothing = Shape(float("nan"), float("nan"), float("nan"))
    if not galaxy_mask.any():
        return nothing
    pixels = grey(image)
    outside = pixels[~galaxy_mask]
    level = sky_level(outside)[0]
    y, x = np.nonzero(galaxy_mask)
    light = np.maximum(pixels[y, x].astype(np.float64) - level, 0)
    total = light.sum()
    if total <= 0:
        return nothing
    light /= total
    dx = x - (light * x).sum()
    dy = (light * y).sum() - y  # up is positive, as in the picture
    # A pixel is a square, not a point: 1/12 is its own second moment.
    xx, yy, xy = (light * dx**2).sum() + 1 / 12, (light * dy**2).sum() + 1 / 12, (light * dx * dy).sum()
    (minor, major), axes = np.linalg.eigh(np.array([[xx, xy], [xy, yy]]))
    ratio = float(np.sqrt(minor / major))
    along, across = axes[0, 1] * dx + axes[1, 1] * dy, axes[0, 0] * dx + axes[1, 0] * dy
    radius = np.hypot(along, across / ratio)
    order = radius.argsort()
    half = int(np.searchsorted(np.cumsum(light[order]), 0.5))
    angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])) % 180)
    return Shape(ratio, float(radius[order[min(half, len(order) - 1)]]), angle)
