"""Grad-CAM's channel weights without gradients, for models that are exported to where there are none.

Between the features A `(h, w, C)` of a late layer and the logit our models have, per channel: batch normalisation (at
inference a factor and a shift), pooling, `Flatten` or an average over positions; then one dense layer with its ReLU,
perhaps batch normalisation, and the logit. Grad-CAM needs the gradient's mean over positions only, and each of these
keeps the sum over positions in closed form:

- Batch normalisation multiplies it by `gamma / sqrt(variance + epsilon)`.
- Pooling passes each cell's gradient on to positions of its window, whichever wins and however ties are broken; the
  border that a window does not reach gets none. The sum is kept, the mean is over the positions before pooling.
- `Flatten` gives each position its own rows of the dense kernel: their sum counts. An average over positions gives all
  of them one row, divided by their number.
- A dense unit lets through what comes from the logit where its ReLU is on.

So the weights are `on @ M`, `on` the `(N, U)` units that are on and `M` the `(U, C)` matrix of `HeadGradient`. Where a
residual block's ReLU lies between, as after the last convolution of resnet50, the gradient behind it is the same at
all positions (an average follows), and the sum counts the positions where the ReLU is on.
"""

from dataclasses import dataclass

import keras
import numpy as np

from galmorph.errors import ModelError
from galmorph.explain.graph import feature_layer, is_rectifier, route

_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True)
class HeadGradient:
    """What leads from a head's state to Grad-CAM's channel weights, read from a model's weights.

    Attributes
    ----------
    layer
        Whose output `(N, h, w, C)` is weighted.
    units
        The dense layer whose ReLU decides which rows of `matrix` count.
    gate
        A layer `(N, h, w, C)` whose ReLU lies between `layer` and the head's average; None: there is none.
    matrix
        `(U, C)` float32: what each unit that is on adds to the channel weights for the logit of Elliptical.
    """

    layer: str
    units: str
    gate: str | None
    matrix: np.ndarray

    def channel_weights(self, units: np.ndarray, gate: np.ndarray | None) -> np.ndarray:
        """Return the mean over positions of the logit's gradient.

        Parameters
        ----------
        units
            `(N, U)` float, output of the layer `units`.
        gate
            `(N, h, w, C)` float, output of the layer `gate`; None where there is none.

        Returns
        -------
        numpy.ndarray
            `(N, C)` float32.
        """
        weights = (units > 0).astype(np.float32) @ self.matrix
        return weights if gate is None else np.asarray(weights * (gate > 0).mean((1, 2), dtype=np.float32))


def class_weights(model: keras.Model, layer: str | None) -> HeadGradient:
    """Read the closed form of Grad-CAM's channel weights from a model as it is now.

    Parameters
    ----------
    model
        A galmorph model with convolutions.
    layer
        As for `GradCam`.

    Returns
    -------
    HeadGradient
        For that layer.

    Raises
    ------
    ModelError
        When the layer is not there, or what lies between it and the logit has no closed form here.
    """
    name = feature_layer(model, layer)
    features = model.get_layer(name).output.shape[1:]  # (h, w, C)
    to_head, units, from_head = _parts(model, name)
    factor, gate, flat = np.ones(features[-1], np.float64), None, False
    for each in to_head:
        if isinstance(each, keras.layers.BatchNormalization):
            factor = factor * _normalisation(each)
        elif is_rectifier(each):
            gate = _only_gate(model, gate, each)
        elif isinstance(each, keras.layers.Flatten):
            flat = True
        if gate is not None and isinstance(each, (keras.layers.Flatten, *_POOLING)):
            raise _no_closed_form(model, each, f"after the ReLU {gate}")
    kernel = np.asarray(units.kernel, np.float64)  # (positions * C, U), or (C, U)
    if flat:
        kernel = kernel.reshape(-1, features[-1], kernel.shape[-1]).sum(0)
    matrix = (kernel * _from_logit(from_head)).T * factor / (features[0] * features[1])
    return HeadGradient(name, units.name, gate, matrix.astype(np.float32))


def grad_cam_outputs(model: keras.Model, layer: str | None) -> keras.Model:
    """Build a model that answers and explains in one forward pass, of operations that any runtime has.

    It holds copies of the head's weights, as they are now: matrix products, sums, comparisons and reshapes, no gradient
    and no Lambda. `galmorph.explain.class_map` makes `GradCam`'s map of its second output.

    Parameters
    ----------
    model
        A galmorph model with convolutions.
    layer
        As for `GradCam`.

    Returns
    -------
    keras.Model
        From `(N, S, S, 3)` to `p_elliptical` `(N, 1)` and `grad_cam` `(N, h, w)`, float32 both: the weighted sum of
        the channels for the logit of Elliptical. For Other it is the opposite.

    Raises
    ------
    ModelError
        As `class_weights`.
    """
    ops = keras.ops
    head = class_weights(model, layer)
    features = ops.cast(model.get_layer(head.layer).output, "float32")
    height, width, channels = features.shape[1:]
    on = ops.cast(ops.greater(model.get_layer(head.units).output, 0), "float32")  # (N, U)
    matrix = keras.layers.Dense(channels, use_bias=False, dtype="float32", name="grad_cam_matrix")
    weights = matrix(on)  # (N, C)
    matrix.set_weights([head.matrix])
    if head.gate is not None:
        passing = ops.cast(ops.greater(model.get_layer(head.gate).output, 0), "float32")
        weights = weights * ops.mean(passing, axis=(1, 2))
    positions = ops.reshape(features, (-1, height * width, channels))
    weighted = ops.matmul(positions, ops.expand_dims(weights, -1))  # (N, h * w, 1)
    named = keras.layers.Reshape((height, width), dtype="float32", name="grad_cam")(weighted)
    return keras.Model(model.input, [model.get_layer("p_elliptical").output, named], name=model.name)


def _parts(model: keras.Model, layer: str) -> tuple[list[keras.Layer], keras.layers.Dense, list[keras.Layer]]:
    """Cut the way to the logit at its dense layer: what comes before, the layer, what comes after."""
    passed = route(model, layer, "logit")
    dense = [at for at, each in enumerate(passed) if isinstance(each, keras.layers.Dense)]
    if len(dense) != 2 or not is_rectifier(passed[dense[0]]):
        raise ModelError(
            f"{model.name}: Grad-CAM's closed form is for heads of one dense layer with a ReLU, then the logit. "
            f"Received: {', '.join(each.name for each in passed)}"
        )
    before, after = passed[: dense[0]], passed[dense[0] + 1 :]
    harmless = (keras.layers.BatchNormalization, keras.layers.Dropout)
    spatial = (*harmless, *_POOLING, keras.layers.Add, keras.layers.Flatten, keras.layers.GlobalAveragePooling2D)
    for each in before:
        if not isinstance(each, spatial) and not is_rectifier(each, alone=True):
            raise _no_closed_form(model, each, f"between {layer} and the head")
    for each in after[:-1]:
        if not isinstance(each, harmless):
            raise _no_closed_form(model, each, "in the head")
    return before, passed[dense[0]], after


def _normalisation(layer: keras.layers.BatchNormalization) -> np.ndarray:
    """Return what batch normalisation multiplies each channel by at inference, `(C,)` float64."""
    factor = 1.0 / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)
    return np.asarray(factor * np.asarray(layer.gamma, np.float64) if layer.scale else factor)


def _from_logit(after: list[keras.Layer]) -> np.ndarray:
    """Return the logit's gradient at the dense layer's output, `(U,)` float64."""
    gradient = np.asarray(after[-1].kernel, np.float64)[:, 0]
    for each in after[:-1]:
        if isinstance(each, keras.layers.BatchNormalization):
            gradient = gradient * _normalisation(each)
    return gradient


def _only_gate(model: keras.Model, gate: str | None, layer: keras.Layer) -> str:
    if gate is not None:
        raise _no_closed_form(model, layer, f"after the ReLU {gate}")
    return str(layer.name)


def _no_closed_form(model: keras.Model, layer: keras.Layer, where: str) -> ModelError:
    return ModelError(
        f"{model.name}: Grad-CAM has no closed form through {layer.name} {where}; name a layer nearer the answer, or "
        f"use gradients. Received: {type(layer).__name__}"
    )
