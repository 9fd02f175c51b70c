"""Random transforms of training images: one affine map an image, then brightness and noise.

All geometry is one bilinear warp, so that an image is interpolated once. OpenCV does it: it gives the same pixels as
TensorFlow's `ImageProjectiveTransformV3` in a fraction of the time (`benchmarks/input_pipeline.py`), and as tf.data
runs on the CPU in any case, a GPU host loses nothing by it. Nothing here needs TensorFlow; random numbers are NumPy's,
from seeds that say which batch they are for.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from galmorph.errors import InputError
from galmorph.params import AugmentationParams, Fill

_UNSIGNED = (1 << 64) - 1
#: Uniform numbers drawn for an image, whatever the ranges, so that a range changes nothing else.
_DRAWN = 12


@dataclass(frozen=True)
class Transforms:
    """What is done to each of N images.

    Attributes
    ----------
    rotation, shear
        `(N,)` degrees.
    shift, zoom
        `(N, 2)`, across and down: share of the side, and what coordinates are multiplied by (a zoom above 1 shrinks the
        galaxy), as ImageDataGenerator means them.
    turns
        `(N,)` quarter turns.
    scale
        `(N,)` apparent size; 2 makes the galaxy look twice as large.
    mirror
        `(N, 2)`, across and down: -1 or 1.
    brightness
        `(N,)` factor.
    noise
        `(N,)` standard deviation, of 255.
    """

    rotation: np.ndarray
    shift: np.ndarray
    shear: np.ndarray
    zoom: np.ndarray
    turns: np.ndarray
    scale: np.ndarray
    mirror: np.ndarray
    brightness: np.ndarray
    noise: np.ndarray


def generator(seed: int, *numbers: int) -> np.random.Generator:
    """Return random numbers that depend on the seed and on what `numbers` name (a stream, an epoch, a batch) only."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed & _UNSIGNED, *numbers))))


def draw(params: AugmentationParams, count: int, random: np.random.Generator) -> Transforms:
    """Draw the transforms of `count` images.

    Rotation, shift, shear, zoom and flips have the distributions of `keras.preprocessing.image.ImageDataGenerator`.
    """
    unit = random.random((count, _DRAWN))
    either_way = 2 * unit - 1
    smallest, largest = np.log(params.scale)
    flips = np.array([params.horizontal_flip, params.vertical_flip])
    return Transforms(
        rotation=either_way[:, 0] * params.rotation,
        shift=either_way[:, 1:3] * params.shift,
        shear=either_way[:, 3] * params.shear,
        zoom=1 + either_way[:, 4:6] * params.zoom,
        mirror=np.where(flips & (unit[:, 6:8] < 0.5), -1, 1),
        turns=np.floor(4 * unit[:, 8]).astype(int) * params.quarter_turns,
        scale=np.exp(smallest + unit[:, 9] * (largest - smallest)),
        brightness=np.exp(either_way[:, 10] * params.brightness),
        noise=unit[:, 11] * params.noise,
    )


def affine_maps(transforms: Transforms, size: int, held: int) -> np.ndarray:
    """Compose rotation, shift, shear, zoom, scale, quarter turns and flips into one affine map an image.

    The composition and its conventions are those of ImageDataGenerator (rotation · shift · shear · zoom about the
    centre, the flip last), so that the published recipe is the one that is followed; scale and quarter turns, which it
    does not have, stand before the flip.

    Parameters
    ----------
    transforms
        Of N images.
    size
        Side of the results in pixels; shifts are shares of it.
    held
        Side of the images that are at hand in pixels, `size` or more; their centres fall together.

    Returns
    -------
    numpy.ndarray
        `(N, 2, 3)` float64, from coordinates (x, y, 1) in the result to those in the image; the first pixel's centre
        is at 0.
    """
    count = len(transforms.rotation)
    angle, shear = np.deg2rad(transforms.rotation), np.deg2rad(transforms.shear)
    rotation = _matrices(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    # Exact, so that a turned image holds the same pixels.
    cosine, sine = np.array([1, 0, -1, 0])[transforms.turns], np.array([0, 1, 0, -1])[transforms.turns]
    turn = _matrices(cosine, -sine, sine, cosine)
    sheared = _matrices(np.ones(count), -np.sin(shear), np.zeros(count), np.cos(shear))
    stretch = (transforms.zoom / transforms.scale[:, None])[:, :, None] * np.eye(2)
    mirror = transforms.mirror[:, :, None] * np.eye(2)
    linear = rotation @ sheared @ stretch @ turn @ mirror  # (N, 2, 2)
    shift = (rotation @ (transforms.shift * size)[:, :, None])[:, :, 0]
    offset = (held - 1) / 2 + shift - linear @ np.full(2, (size - 1) / 2)
    return np.concatenate([linear, offset[:, :, None]], -1)


def _matrices(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Matrices `[[a, b], [c, d]]`, `(N, 2, 2)`."""
    return np.stack([np.stack([a, b], -1), np.stack([c, d], -1)], -2)


def augment(images: np.ndarray, params: AugmentationParams, size: int, random: np.random.Generator) -> np.ndarray:
    """Transform each image by a draw of its own.

    Parameters
    ----------
    images
        `(N, W, W, 3)` uint8, W at least `size`: as `prepare` makes them, with as much context as there is.
    params
        Ranges.
    size
        Side of the results in pixels.
    random
        See `generator`.

    Returns
    -------
    numpy.ndarray
        `(N, size, size, 3)` float32 in [0, 255].
    """
    return transformed(images, draw(params, len(images), random), size, params.fill, random)


def transformed(
    images: np.ndarray, transforms: Transforms, size: int, fill: Fill, random: np.random.Generator
) -> np.ndarray:
    """Do what was drawn: warp, multiply by the brightness, add noise; see `augment` for the rest."""
    result = warp(images, affine_maps(transforms, size, images.shape[1]), size, fill)
    lit, noisy = bool((transforms.brightness != 1).any()), bool(transforms.noise.any())
    if lit:
        result *= transforms.brightness.astype(np.float32)[:, None, None, None]
    if noisy:
        for image, deviation in zip(result, transforms.noise, strict=True):
            image += np.float32(deviation) * random.standard_normal(image.shape, np.float32)
    # No image that the model is asked about has more than white or less than black.
    return np.clip(result, 0, 255, out=result) if lit or noisy else result


def warp(images: np.ndarray, maps: np.ndarray, size: int, fill: Fill) -> np.ndarray:
    """Look up each result's pixels in its image, between pixels bilinearly.

    Parameters
    ----------
    images
        `(N, W, W, 3)` uint8.
    maps
        `(N, 2, 3)`, as `affine_maps` makes them.
    size
        Side of the results in pixels.
    fill
        Past the image: `nearest`, its edge pixels again, or `black`.

    Returns
    -------
    numpy.ndarray
        `(N, size, size, 3)` float32.
    """
    border = cv2.BORDER_REPLICATE if fill == "nearest" else cv2.BORDER_CONSTANT
    warped = np.empty((len(images), size, size, 3), np.float32)
    for image, matrix, result in zip(images, maps, warped, strict=True):
        # Of floats: OpenCV is faster at them than at bytes, and rounds nothing.
        cv2.warpAffine(
            image.astype(np.float32),
            matrix,
            (size, size),
            dst=result,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
        )
    return warped


def centre(images: np.ndarray, size: int) -> np.ndarray:
    """Cut what the model sees out of images with context: `(N, W, W, 3)` to `(N, size, size, 3)`, without a copy.

    Raises
    ------
    InputError
        When the images are smaller than that, or cannot be cut evenly.
    """
    margin, odd = divmod(images.shape[1] - size, 2)
    if margin < 0 or odd:
        raise InputError(
            f"images with context must be larger than image_size, {size}, by an even number of pixels: prepare them "
            f"with data.dataset.prepare. Received: {images.shape[1]} pixels"
        )
    return images[:, margin : margin + size, margin : margin + size]
