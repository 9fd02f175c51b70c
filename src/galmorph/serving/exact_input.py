"""A model's first convolution, written so that bfloat16 loses nothing of the image.

At bf16 most of the error of an answer comes from the first layer. Pixels less a mean, or over 255, have more digits
than bfloat16's 8 bits; and where a sky is the same all over, the rounding of a filter's few weights adds up instead of
cancelling. Both can be had exactly, of operations that every runtime has:

- Pixels less a whole number lie within ±255, and bfloat16 holds whole numbers up to 256. What is left of the scaling
  goes into the weights, and what is left of the mean into a plane of ones that is padded with zeros as the image is.
- A weight is the sum of its rounded value and the rest. The image is given twice, once to each; products are summed
  in float32.
"""

from dataclasses import dataclass

import keras
import numpy as np

from galmorph.explain.graph import followers

#: Layers without weights that scale an image pixel by pixel.
_SCALING = (keras.layers.InputLayer, keras.layers.Rescaling, keras.layers.Cropping2D, keras.layers.Concatenate)


@dataclass(frozen=True)
class _Stem:
    """What leads to the first convolution's output, normalised where batch normalisation follows at once.

    Attributes
    ----------
    padding
        A layer between scaling and convolution; None: there is none.
    convolution
        The first one.
    end
        The last layer that is replaced: the convolution, or its batch normalisation.
    kernel, bias
        `(h, w, 3, F)` and `(F,)` float64, normalisation taken in.
    """

    padding: keras.layers.ZeroPadding2D | None
    convolution: keras.layers.Conv2D
    end: keras.layers.Layer
    kernel: np.ndarray
    bias: np.ndarray


def with_exact_input(model: keras.Model) -> keras.Model:
    """Return a model that answers as another does, whose first convolution takes whole numbers.

    Parameters
    ----------
    model
        In float32, with a galmorph model's scaling; of any outputs behind the first convolution.

    Returns
    -------
    keras.Model
        Of the same inputs and outputs; the model itself where it does not begin with a convolution.
    """
    stem = _stem(model)
    if stem is None:
        return model
    scaled = keras.Model(model.input, (stem.padding or stem.convolution).input)
    factors, offset = _affine(scaled)
    whole = np.rint(-np.linalg.solve(factors.T, offset))  # what is taken off each of R, G and B
    rest = offset + whole @ factors
    # From what is left of R, G and B, not from the scaled channels.
    kernel = np.einsum("ci,hwif->hwcf", factors, stem.kernel)
    high = np.asarray(keras.ops.cast(keras.ops.cast(kernel.astype(np.float32), "bfloat16"), "float32"))
    constant = np.einsum("i,hwif->hwf", rest, stem.kernel)[:, :, None]

    image = keras.Input(model.input_shape[1:], name="image")
    pixels = keras.layers.Rescaling(1.0, offset=(-whole).tolist(), name="whole_numbers")(image)
    planes = keras.layers.Concatenate(name="planes")([pixels, pixels, keras.ops.ones_like(pixels[..., :1])])
    if stem.padding is not None:
        planes = stem.padding.__class__.from_config(stem.padding.get_config())(planes)
    settings = {**stem.convolution.get_config(), "use_bias": True}
    convolution = keras.layers.Conv2D.from_config(settings)
    features = convolution(planes)
    convolution.set_weights([np.concatenate([high, kernel - high, constant], axis=2), stem.bias])
    behind = keras.Model(stem.end.output, model.outputs)
    outputs = behind(features)
    return keras.Model(image, outputs if len(model.outputs) > 1 else outputs[0], name=model.name)


def _stem(model: keras.Model) -> _Stem | None:
    first = next((layer for layer in model.layers if layer.weights), None)
    if not isinstance(first, keras.layers.Conv2D):
        return None
    before = model.layers[: model.layers.index(first)]
    padding = before[-1] if isinstance(before[-1], keras.layers.ZeroPadding2D) else None
    if not all(isinstance(layer, _SCALING) for layer in before if layer is not padding):
        return None
    kernel = np.asarray(first.kernel, np.float64)
    bias = np.asarray(first.bias, np.float64) if first.use_bias else np.zeros(kernel.shape[-1])
    after = followers(model, first)
    if first.activation is not keras.activations.linear or not _normalises(after):
        return _Stem(padding, first, first, kernel, bias)
    # Taken in here: a runtime that did it later would round the weights anew.
    norm = after[0]
    gain = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    gain = gain * np.asarray(norm.gamma, np.float64) if norm.scale else gain
    shift = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    return _Stem(padding, first, norm, kernel * gain, (bias - np.asarray(norm.moving_mean, np.float64)) * gain + shift)


def _normalises(layers: list[keras.layers.Layer]) -> bool:
    return len(layers) == 1 and isinstance(layers[0], keras.layers.BatchNormalization)


def _affine(scaled: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Find how pixels are scaled: `(3, 3)` from each of R, G and B to each channel, and `(3,)` what black becomes."""
    probes = np.zeros((4, *scaled.input_shape[1:]), np.float32)
    for channel in range(3):
        probes[1 + channel, ..., channel] = 255
    found = np.asarray(scaled.predict_on_batch(probes), np.float64)[:, 0, 0]
    return (found[1:] - found[0]) / 255, found[0]
