"""What a frozen backbone makes of each image, computed once, and the head that learns from it.

Features are kept in float32. Half of it would do for most backbones, but not for one that is fed raw pixels, whose
features may pass float16's 65,504; and the head would learn from other numbers than the whole model gives it later.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from galmorph.data.augmentation import centre
from galmorph.data.dataset import augmented_views, rows
from galmorph.models.layers import FEATURES
from galmorph.parallel import progress
from galmorph.params import AugmentationParams

#: Hands out features by name, `(views, N, F)` float32: those that were kept, or what it gathers from the parts that an
#: iterator yields, `(n, F)` each, view after view. Parts are computed as they are asked for.
KeepFeatures = Callable[[str, tuple[int, int, int], Iterator[np.ndarray]], np.ndarray]


def in_memory(name: str, shape: tuple[int, int, int], parts: Iterator[np.ndarray]) -> np.ndarray:  # noqa: ARG001
    """Compute features and keep them in memory; a `KeepFeatures`."""
    features = np.empty(shape, np.float32)
    flat, filled = features.reshape(-1, shape[-1]), 0
    for part in parts:
        flat[filled : filled + len(part)] = part
        filled += len(part)
    return features


def backbone_of(model: keras.Model) -> keras.Model:
    """Return the part of a model from its image to its features `(N, F)`; layers are shared."""
    return keras.Model(model.input, model.get_layer(FEATURES).output, name="backbone")


def head_of(model: keras.Model) -> keras.Model:
    """Return the part of a model from its features `(N, F)` to its logit; layers are shared."""
    return keras.Model(model.get_layer(FEATURES).output, model.output, name="head")


def feature_parts(
    backbone: keras.Model,
    images: np.ndarray,
    batch_size: int,
    description: str,
    views: int = 0,
    augmentation: AugmentationParams | None = None,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """Compute the features of images, batch by batch, as the iterator is asked for them.

    Parameters
    ----------
    backbone
        From images to features.
    images
        `(N, W, W, 3)` uint8, with context around what the backbone takes or without.
    batch_size
        Images at a time.
    description
        What the progress bar says.
    views
        How many augmented views of each image, all images of one view after the other; 0: the images as they are.
    augmentation
        Ranges of the random transforms that make a view.
    seed
        Of the transforms, which depend on it, the view and the image's place only.

    Yields
    ------
    numpy.ndarray
        `(b, F)` float32.
    """
    size = int(backbone.input_shape[1])
    if augmentation is None or not views:
        inputs = _as_they_are(images, size, batch_size)
    else:
        every = (augmented_views(images, augmentation, size, view, seed, batch_size) for view in range(views))
        inputs = itertools.chain.from_iterable(every)
    total = max(views, 1) * math.ceil(len(images) / batch_size)
    for batch in progress(inputs, total, description, "batches"):
        yield np.asarray(backbone.predict_on_batch(batch), np.float32)


def _as_they_are(images: np.ndarray, size: int, batch_size: int) -> Iterator[np.ndarray]:
    seen = centre(images, size)
    for start in range(0, len(images), batch_size):
        yield rows(seen, slice(start, start + batch_size)).astype(np.float32)


def feature_batches(
    features: np.ndarray, y: np.ndarray, batch_size: int, seed: int, epochs: Iterable[int]
) -> tf.data.Dataset:
    """Shuffled batches of features of each epoch in turn, one view of each image drawn for each epoch.

    Order and view depend on the seed, the epoch's number and the image's place only.

    Parameters
    ----------
    features
        `(views, N, F)` float32.
    y
        `(N,)` float32 targets.
    batch_size
        The last batch of an epoch holds what is left.

    Returns
    -------
    tf.data.Dataset
        `ceil(N / batch_size)` batches an epoch: `(b, F)` float32 and `(b, 1)` float32 targets.
    """
    numbers = list(epochs)
    flat = features.reshape(-1, features.shape[-1])

    def drawn() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for epoch in numbers:
            draws = np.random.default_rng(np.random.SeedSequence((seed, epoch)))
            order = draws.permutation(len(y))
            views = draws.integers(0, len(features), len(y))
            for start in range(0, len(y), batch_size):
                chosen = order[start : start + batch_size]
                yield rows(flat, views[chosen] * len(y) + chosen), y[chosen, None]

    return _batches(drawn, flat.shape[-1], len(numbers) * math.ceil(len(y) / batch_size))


def ordered_feature_batches(features: np.ndarray, y: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Batches of features `(N, F)` in order, as `feature_batches` gives them."""

    def in_order() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(y), batch_size):
            # Copies: TensorFlow takes over what it is given, and may compute in it.
            chosen = slice(start, start + batch_size)
            yield rows(features, chosen), np.array(y[chosen, None])

    return _batches(in_order, features.shape[-1], math.ceil(len(y) / batch_size))


def _batches(
    generate: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], length: int, count: int
) -> tf.data.Dataset:
    signature = (tf.TensorSpec((None, length), tf.float32), tf.TensorSpec((None, 1), tf.float32))
    # Keras counts wrongly where a data set does not say how many batches it has.
    known = tf.data.experimental.assert_cardinality(count)
    return tf.data.Dataset.from_generator(generate, output_signature=signature).apply(known).prefetch(2)
