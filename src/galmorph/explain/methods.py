"""Every explanation method by its name in params.yaml."""

from collections.abc import Callable, Mapping

import keras

from galmorph.explain.attention_rollout import AttentionRollout
from galmorph.explain.base import Explainer
from galmorph.explain.grad_cam import GradCam, GradCamPlusPlus, GradCamTv
from galmorph.explain.graph import convolutions
from galmorph.params import ExplainParams, Method

#: How each method is made; they need the model, and their own part of the parameters.
METHODS: Mapping[Method, Callable[[keras.Model, ExplainParams], Explainer]] = {
    "grad_cam": lambda model, params: GradCam(model, params.grad_cam.layer, params.batch_size),
    "grad_cam_tv": lambda model, params: GradCamTv(
        model, params.grad_cam.layer, params.grad_cam.tv_weight, params.batch_size
    ),
    "grad_cam_plus_plus": lambda model, params: GradCamPlusPlus(model, params.grad_cam.layer, params.batch_size),
    "attention_rollout": lambda model, params: AttentionRollout(model, params.batch_size),
}
#: What needs a convolution, and what needs attention.
_CONVOLUTIONAL = frozenset({"grad_cam", "grad_cam_tv", "grad_cam_plus_plus"})
_ATTENTIVE = frozenset({"attention_rollout"})


def fitting(model: keras.Model, methods: tuple[Method, ...]) -> tuple[Method, ...]:
    """Return the methods that a model's architecture allows, in their order."""
    attentive = any(isinstance(layer, keras.layers.MultiHeadAttention) for layer in model.layers)
    refused = (frozenset() if attentive else _ATTENTIVE) | (frozenset() if convolutions(model) else _CONVOLUTIONAL)
    return tuple(name for name in methods if name not in refused)


def explainers(model: keras.Model, params: ExplainParams) -> dict[str, Explainer]:
    """Make the methods that are asked for and that the model's architecture allows.

    Parameters
    ----------
    model
        A galmorph model.
    params
        `methods`, and the values of each.

    Returns
    -------
    dict
        By name, in the order of `params.methods`.
    """
    return {name: METHODS[name](model, params) for name in fitting(model, params.methods)}
