"""How large a model is and how fast: its layers, parameters, floating-point operations and images per second.

Operations are counted from the layers' shapes: two for each multiply-add of convolutions, dense layers and attention,
for one image. What is left out (biases, activations, normalisation, pooling) is a few per cent. TensorFlow's own
profiler is not used: it passes over the einsums that a transformer is made of.
"""

import math
import os
import statistics
import time
from collections import Counter
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from galmorph.errors import ModelError
from galmorph.models.layers import FEATURES

#: Layers that hold weights and multiply nothing but each value by its own: they are not counted.
_ELEMENTWISE = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)


def complexity(model: keras.Model) -> dict[str, Any]:
    """Count a model's layers, parameters and operations.

    Parameters
    ----------
    model
        A galmorph model, of one input of fixed size; with its probability or without.

    Returns
    -------
    dict
        `architecture`; `image_size` in pixels; `layers`, the number by class, the input apart; `parameters`: `total`,
        `trainable` (with no layer frozen: all but the statistics of batch normalisation) and `backbone` (those up to
        `features`, None without one); `flops` of one image.

    Raises
    ------
    ModelError
        When a layer with weights is of a class whose operations are not known here.
    """
    counted = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return {
        "architecture": model.name,
        "image_size": model.input_shape[1],
        "layers": dict(sorted(Counter(type(layer).__name__ for layer in counted).items())),
        "parameters": {
            "total": sum(layer.count_params() for layer in counted),
            "trainable": sum(layer.count_params() - _statistics(layer) for layer in counted),
            "backbone": _backbone_parameters(counted),
        },
        "flops": sum(_flops(layer) for layer in counted),
    }


def images_per_second(model: keras.Model, batch_size: int, seconds: float) -> dict[str, Any]:
    """Measure how many images a second a model answers.

    Batches of noise are answered, one after the other, as `predict_logits` does: at least three, and until `seconds`
    have passed. The first, in which TensorFlow prepares its graph, is not counted.

    Parameters
    ----------
    model
        Any model of one input of fixed size.
    batch_size
        Images at a time.
    seconds
        How long to measure.

    Returns
    -------
    dict
        `images_per_second` by the median batch; `batch_size`; `device`, a GPU's name or `CPU`; `threads` that
        TensorFlow may use within an operation.
    """
    images = np.random.default_rng(0).uniform(0, 255, (batch_size, *model.input_shape[1:])).astype(np.float32)
    model.predict_on_batch(images)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        model.predict_on_batch(images)
        times.append(time.perf_counter() - started)
    return {
        "images_per_second": batch_size / statistics.median(times),
        "batch_size": batch_size,
        "device": _device(),
        "threads": _threads(),
    }


def _statistics(layer: keras.Layer) -> int:
    if not isinstance(layer, keras.layers.BatchNormalization):
        return 0
    return _size(layer.moving_mean) + _size(layer.moving_variance)


def _size(weight: keras.Variable) -> int:
    return math.prod(weight.shape)


def _backbone_parameters(layers: list[keras.Layer]) -> int | None:
    names = [layer.name for layer in layers]
    if FEATURES not in names:
        return None
    parameters: int = sum(layer.count_params() for layer in layers[: names.index(FEATURES)])
    return parameters


def _flops(layer: keras.Layer) -> int:
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _attention_flops(layer)
    if isinstance(layer, keras.layers.EinsumDense):
        return _einsum_flops(layer)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
        # Every weight of the kernel meets every place of the output once.
        places: int = math.prod(layer.output.shape[1:-1])
        return 2 * _size(layer.kernel) * places
    if layer.weights and not isinstance(layer, _ELEMENTWISE):
        raise ModelError(
            f"layer {layer.name}: the operations of a {type(layer).__name__} are not known. Teach "
            f"galmorph.models.complexity to count them. Received: {layer.count_params()} parameters"
        )
    return 0


def _einsum_flops(layer: keras.layers.EinsumDense) -> int:
    """Every combination of the equation's letters is a multiply-add, the batch (the first) being one image."""
    inputs, kernel = layer.equation.split("->")[0].split(",")
    sizes = {**dict(zip(inputs, layer.input.shape, strict=True)), **dict(zip(kernel, layer.kernel.shape, strict=True))}
    combinations: int = math.prod(size for letter, size in sizes.items() if letter != inputs[0])
    return 2 * combinations


def _attention_flops(layer: keras.layers.MultiHeadAttention) -> int:
    """Four projections of every token; then every token weighs every other, and sums them up, in each head."""
    tokens: int = layer.output.shape[1]
    projections = (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    projected = sum(_size(dense.kernel) for dense in projections)
    width: int = layer.num_heads * (layer.key_dim + layer.value_dim)
    return 2 * tokens * projected + 2 * tokens * tokens * width


def _device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")) if gpus else "CPU"


def _threads() -> int:
    # TensorFlow says 0 for "one for each core", and does not say that it has read this variable.
    chosen = tf.config.threading.get_intra_op_parallelism_threads() or int(
        os.environ.get("TF_NUM_INTRAOP_THREADS", "0")
    )
    if chosen:
        return int(chosen)
    # macOS and Windows have no affinity call.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
