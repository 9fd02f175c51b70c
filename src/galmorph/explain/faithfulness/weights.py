"""Drawing a model's weights anew, layer by layer, and giving it its own back."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from galmorph.errors import ModelError

#: Attributes that hold a weight's initialiser, where it is not named after the weight.
_INITIALISERS = {"depthwise_kernel": "depthwise_initializer", "pointwise_kernel": "pointwise_initializer"}


@contextmanager
def weights_kept(model: keras.Model) -> Iterator[None]:
    """Give a model its weights back at the end, whatever happens in between.

    The model's own variables are written to, so that everything built on it sees the change and the return.
    """
    kept = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]
    try:
        yield
    finally:
        for weight, value in zip(model.weights, kept, strict=True):
            weight.assign(value)


def weighted_layers(model: keras.Model) -> list[keras.Layer]:
    """Layers that have weights, from the image on; those of a nested model take its place."""
    found: list[keras.Layer] = []
    for layer in model.layers:
        inner = weighted_layers(layer) if isinstance(layer, keras.Model) else [layer] if layer.weights else []
        found += [each for each in inner if each not in found]
    return found


def draw_anew(layer: keras.Layer, random: np.random.Generator) -> None:
    """Set every weight of a layer, and of the layers inside it, to what its own initialiser gives.

    A random initialiser is given a seed of its own, so that no two weights begin alike. One that always gives the same
    (zeros for a bias, ones for a scale or a moving variance) gives that: the weight forgets what it learned, which is
    what the check is about, and a layer is never in a state in which no training could have begun.

    Parameters
    ----------
    layer
        Its weights are assigned; nothing else changes.
    random
        Where seeds come from.

    Raises
    ------
    ModelError
        When a weight has no initialiser, or a random one left it as it was: the check would pass over it in silence.
    """
    for owner in layer._flatten_layers():  # Keras has no public way into the layers of an attention, say
        inside = {id(weight) for inner in owner._flatten_layers(include_self=False) for weight in inner.weights}
        for weight in owner.weights:
            if id(weight) not in inside:
                _assign(owner, weight, random)


def _assign(owner: keras.Layer, weight: keras.Variable, random: np.random.Generator) -> None:
    initialiser = _initialiser(owner, weight)
    seeded = isinstance(initialiser, keras.initializers.Initializer) and "seed" in initialiser.get_config()
    if seeded:
        seed = int(random.integers(2**31))
        initialiser = type(initialiser).from_config({**initialiser.get_config(), "seed": seed})
    before = keras.ops.convert_to_numpy(weight)
    after = keras.ops.convert_to_numpy(initialiser(weight.shape, dtype=weight.dtype))
    if seeded and np.array_equal(before, after):
        raise ModelError(
            f"layer {owner.name}: its initialiser drew the very {weight.name} that was there, so the randomisation "
            f"check cannot tell whether an explanation depends on it. Received: {initialiser!r}"
        )
    weight.assign(after)


def _initialiser(owner: keras.Layer, weight: keras.Variable) -> keras.initializers.Initializer:
    names = [f"{weight.name}_initializer", _INITIALISERS.get(weight.name, "")]
    # A depthwise convolution's only kernel is called like any other's, its initialiser is not.
    names.append("depthwise_initializer" if weight.name == "kernel" else "")
    for name in filter(None, names):
        if callable(found := getattr(owner, name, None)):
            return found
    raise ModelError(
        f"layer {owner.name}: the randomisation check must draw every weight anew, and knows no initialiser of this "
        "one; name the layer's attribute in explain/faithfulness/weights.py. "
        f"Received: {weight.name} of a {type(owner).__name__}"
    )
