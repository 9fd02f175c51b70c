"""What a model was trained with, in the few words that a reader of its scores needs."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from galmorph.models.planned import BACKBONES
from galmorph.params import Section, TrainStageParams


class Recipe(Section):
    """How a model was trained.

    Attributes
    ----------
    weights
        What its backbone started from: `imagenet`, the name of a weights file, or `none` for random numbers.
    phases, epochs
        The phases that were run, and how many epochs of each; training may stop before a phase's last one.
    augmentation
        The row of `augmentations`, or None.
    class_weights
        Whether the classes counted the same, however many galaxies of each there were.
    """

    weights: str
    phases: tuple[str, ...]
    epochs: tuple[int, ...]
    augmentation: str | None
    class_weights: bool


def recipe(params: TrainStageParams, history: Iterable[Mapping[str, Any]]) -> Recipe:
    """Say how a model was trained.

    Parameters
    ----------
    params
        What was asked for.
    history
        A row for each epoch that was run, with its `phase`.
    """
    phases = [row["phase"] for row in history]
    ran = tuple(dict.fromkeys(phases))
    transfer = params.experiment.architecture in BACKBONES
    return Recipe(
        # The name alone: where a file lay on the machine that trained is nobody's business.
        weights=PurePath(params.train.transfer.weights).name if transfer else "none",
        phases=ran,
        epochs=tuple(phases.count(phase) for phase in ran),
        augmentation=params.train.augmentation,
        class_weights=params.train.class_weights,
    )
