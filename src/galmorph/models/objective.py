"""What training minimises, and how: loss, optimiser, learning rate, class weights."""

import math
from collections.abc import Sequence

import keras
import numpy as np

from galmorph.params import LossParams, OptimiserParams, PhaseParams, TrainParams

#: Variables that weight decay leaves alone, by name: they shift and scale, and do not make a network complex.
_NOT_DECAYED = ("bias", "gamma", "beta")


class GeneralisedCrossEntropy(keras.losses.Loss):
    """`(1 - p^q) / q` of the probability `p` of the label, from logits; an upper bound for what a wrong label costs.

    q → 0 gives the cross entropy, q = 1 the mean absolute error. Computed as `-expm1(q · log sigmoid(±logit)) / q`,
    which neither overflows for any logit nor loses digits for a small q.

    Parameters
    ----------
    q
        In (0, 1].
    label_smoothing
        Share of each target that is spread evenly over the two classes, in [0, 1).

    References
    ----------
    Zhang & Sabuncu 2018, "Generalized cross entropy loss for training deep neural networks with noisy labels",
    arXiv:1805.07836, equation 6.
    """

    def __init__(self, q: float, label_smoothing: float) -> None:
        super().__init__(name="generalised_cross_entropy")
        self.q, self.label_smoothing = q, label_smoothing

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each galaxy, `(N,)`, from targets `(N, 1)` in {0, 1} and logits `(N, 1)`."""
        target = keras.ops.cast(y_true, y_pred.dtype) * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        elliptical = -keras.ops.expm1(self.q * keras.ops.log_sigmoid(y_pred)) / self.q
        other = -keras.ops.expm1(self.q * keras.ops.log_sigmoid(-y_pred)) / self.q
        return keras.ops.mean(target * elliptical + (1.0 - target) * other, -1)


def loss_function(params: LossParams) -> keras.losses.Loss:
    """Return what is minimised, from targets and logits."""
    if params.name == "generalised_cross_entropy":
        return GeneralisedCrossEntropy(params.q, params.label_smoothing)
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=params.label_smoothing)


def optimiser(params: OptimiserParams, rate: float, scale_loss: bool) -> keras.optimizers.Optimizer:
    """Return a fresh optimiser.

    Parameters
    ----------
    params
        Adam (Kingma & Ba 2015, arXiv:1412.6980), or AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), which decays
        the kernels beside the gradient step, neither biases nor the scales and shifts of normalisations.
    rate
        Its learning rate.
    scale_loss
        Whether to scale the loss so that small gradients survive in float16 (Micikevicius et al. 2018,
        arXiv:1710.03740).
    """
    if params.name == "adamw":
        chosen = keras.optimizers.AdamW(rate, weight_decay=params.weight_decay)
        chosen.exclude_from_weight_decay(var_names=list(_NOT_DECAYED))
    else:
        chosen = keras.optimizers.Adam(rate)
    return keras.optimizers.LossScaleOptimizer(chosen) if scale_loss else chosen


def optimiser_values(chosen: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Return the values of an optimiser's variables, in its own order."""
    return [keras.ops.convert_to_numpy(variable) for variable in chosen.variables]


def compile_for(
    model: keras.Model, params: TrainParams, phase: PhaseParams, scale_loss: bool, values: Sequence[np.ndarray] = ()
) -> None:
    """Give the model its loss, metrics and optimiser for a phase.

    Parameters
    ----------
    model
        Ends in its logit; its layers are trainable as the phase wants them.
    params, phase
        What to minimise, and how.
    scale_loss
        See `optimiser`.
    values
        Of the optimiser's variables, as `optimiser_values` gave them, to go on with; empty: start afresh.
    """
    chosen = optimiser(params.optimiser, phase.learning_rate, scale_loss)
    model.compile(
        optimizer=chosen,
        loss=loss_function(params.loss),
        # Models are compared by the plain cross entropy: a smoothed or bounded loss would flatter by its own scale.
        metrics=[
            keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy"),
            keras.metrics.BinaryCrossentropy(from_logits=True, name="cross_entropy"),
        ],
        jit_compile=params.xla,
    )
    chosen.build(model.trainable_variables)
    if values:
        for variable, value in zip(chosen.variables, values, strict=True):
            variable.assign(value)


def balanced_weights(y: np.ndarray) -> dict[int, float]:
    """Class weights `N / (2 · count)`, as scikit-learn's `class_weight="balanced"`."""
    return {value: len(y) / (2 * int((y == value).sum())) for value in (0, 1)}


def learning_rate(phase: PhaseParams, epoch: int) -> float:
    """Return the learning rate of an epoch of a phase, counted from 0.

    Over the `warmup` epochs it rises in equal steps, `1/(warmup + 1)` of its value in the first; then it stays
    (`constant`) or falls to nearly 0 over the epochs that are left (`cosine`: Loshchilov & Hutter 2017,
    arXiv:1608.03983, without restarts). It depends on the epoch's number only, so that a resumed run follows it too.
    """
    if epoch < phase.warmup:
        return phase.learning_rate * (epoch + 1) / (phase.warmup + 1)
    if phase.schedule == "constant":
        return phase.learning_rate
    passed = (epoch - phase.warmup) / (phase.epochs - phase.warmup)
    return phase.learning_rate * 0.5 * (1 + math.cos(math.pi * passed))
