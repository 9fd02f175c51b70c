"""Finding one's way in a model: its convolutions, what follows them, and the route to the answer."""

import keras

from galmorph.errors import ModelError

#: Layers between a convolution and its ReLU that leave each filter in its place.
_BETWEEN = (keras.layers.BatchNormalization, keras.layers.Add, keras.layers.Dropout)


def convolutions(model: keras.Model) -> list[str]:
    """Names of a model's convolutions, from the image on."""
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def last_convolution(model: keras.Model) -> str:
    """Name of the convolution nearest the answer.

    Raises
    ------
    ModelError
        When there is none.
    """
    names = convolutions(model)
    if not names:
        raise ModelError(
            f"{model.name} has no convolution, so Grad-CAM and activations have nothing to look at; choose another "
            f"method. Received: a model of {', '.join(sorted({type(layer).__name__ for layer in model.layers}))}"
        )
    return names[-1]


def feature_layer(model: keras.Model, name: str | None) -> str:
    """Return the layer that Grad-CAM looks at.

    Parameters
    ----------
    model
        A galmorph model.
    name
        Of a convolution, or of an activation `(N, h, w, C)` after one, taken as it is; None: the last convolution,
        after the ReLU that follows it, as `rectified` finds it.

    Returns
    -------
    str
        The layer's name.

    Raises
    ------
    ModelError
        When the model has no convolution, or no such layer; the message lists those there are.
    """
    last = last_convolution(model)
    if name is None:
        # Before the sum of a residual block the shortcut's part is missing, and values below zero never arrive.
        return rectified(model, last)
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D) or _is_map(layer)]
    if name not in names:
        raise ModelError(
            f"explain.grad_cam.layer must be one of {model.name}'s convolutions or activations: {', '.join(names)}. "
            f"Received: {name!r}"
        )
    return name


def rectified(model: keras.Model, name: str) -> str:
    """Return the layer at which a layer's filters are seen after the ReLU that follows them.

    Batch normalisation and the sum of a residual block may lie between: what is seen then is what the next layer gets,
    the block's sum, to which the convolution adds its part.

    Parameters
    ----------
    model
        A galmorph model.
    name
        Of a layer `(N, h, w, C)`.

    Returns
    -------
    str
        `name` itself where the layer ends in a ReLU, or where none follows.
    """
    layer = model.get_layer(name)
    while not is_rectifier(layer):
        after = followers(model, layer)
        if len(after) != 1 or (not isinstance(after[0], _BETWEEN) and not is_rectifier(after[0], alone=True)):
            return name
        layer = after[0]
    return str(layer.name)


def is_rectifier(layer: keras.Layer, *, alone: bool = False) -> bool:
    """Whether a layer's output is that of a ReLU; `alone`: of nothing but a ReLU."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    if alone and not isinstance(layer, keras.layers.Activation):
        return False
    return getattr(layer, "activation", None) is keras.activations.relu


def followers(model: keras.Model, layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers of a model that take a layer's output."""
    return [other for other in model.layers if any(each is layer.output for each in _inputs(other))]


def route(model: keras.Model, start: str, end: str) -> list[keras.Layer]:
    """Return the layers between two others, `start` left out and `end` taken in, where there is one way only.

    Raises
    ------
    ModelError
        When the way forks or does not arrive.
    """
    layer, passed = model.get_layer(start), []
    while layer.name != end:
        after = followers(model, layer)
        if len(after) != 1:
            raise ModelError(
                f"{model.name}: from {start} to {end} there must be one way, for Grad-CAM in closed form; name a layer "
                f"nearer the answer. Received: {len(after)} layers after {layer.name}"
            )
        layer = after[0]
        passed.append(layer)
    return passed


def _inputs(layer: keras.Layer) -> list[keras.KerasTensor]:
    return [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)


def _is_map(layer: keras.Layer) -> bool:
    """Whether a layer is an activation over positions."""
    return isinstance(layer, keras.layers.Activation | keras.layers.ReLU) and len(layer.output.shape) == 4
