"""Which phases an experiment goes through, and which layers learn in each."""

import keras

from galmorph.errors import TrainingError
from galmorph.models.layers import FEATURES
from galmorph.models.planned import is_run
from galmorph.params import ExperimentParams, FinetuneParams, Phase, TrainParams


def has_backbone(model: keras.Model) -> bool:
    """Whether the model is a backbone under a head, told apart by its layer `features`."""
    return any(layer.name == FEATURES for layer in model.layers)


def backbone_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers from the image to the features, in order; none where there is no backbone."""
    if not has_backbone(model):
        return []
    return list(keras.Model(model.input, model.get_layer(FEATURES).output).layers)


def planned_phases(params: TrainParams, experiment: ExperimentParams, model: keras.Model) -> list[tuple[Phase, bool]]:
    """Say which of an experiment's phases are run: its phases in order, each with whether it is (`planned.is_run`).

    Raises
    ------
    TrainingError
        When a phase needs a backbone and the architecture has none, or no phase is left.
    """
    needing = [
        name
        for name in experiment.phases
        if name == "frozen" or (name == "finetune" and params.finetune.unfrozen != "all")
    ]
    if needing and not has_backbone(model):
        setting = "train.finetune.unfrozen: all" if needing == ["finetune"] else "experiments.*.phases: [scratch]"
        raise TrainingError(
            f"the phase {needing[0]} needs a backbone, and {experiment.architecture} has none (no layer "
            f"{FEATURES!r}). Set {setting} for this experiment, or choose vgg16 or resnet50. "
            f"Received: architecture {experiment.architecture}, phases {', '.join(experiment.phases)}"
        )
    planned = [(name, is_run(name, params, experiment)) for name in experiment.phases]
    if not any(run for _, run in planned):
        raise TrainingError(
            "no phase is left: with train.transfer.weights none the frozen phase is passed over. Name weights, or add "
            f"finetune or scratch to the experiment's phases. Received: phases {', '.join(experiment.phases)}"
        )
    return planned


def set_trainable(model: keras.Model, params: TrainParams, name: str) -> None:
    """Let those layers learn that the phase wants to learn, and no others.

    Keras runs a batch normalisation that is not trainable in inference mode, on the statistics it has: frozen means
    both.

    Parameters
    ----------
    model
        Changed in place: `trainable` of its layers.
    params
        `finetune` says how many layers of the backbone that have weights learn, and whether its batch normalisation
        does; with `transfer.weights: none` it does in any case.
    name
        `scratch`: all layers learn. `frozen`: the head does. `finetune`: the head and what `params` says.
    """
    model.trainable = True  # and every layer in it
    backbone = backbone_layers(model)
    if name == "frozen":
        frozen = backbone
    elif name == "finetune":
        frozen = _frozen_in_finetune(backbone, params.finetune, pretrained=params.transfer.weights != "none")
    else:
        frozen = []
    for layer in frozen:
        layer.trainable = False


def _frozen_in_finetune(
    backbone: list[keras.layers.Layer], params: FinetuneParams, pretrained: bool
) -> list[keras.layers.Layer]:
    weighted = [layer for layer in backbone if layer.weights]
    frozen = [] if params.unfrozen == "all" else weighted[: -params.unfrozen]
    if pretrained and params.batch_norm == "frozen":
        frozen += [layer for layer in backbone if isinstance(layer, keras.layers.BatchNormalization)]
    return frozen
