"""From cutouts to what a model sees: crop and resize, targets, and batches for training.

`prepare` is the one place where a cutout is cropped and resized, whoever asks: training, evaluation, explanation,
prediction or the service. It needs no TensorFlow; only the functions that make batches import it.
"""

import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from galmorph.data.augmentation import augment, centre, generator
from galmorph.data.resample import resample
from galmorph.params import AugmentationParams, DenoiserParams, Fill, PreprocessParams

if TYPE_CHECKING:
    import tensorflow as tf

#: The class whose probability the models give; y = 1 stands for it, here and nowhere else.
POSITIVE = "Elliptical"
#: Calibrated probability of it from which an answer is it: so calibrated probabilities make the fewest mistakes.
THRESHOLD = 0.5


class Stream(IntEnum):
    """Independent random numbers of one training, so that a further draw in one place moves nothing in another."""

    ORDER = 0
    AUGMENTATION = 1
    VIEWS = 2


def targets(labels: Sequence[str]) -> np.ndarray:
    """Return 1 for `Elliptical` and 0 for `Other`, `(N,)` float32."""
    return np.asarray([label == POSITIVE for label in labels], np.float32)


def classes_of(p_elliptical: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the class of each calibrated probability, `(N,)` text: `Elliptical` from the threshold on."""
    return np.where(p_elliptical >= threshold, POSITIVE, "Other")


def near_threshold(p_elliptical: np.ndarray, threshold: float, within: float) -> np.ndarray:
    """Tell which probabilities are nearer to the threshold than `within`: a person should look; `(N,)` bool."""
    return np.asarray(np.abs(p_elliptical - threshold) < within)


def crop_box(height: int, width: int, params: PreprocessParams) -> tuple[int, int, int]:
    """Top, left and side, in pixels, of the centred square that the model sees.

    The side is `params.crop` of the frame's shorter side, at least one pixel.
    """
    side = max(1, round(params.crop * min(height, width)))
    return (height - side) // 2, (width - side) // 2, side


def prepare(
    image: np.ndarray, params: PreprocessParams, *, context: float = 1.0, zoom: float = 1.0, fill: Fill = "black"
) -> np.ndarray:
    """Crop a cutout about its centre and resize it to what the model takes.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB, any size.
    params
        Share of the frame to keep, and the side of the result in pixels.
    context
        How many times the side that the model sees is wanted, for augmentation. The pixels in the middle are those
        that come without it; see `galmorph.data.augmentation.centre`.
    zoom
        How many times larger the galaxy shall look: the crop is `params.crop / zoom`.
    fill
        What lies past the frame, where context or zoom reach there: edge pixels again (`nearest`), or `black`.

    Returns
    -------
    numpy.ndarray
        `(S, S, 3)` uint8 RGB, S = `context_size(image_size, context)`, which is `image_size` for a context of 1.
        Shrinking averages over the area, so that noise and small structure do not alias; enlarging is bicubic.
    """
    top, left, side = crop_box(image.shape[0], image.shape[1], params)
    size = context_size(params.image_size, context)
    taken = side * size / params.image_size / zoom
    return resample(image, top + (side - taken) / 2, left + (side - taken) / 2, taken, size, fill)


def prepare_raw(image: np.ndarray, params: PreprocessParams, denoiser: DenoiserParams | None) -> np.ndarray:
    """Make of a raw cutout what a model of a variant sees: denoise it as the variant was, then `prepare` it.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB, any size.
    params
        As for `prepare`.
    denoiser
        Of the variant; None for `raw`, or for an image that went through it already.
    """
    if denoiser is not None:
        # Its libraries take seconds to load, which a model of raw images need not wait for.
        from galmorph.data.denoise import denoise

        image = denoise(image, denoiser)
    return prepare(image, params)


def context_size(image_size: int, context: float) -> int:
    """Side in pixels of images with context: at least `context * image_size`, equally far past each edge."""
    return image_size + 2 * math.ceil((context - 1) * image_size / 2)


def to_frame(attribution: np.ndarray, height: int, width: int, params: PreprocessParams) -> np.ndarray:
    """Map a `(h, w)` attribution of what the model saw back to the full `(height, width)` frame.

    What the model did not see, outside the crop, is 0. Alignment is that of `prepare`: the centre of a coarse pixel
    comes to lie on the centre of the area it was averaged over.
    """
    top, left, side = crop_box(height, width, params)
    frame = np.zeros((height, width), np.float32)
    frame[top : top + side, left : left + side] = cv2.resize(
        attribution.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR
    )
    return frame


def without_evidence(maps: np.ndarray) -> np.ndarray:
    """Tell which maps hold nothing that speaks for the class they are for: such a map is said in words, not drawn.

    Parameters
    ----------
    maps
        `(N, ...)` float, above 0 where something does.

    Returns
    -------
    numpy.ndarray
        `(N,)` bool.
    """
    return np.asarray(~(maps > 0).any(tuple(range(1, maps.ndim))))


def rows(images: np.ndarray, chosen: np.ndarray | slice) -> np.ndarray:
    """Copy some rows of an array that may be memory-mapped, and keep none of the file's pages in memory.

    Without the last part a process that goes through a file as large as its memory would grow to that size.
    """
    # Rows chosen one by one are a copy already.
    taken = np.array(images[chosen]) if isinstance(chosen, slice) else np.asarray(images[chosen])
    mode: str | None = None
    mapped: object = images
    while isinstance(mapped, np.ndarray):
        mode, mapped = getattr(mapped, "mode", mode), mapped.base
    # A copy-on-write map would lose what was written to it. Not every system has madvise.
    if isinstance(mapped, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)
    return taken


def batches(images: np.ndarray, y: np.ndarray, batch_size: int, *, image_size: int | None = None) -> "tf.data.Dataset":
    """Batches in order, as the model sees them when it is asked.

    Parameters
    ----------
    images
        `(N, W, W, 3)` uint8, in memory or memory-mapped.
    y
        `(N,)` float32 targets.
    batch_size
        The last batch holds what is left.
    image_size
        What the model takes, where the images have context around it; None: the images as they are.

    Returns
    -------
    tf.data.Dataset
        Of `(b, image_size, image_size, 3)` float32 in [0, 255] and `(b, 1)` float32.
    """
    size = images.shape[1] if image_size is None else image_size
    seen = centre(images, size)

    def batch(number: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(number * batch_size, (number + 1) * batch_size)
        return rows(seen, chosen).astype(np.float32), y[chosen, None]

    return _computed(batch, [(number,) for number in range(math.ceil(len(images) / batch_size))], size)


def training_batches(
    images: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    seed: int,
    augmentation: AugmentationParams | None,
    epochs: Iterable[int],
    *,
    image_size: int | None = None,
) -> "tf.data.Dataset":
    """Shuffled and augmented batches of each epoch in turn.

    Order and augmentation depend on the seed, the epoch's number and the batch's place in it only: a run that is
    resumed at epoch 3 sees what an uninterrupted one saw. Batches are computed several at a time, in order.

    Parameters
    ----------
    images
        `(N, W, W, 3)` uint8, in memory or memory-mapped; only a batch's images are read for it.
    y
        `(N,)` float32 targets.
    batch_size
        The last batch of an epoch holds what is left.
    seed
        Of order and augmentation.
    augmentation
        Ranges of the random transforms; None for none.
    epochs
        Their numbers, in order.
    image_size
        What the model takes, where the images have context around it; None: the images' own side.

    Returns
    -------
    tf.data.Dataset
        `ceil(N / batch_size)` batches an epoch, as `batches` gives them.

    Raises
    ------
    InputError
        When images of that size cannot be cut out of the middle of those that were given.
    """
    size = images.shape[1] if image_size is None else image_size
    seen = centre(images, size)

    @lru_cache(maxsize=2)  # the epoch under way and, prefetched, the next
    def order(epoch: int) -> np.ndarray:
        return generator(seed, Stream.ORDER, epoch).permutation(len(images))

    def batch(epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = order(epoch)[number * batch_size : (number + 1) * batch_size]
        if augmentation is None:
            return rows(seen, chosen).astype(np.float32), y[chosen, None]
        random = generator(seed, Stream.AUGMENTATION, epoch, number)
        return augment(rows(images, chosen), augmentation, size, random), y[chosen, None]

    steps = range(math.ceil(len(images) / batch_size))
    return _computed(batch, [(epoch, number) for epoch in epochs for number in steps], size)


def _computed(
    batch: Callable[..., tuple[np.ndarray, np.ndarray]], numbers: Sequence[tuple[int, ...]], size: int
) -> "tf.data.Dataset":
    """Make a data set of `batch(*row)` for each row of numbers, several computed at a time, in order."""
    import tensorflow as tf

    def fresh(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, target = batch(*row.tolist())
        # TensorFlow takes over the memory of what it is given, and may write into it: a view would lose its original.
        return image, np.array(target)

    def call(row: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        # Stateless is true, as equal numbers give an equal batch; and it lets TensorFlow compute several at once even
        # when it is told to be deterministic.
        image, target = tf.numpy_function(fresh, [row], (tf.float32, tf.float32), stateful=False)
        image.set_shape((None, size, size, 3))
        target.set_shape((None, 1))
        return image, target

    return (
        tf.data.Dataset.from_tensor_slices(np.asarray(numbers, np.int64))
        .map(call, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(2)
    )


def augmented_views(
    images: np.ndarray, augmentation: AugmentationParams, image_size: int, view: int, seed: int, batch_size: int
) -> Iterator[np.ndarray]:
    """Yield one augmented view of every image, in order.

    Parameters
    ----------
    images
        `(N, W, W, 3)` uint8, in memory or memory-mapped.
    augmentation
        Ranges.
    image_size
        What the model takes.
    view
        Its number, from 0. Each view has its own random numbers, the same whenever it is asked for.
    seed
        Of the training.
    batch_size
        Images at a time; the last batch holds what is left.

    Yields
    ------
    numpy.ndarray
        `(b, image_size, image_size, 3)` float32 in [0, 255].
    """
    centre(images[:1], image_size)
    for number, start in enumerate(range(0, len(images), batch_size)):
        held = rows(images, slice(start, start + batch_size))
        yield augment(held, augmentation, image_size, generator(seed, Stream.VIEWS, view, number))
