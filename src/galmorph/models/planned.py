"""Which phases of an experiment are run, and for how long; a study asks it before TensorFlow is loaded."""

from galmorph.params import ExperimentParams, Phase, PhaseParams, TrainParams

#: Architectures of a backbone under a head, which may start from weights of its own.
BACKBONES = ("vgg16", "resnet50")


def is_run(phase: Phase, params: TrainParams, experiment: ExperimentParams) -> bool:
    """Whether an experiment runs a phase of its own.

    A backbone of random weights has no features worth keeping: with `transfer.weights: none` the frozen phase is
    passed over.
    """
    random = experiment.architecture in BACKBONES and params.transfer.weights == "none"
    return phase in experiment.phases and not (random and phase == "frozen")


def planned_epochs(params: TrainParams, experiment: ExperimentParams) -> int:
    """Count the epochs that an experiment comes to if none of its phases ends early."""
    return sum(phase_params(params, name).epochs for name in experiment.phases if is_run(name, params, experiment))


def phase_params(params: TrainParams, name: Phase) -> PhaseParams:
    """Return the values of a phase."""
    phases: dict[Phase, PhaseParams] = {
        "scratch": params.scratch,
        "frozen": params.frozen,
        "finetune": params.finetune,
    }
    return phases[name]
