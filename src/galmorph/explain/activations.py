"""Activations: what each filter of a layer answers to an image, and which filters never answer anything.

A convolution's activation is what its filters pass on: its output after the ReLU that follows, be it the layer's own,
or a layer of its own behind batch normalisation. At the end of a residual block the ReLU comes after the sum with the
shortcut: the sum is shown, once for all convolutions that end in it. Where no ReLU follows, the output itself is shown.

A black filter can mean three things. It finds nothing in this image: another image will show it. It is dead: it is zero
after the ReLU at every position of every image of a set, so that training on them does not move it either. Or dropout
was left on and has hidden it: `dropout_check` shows that it was not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from galmorph.errors import InputError, ModelError
from galmorph.explain.base import checked_images
from galmorph.explain.graph import convolutions, last_convolution, rectified
from galmorph.models.predict import predict_logits
from galmorph.params import ActivationsParams

#: Distance of the numbers after 1 in each precision, and how many of these two graphs of the same sums may differ by.
_LAST_BIT = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
_LAST_BITS = 100


@dataclass(frozen=True)
class View:
    """A layer that is shown filter by filter.

    Attributes
    ----------
    layer
        Whose output is shown.
    shows
        The layers that were asked for and are seen there.
    """

    layer: str
    shows: tuple[str, ...]

    @property
    def title(self) -> str:
        """The layers asked for, and where they are seen if that is elsewhere."""
        named = ", ".join(self.shows)
        return named if self.shows == (self.layer,) else f"{named}, seen at {self.layer}"


@dataclass(frozen=True)
class Activity:
    """How the filters of a layer answer to a set of images.

    Attributes
    ----------
    view
        The layer.
    images
        How many there are.
    peak
        `(C,)` float32: each filter's largest value anywhere.
    answering
        `(C,)` float64: the share of the images in which a filter is not zero everywhere.
    """

    view: View
    images: int
    peak: np.ndarray
    answering: np.ndarray

    @property
    def dead(self) -> tuple[int, ...]:
        """Numbers, from 0, of the filters that are zero at every position of every image."""
        return tuple(int(number) for number in np.flatnonzero(self.answering == 0))


@dataclass(frozen=True)
class DropoutCheck:
    """Whether dropout was off while activations were made.

    Attributes
    ----------
    layers
        The dropout layers of the model.
    changing
        Those whose output was not their input, bit for bit.
    repeated
        Largest difference between the logits of two passes: 0 where nothing is drawn at random.
    inference
        Largest difference between these logits and those of `predict_logits`.
    tolerance
        What `inference` may be by rounding: 100 times the last bit of the model's precision, of the largest logit.
    """

    layers: tuple[str, ...]
    changing: tuple[str, ...]
    repeated: float
    inference: float
    tolerance: float

    @property
    def off(self) -> bool:
        """Whether it was."""
        return not self.changing and self.repeated == 0 and self.inference <= self.tolerance


def views(model: keras.Model, params: ActivationsParams) -> list[View]:
    """Choose the layers to show, from the image on.

    Parameters
    ----------
    model
        A galmorph model.
    params
        Layers by name, any with an output `(N, h, w, C)`, of which convolutions are shown after their ReLU; or how many
        of the first and of the last convolutions, each at most once.

    Returns
    -------
    list of View
        Without repetition: convolutions that end in the same ReLU share a view.

    Raises
    ------
    ModelError
        When the model has no convolution, or no such layer; the message lists those there are.
    """
    found = convolutions(model)
    names = params.layers or tuple(found[: params.first] + found[max(params.first, len(found) - params.last) :])
    if not params.layers:
        last_convolution(model)
    spatial = [each.name for each in model.layers if _is_spatial(each)]
    unknown = [name for name in names if name not in spatial]
    if unknown:
        raise ModelError(
            f"explain.activations.layers must be of {model.name}'s layers with an output (N, h, w, C): "
            f"{', '.join(spatial)}. Received: {', '.join(map(repr, unknown))}"
        )
    shown: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        shown.setdefault(rectified(model, name) if name in found else name, []).append(name)
    return [View(layer, tuple(asked)) for layer, asked in shown.items()]


def activations(
    model: keras.Model, images: np.ndarray, shown: list[View], batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Give each layer's activations, batch after batch: no more than one batch is in memory.

    The pass is compiled once a call: ask for all images in one.

    Parameters
    ----------
    model
        A galmorph model.
    images
        `(N, S, S, 3)` RGB in [0, 255] at the model's size, uint8 or float.
    shown
        The layers, as `views` chooses them.
    batch_size
        Images at a time.

    Yields
    ------
    dict
        By the name of the layer that is shown, `(b, h, w, C)` float32.

    Raises
    ------
    InputError
        When the images are not what they must be.
    """
    outputs = [model.get_layer(view.layer).output for view in shown]
    forward = _forward(model, outputs, lambda maps: tf.cast(maps, tf.float32))
    for batch in _batches(model, images, batch_size):
        yield {view.layer: maps.numpy() for view, maps in zip(shown, forward(batch), strict=True)}


def activity(model: keras.Model, images: np.ndarray, shown: list[View], batch_size: int) -> list[Activity]:
    """Find out which filters answer to a set of images at all.

    Parameters
    ----------
    model, images, shown, batch_size
        As for `activations`; the more images, the more a dead filter is a fact about the model.

    Returns
    -------
    list of Activity
        For each view.

    Raises
    ------
    InputError
        When the images are not what they must be, or there is none.
    """
    if not len(images):
        raise InputError("a filter is dead over a set of images: give at least one. Received: 0 images")
    outputs = [model.get_layer(view.layer).output for view in shown]
    forward = _forward(model, outputs, lambda maps: (_peaks(maps), tf.reduce_any(maps != 0, (1, 2))))
    peaks = [np.full(output.shape[-1], -np.inf, np.float32) for output in outputs]
    answered = [np.zeros(output.shape[-1]) for output in outputs]
    for batch in _batches(model, images, batch_size):
        for at, (peak, answers) in enumerate(forward(batch)):
            peaks[at] = np.maximum(peaks[at], peak.numpy().max(0))
            answered[at] += answers.numpy().sum(0)
    return [Activity(view, len(images), peaks[at], answered[at] / len(images)) for at, view in enumerate(shown)]


def dropout_check(model: keras.Model, images: np.ndarray, batch_size: int) -> DropoutCheck:
    """Show that dropout is off where activations are made.

    Parameters
    ----------
    model
        A galmorph model, with dropout or without.
    images
        `(N, S, S, 3)` RGB in [0, 255] at the model's size; N at least 1.
    batch_size
        Images at a time.

    Returns
    -------
    DropoutCheck
        What dropout layers did, how two passes differ, and how they differ from the answers that are given.

    Raises
    ------
    InputError
        When the images are not what they must be, or there is none.
    """
    if not len(images):
        raise InputError("dropout is checked on images: give at least one. Received: 0 images")
    dropout = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    logit = model.get_layer("logit")
    ends = [end for layer in dropout for end in (layer.input, layer.output)]
    forward = _forward(model, [logit.output, *ends], tf.identity)
    first, second, changing = [], [], set()
    for batch in _batches(model, images, batch_size):
        answer, *passed = forward(batch)
        first.append(answer.numpy()[:, 0])
        second.append(forward(batch)[0].numpy()[:, 0])
        pairs = zip(dropout, passed[::2], passed[1::2], strict=True)
        changing |= {layer.name for layer, before, after in pairs if not bool(tf.reduce_all(before == after))}
    logits = np.concatenate(first)
    answers = predict_logits(model, images, batch_size)[0]
    last_bit = max(_LAST_BIT[layer.compute_dtype] for layer in model.layers)
    return DropoutCheck(
        layers=tuple(layer.name for layer in dropout),
        changing=tuple(layer.name for layer in dropout if layer.name in changing),
        repeated=float(np.abs(logits - np.concatenate(second)).max()),
        inference=float(np.abs(logits - answers).max()),
        tolerance=_LAST_BITS * last_bit * float(np.abs(answers).max()),
    )


def _forward(
    model: keras.Model, outputs: list[keras.KerasTensor], reduced: Callable[[tf.Tensor], Any]
) -> Callable[[np.ndarray], list[Any]]:
    """Compile a pass at inference to some tensors of a model, each reduced before it leaves the graph."""
    through = keras.Model(model.input, outputs)

    def passed(images: tf.Tensor) -> list[Any]:
        # Keras gives one output as it is, and several as a list.
        return [reduced(each) for each in keras.tree.flatten(through(images, training=False))]

    compiled: Callable[[np.ndarray], list[Any]] = tf.function(passed, reduce_retracing=True, autograph=False)
    return compiled


def _batches(model: keras.Model, images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    floats = checked_images(images, tuple(model.input_shape[1:]))
    for start in range(0, len(floats), batch_size):
        yield floats[start : start + batch_size]


def _peaks(maps: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_max(maps, (1, 2)), tf.float32)  # (b, C)


def _is_spatial(layer: keras.Layer) -> bool:
    return not isinstance(layer, keras.layers.InputLayer) and len(layer.output.shape) == 4
