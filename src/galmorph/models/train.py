"""Training: phases of epochs over one model, resumable after any epoch."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from galmorph.data.augmentation import centre
from galmorph.data.dataset import batches, rows, training_batches
from galmorph.models.callbacks import EpochSeeds, Progress, Recalibration, Recorder, StopOnNan
from galmorph.models.devices import Devices, choose_devices, working_copy
from galmorph.models.features import (
    KeepFeatures,
    backbone_of,
    feature_batches,
    feature_parts,
    head_of,
    in_memory,
    ordered_feature_batches,
)
from galmorph.models.memory import named_memory_errors
from galmorph.models.objective import balanced_weights, compile_for, learning_rate
from galmorph.models.phases import planned_phases, set_trainable
from galmorph.models.planned import phase_params
from galmorph.models.state import HISTORY, AfterBatch, AfterEpoch, TrainingData, TrainingState, check_trainable
from galmorph.params import ExperimentParams, Phase, PhaseParams, TrainParams

__all__ = ["HISTORY", "AfterEpoch", "TrainingData", "TrainingState", "check_trainable", "train"]


def train(
    model: keras.Model,
    data: TrainingData,
    params: TrainParams,
    experiment: ExperimentParams,
    state: TrainingState,
    after_epoch: AfterEpoch,
    best_model: Callable[[], keras.Model],
    *,
    optimiser: Sequence[np.ndarray] = (),
    keep_features: KeepFeatures = in_memory,
    devices: Devices | None = None,
    after_batch: AfterBatch | None = None,
) -> TrainingState:
    """Train through the experiment's phases, going on from `state`.

    Parameters
    ----------
    model
        Ends in its logit; float32. As it was after the state's last epoch.
    data, params, experiment
        What to learn, and how.
    state
        Where to go on.
    after_epoch
        Keeps what must not be lost: the model, its optimiser's values, and the state.
    best_model
        Returns the model as it was after `state.best_epoch`; asked at the end of each phase.
    optimiser
        Values of the optimiser's variables after the state's last epoch; empty at the beginning.
    keep_features
        Where features of a frozen backbone are kept.
    devices
        What to train on; None: what this machine has, in `params.precision`.
    after_batch
        Told how training gets on within an epoch.

    Returns
    -------
    TrainingState
        After the last epoch. The best model of the last phase is what `best_model` returns.

    Raises
    ------
    TrainingError
        When the data or the phases do not allow it, or a loss is not a number.
    OutOfMemoryError
        When memory runs out.
    """
    check_trainable(data, params)
    names = [name for name, run in planned_phases(params, experiment, model) if run]
    devices = devices or choose_devices(params.precision)
    for number, name in enumerate(names):
        if number < state.phase:
            continue
        if number > state.phase:
            model = best_model()
            state = replace(state, phase=number, best_epoch=None, best_loss=None)
            optimiser = ()
        phase = phase_params(params, name)
        last = state.epoch - state.epochs_in_phase(name) + phase.epochs
        work = _Work(model, data, params, number, name, phase, last, devices, keep_features, after_batch)
        with named_memory_errors(memory_remedy(params, side(model))):
            state = _run_phase(work, state, after_epoch, optimiser)
    return state


@dataclass(frozen=True)
class _Work:
    """What a phase is made of; `last` is the number of its last epoch, counted from 1 over all phases."""

    model: keras.Model
    data: TrainingData
    params: TrainParams
    number: int
    name: Phase
    phase: PhaseParams
    last: int
    devices: Devices
    keep_features: KeepFeatures
    after_batch: AfterBatch | None


@dataclass(frozen=True)
class Lesson:
    """What a model is fitted to: images for the whole model, or features for the head.

    Attributes
    ----------
    training
        Batches of the epochs to come.
    validation
        Batches to watch.
    calibration
        Inputs that statistics of batch normalisation are measured on.
    """

    training: tf.data.Dataset
    validation: tf.data.Dataset
    calibration: np.ndarray


def _run_phase(
    work: _Work, state: TrainingState, after_epoch: AfterEpoch, optimiser: Sequence[np.ndarray]
) -> TrainingState:
    params, devices = work.params, work.devices
    working = working_copy(work.model, devices)

    def keep(state: TrainingState, seconds: float) -> None:
        if working is not work.model:
            work.model.set_weights(working.get_weights())
        after_epoch(work.model, state, seconds)

    recorder = Recorder(work.name, work.last, state, params.early_stopping, keep)
    if recorder.enough():
        return state
    frozen, epochs = work.name == "frozen", range(state.epoch, work.last)
    lesson = features_lesson(work, epochs) if frozen else image_lesson(work.data, params, side(work.model), epochs)
    with devices.scope():
        set_trainable(work.model, params, work.name)
        set_trainable(working, params, work.name)
        learner = head_of(working) if frozen else working
        compile_for(learner, params, work.phase, devices.policy == "mixed_float16", optimiser)
    if learner is not work.model:
        # Without a loss: this model is not fitted, it carries the optimiser to where it is kept.
        work.model.compile(optimizer=learner.optimizer)
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch, _: learning_rate(work.phase, epoch - work.last + work.phase.epochs)
    )
    callbacks = [schedule, recorder]
    if work.after_batch is not None:
        callbacks.append(Progress(len(work.data.y), params.batch_size, partial(work.after_batch, work.name)))
    fit(learner, lesson, work.data.y, params, epochs, callbacks)
    return recorder.state


def fit(
    learner: keras.Model,
    lesson: Lesson,
    y: np.ndarray,
    params: TrainParams,
    epochs: range,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Fit a compiled model to a lesson, for some epochs, numbered from 0; `y` are the training targets `(N,)`."""
    learner.fit(
        lesson.training,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        steps_per_epoch=math.ceil(len(y) / params.batch_size),
        validation_data=lesson.validation,
        class_weight=balanced_weights(y) if params.class_weights else None,
        callbacks=[
            EpochSeeds(params.seed),
            StopOnNan(),
            Recalibration(lesson.calibration, params.batch_size),
            *callbacks,
        ],
        shuffle=False,  # the data set has its own order, the same after a resume
        verbose=1 if sys.stdout.isatty() else 0,
    )


def image_lesson(data: TrainingData, params: TrainParams, size: int, epochs: range) -> Lesson:
    """Images of `size` pixels for the whole model."""
    return Lesson(
        training_batches(
            data.images, data.y, params.batch_size, params.seed, params.transforms, epochs, image_size=size
        ),
        batches(data.validation_images, data.validation_y, params.batch_size),
        calibration_images(data, params, size),
    )


def calibration_images(data: TrainingData, params: TrainParams, size: int) -> np.ndarray:
    """Training images as inference shows them, `(n, size, size, 3)` uint8, to measure batch normalisation on."""
    return rows(centre(data.images, size), slice(params.batch_norm_images))


def side(model: keras.Model) -> int:
    """Side in pixels of the images that a model takes."""
    return int(model.input_shape[1])


def features_lesson(work: _Work, epochs: range) -> Lesson:
    """Features for the head, computed once for each view of each image."""
    data, params = work.data, work.params
    # On one device: Keras would answer a batch once on each.
    backbone = backbone_of(working_copy(work.model, replace(work.devices, strategy=None)))
    length = int(backbone.output_shape[-1])

    def features(name: str, images: np.ndarray, views: int = 0) -> np.ndarray:
        parts = feature_parts(
            backbone, images, params.batch_size, f"features of {name} images", views, params.transforms, params.seed
        )
        # The phase's number: after a finetune phase the backbone gives other features.
        return work.keep_features(f"{work.number}-{name}", (max(views, 1), len(images), length), parts)

    views = params.frozen.augment_views if params.transforms is not None else 0
    training = features("train", data.images, views)
    calibration = features("calibration", calibration_images(data, params, side(backbone))) if views else training
    return Lesson(
        feature_batches(training, data.y, params.batch_size, params.seed, epochs),
        ordered_feature_batches(
            features("validation", data.validation_images)[0], data.validation_y, params.batch_size
        ),
        calibration[0, : params.batch_norm_images],
    )


def memory_remedy(params: TrainParams, image_size: int) -> str:
    """Say what to lower when memory runs out in training, and what becomes of finished epochs."""
    return (
        f"Lower train.memory_share (now {params.memory_share}) and run again: training goes on after its last finished "
        f"epoch. Or lower train.batch_size (now {params.batch_size}) or preprocess.image_size (now {image_size}): it "
        "then starts over."
    )
