"""From cutouts to what a model sees: crop and resize, targets, and batches for training.

`prepare` is the one place where a cutout is cropped and resized, whoever asks: training, evaluation, explanation,
prediction or the service. It needs no TensorFlow; only the functions that make batches import it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from galmorph.params import AugmentationParams, PreprocessParams

if TYPE_CHECKING:
    import tensorflow as tf

#: The class whose probability the models give; y = 1 stands for it, here and nowhere else.
POSITIVE = "Elliptical"


def targets(labels: Sequence[str]) -> np.ndarray:
    """Return 1 for `Elliptical` and 0 for `Other`, `(N,)` float32."""
    return np.asarray([label == POSITIVE for label in labels], np.float32)


def crop_box(height: int, width: int, params: PreprocessParams) -> tuple[int, int, int]:
    """Top, left and side, in pixels, of the centred square that the model sees.

    The side is `params.crop` of the frame's shorter side, at least one pixel.
    """
    side = max(1, round(params.crop * min(height, width)))
    return (height - side) // 2, (width - side) // 2, side


def prepare(image: np.ndarray, params: PreprocessParams) -> np.ndarray:
    """Crop a cutout about its centre and resize it to what the model takes.

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB, any size.
    params
        Share of the frame to keep, and the side of the result in pixels.

    Returns
    -------
    numpy.ndarray
        `(image_size, image_size, 3)` uint8 RGB. Shrinking averages over the area, so that noise and small structure
        do not alias; enlarging is bicubic.
    """
    top, left, side = crop_box(image.shape[0], image.shape[1], params)
    square = image[top : top + side, left : left + side]
    size = params.image_size
    method = cv2.INTER_AREA if size <= side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=method))


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


def batches(images: np.ndarray, y: np.ndarray, batch_size: int) -> "tf.data.Dataset":
    """Batches in order, for scoring: `(b, S, S, 3)` float32 in [0, 255] and `(b, 1)` float32 targets."""
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices((images, y[:, None]))
        .batch(batch_size)
        .map(lambda image, target: (tf.cast(image, tf.float32), target))
        .prefetch(1)
    )


def training_batches(
    images: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    seed: int,
    augmentation: AugmentationParams | None,
    epochs: Iterable[int],
) -> "tf.data.Dataset":
    """Shuffled and augmented batches of each epoch in turn.

    Order and augmentation depend on the seed, the epoch's number and the batch's place in it only: a run that is
    resumed at epoch 3 sees what an uninterrupted one saw.

    Parameters
    ----------
    images
        `(N, S, S, 3)` uint8.
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

    Returns
    -------
    tf.data.Dataset
        `ceil(N / batch_size)` batches an epoch, as `batches` gives them.
    """
    import tensorflow as tf

    pixels, answers = tf.constant(images), tf.constant(y[:, None])
    augment = _augmenter(augmentation, images.shape[1]) if augmentation is not None else None

    def batch(epoch: "tf.Tensor", index: "tf.Tensor", chosen: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        image = tf.cast(tf.gather(pixels, chosen), tf.float32)
        # Two seeds make a stateless seed: one names the run, the other the epoch and the batch in it.
        image = augment(image, tf.stack([tf.cast(seed, tf.int64), epoch * 1_000_003 + index])) if augment else image
        return image, tf.gather(answers, chosen)

    def epoch_batches(epoch: "tf.Tensor") -> "tf.data.Dataset":
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(images)), seed=tf.stack([tf.cast(seed, tf.int64), epoch])
        )
        numbered = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return numbered.map(lambda index, chosen: (epoch, index, chosen))

    return (
        tf.data.Dataset.from_tensor_slices(np.asarray(list(epochs), np.int64))
        .flat_map(epoch_batches)
        .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(2)
    )


def affine_transforms(unit: np.ndarray, params: AugmentationParams, size: int) -> "tf.Tensor":
    """Compose rotation, shift, shear, zoom and flips into one affine map an image.

    The composition and its conventions are those of `keras.preprocessing.image.ImageDataGenerator` (rotation · shift ·
    shear · zoom about `size / 2 - 0.5`, the flip last), so that the published recipe is the one that is followed.

    Parameters
    ----------
    unit
        `(N, 8)` uniform draws in [0, 1): angle, two shifts, shear, two zooms, horizontal and vertical flip.
    params
        Ranges; angles in degrees.
    size
        Side of the images in pixels.

    Returns
    -------
    tf.Tensor
        `(N, 8)` float32, from output to input coordinates, as `ImageProjectiveTransformV3` takes them.
    """
    import tensorflow as tf

    unit = tf.convert_to_tensor(unit, tf.float32)

    def spread(column: int, reach: float) -> "tf.Tensor":
        return (2.0 * unit[:, column] - 1.0) * float(reach)

    zero, one = tf.zeros_like(unit[:, 0]), tf.ones_like(unit[:, 0])

    def matrix(*rows: Sequence["tf.Tensor"]) -> "tf.Tensor":
        return tf.stack([tf.stack(row, -1) for row in rows], -2)  # (N, 3, 3), acting on (x, y, 1)

    angle = spread(0, np.deg2rad(params.rotation))
    shear = spread(3, np.deg2rad(params.shear))
    centre = size / 2 - 0.5
    last = [zero, zero, one]
    rotation = matrix([tf.cos(angle), -tf.sin(angle), zero], [tf.sin(angle), tf.cos(angle), zero], last)
    shift = matrix([one, zero, spread(1, params.shift) * size], [zero, one, spread(2, params.shift) * size], last)
    sheared = matrix([one, -tf.sin(shear), zero], [zero, tf.cos(shear), zero], last)
    zoom = matrix([1.0 + spread(4, params.zoom), zero, zero], [zero, 1.0 + spread(5, params.zoom), zero], last)
    to_centre = matrix([one, zero, zero + centre], [zero, one, zero + centre], last)
    from_centre = matrix([one, zero, zero - centre], [zero, one, zero - centre], last)

    def mirror(column: int, wanted: bool) -> "tf.Tensor":
        return tf.where(unit[:, column] < 0.5, -1.0, 1.0) if wanted else one

    across, down = mirror(6, params.horizontal_flip), mirror(7, params.vertical_flip)
    flip = matrix([across, zero, (1 - across) * centre], [zero, down, (1 - down) * centre], last)
    whole = to_centre @ rotation @ shift @ sheared @ zoom @ from_centre @ flip
    return tf.reshape(whole, (-1, 9))[:, :8]


def _augmenter(params: AugmentationParams, size: int) -> Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]:
    import tensorflow as tf

    def augment(image: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
        unit = tf.random.stateless_uniform((tf.shape(image)[0], 8), seed)
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=image,
            transforms=affine_transforms(unit, params, size),
            output_shape=[size, size],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )

    return augment
