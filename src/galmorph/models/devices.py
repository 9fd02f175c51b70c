"""On what, and in which precision, a model is trained.

Models are built, kept and answered in float32. Mixed precision and several GPUs concern a copy that training works
with: Keras's global policy is never touched, so that nothing of it can leak into what runs afterwards.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import keras
import tensorflow as tf

from galmorph.cpu import FACTS, cpu_has_bfloat16
from galmorph.models.saved import uncompiled

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Devices:
    """What a training runs on.

    Attributes
    ----------
    policy
        Keras's name of the precision: `float32`, `mixed_float16` or `mixed_bfloat16`.
    strategy
        Spreads each batch over several devices; None for one.
    """

    policy: str
    strategy: tf.distribute.Strategy | None

    @property
    def summary(self) -> str:
        """`one device`, or how many share a batch."""
        return "one device" if self.strategy is None else f"mirrored on {self.strategy.num_replicas_in_sync} devices"

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which variables of this training are made and set."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()


def choose_devices(precision: Literal["float32", "mixed"]) -> Devices:
    """Take all GPUs there are, or the CPU, and the mixed precision that it computes fast.

    Several GPUs share each batch (`MirroredStrategy`), whose size stays `train.batch_size`.
    """
    gpus = tf.config.list_physical_devices("GPU")
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else None
    policy = policy_name(precision, bool(gpus), cpu_has_bfloat16(FACTS))
    if precision == "mixed" and policy == "float32":
        _log.info("train.precision is mixed, but this CPU has no bfloat16 instructions: float32 is used")
    return Devices(policy, strategy)


def policy_name(precision: Literal["float32", "mixed"], gpu: bool, bfloat16: bool) -> str:
    """Name the precision: mixed is float16 on a GPU, bfloat16 on a CPU that has it, and float32 elsewhere."""
    if precision == "float32":
        return "float32"
    if gpu:
        return "mixed_float16"
    return "mixed_bfloat16" if bfloat16 else "float32"


def working_copy(model: keras.Model, devices: Devices) -> keras.Model:
    """Return the model to train: the model itself, or a copy of it in another precision or on several devices.

    The logit, and what prepares the image before the first layer with weights, stay in float32: a pixel has more
    digits than bfloat16.
    """
    if devices.policy == "float32" and devices.strategy is None:
        return model
    exact = {"logit", *_before_weights(model)}

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        config["dtype"] = "float32" if layer.name in exact else devices.policy
        return layer.__class__.from_config(config)

    with devices.scope():
        copy = keras.models.clone_model(uncompiled(model), clone_function=copied)
        copy.set_weights(model.get_weights())
    return copy


def _before_weights(model: keras.Model) -> Iterator[str]:
    for layer in model.layers:
        if layer.weights:
            return
        yield layer.name
