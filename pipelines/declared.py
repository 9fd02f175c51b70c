"""How a pipeline's parameters are declared: the sections of params.yaml, and what depends on the cluster."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from pipelines import settings


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline: its type, its default (`None`: it must be given), and what it means."""

    type: type
    default: Any
    meaning: str


#: What a run asks of the cluster.
PLACEMENT: Mapping[str, Parameter] = {
    "cpu": Parameter(str, settings.CPU, "CPUs that a component asks for, and gets no more of"),
    "memory": Parameter(str, settings.MEMORY, "memory that a component asks for, and gets no more of"),
}
MODEL_PLACEMENT: Mapping[str, Parameter] = {
    "train_cpu": Parameter(
        str, settings.TRAIN_CPU, "CPUs that components ask for which run a model, and get no more of"
    ),
    "train_memory": Parameter(str, settings.TRAIN_MEMORY, "memory that they ask for, and get no more of"),
    "gpu_type": Parameter(str, settings.GPU_TYPE, "the resource by which they ask for GPUs"),
    "gpus": Parameter(str, settings.GPU_COUNT, "GPUs that each of them asks for"),
    "gpu_nodes": Parameter(dict, {}, "labels of the nodes that they may run on; empty: any"),
    "gpu_tolerations": Parameter(list, [], "taints of those nodes that they tolerate, as Kubernetes writes them"),
}
#: What has to be there in the cluster, by name.
CHECKPOINTS = Parameter(str, settings.CHECKPOINTS_CLAIM, "the volume claim that keeps what is half done")
TRACKING: Mapping[str, Parameter] = {
    "tracking": Parameter(str, settings.TRACKING_CONFIG, "the ConfigMap that says where MLflow is"),
    "tracking_secret": Parameter(str, settings.TRACKING_SECRET, "the Secret with MLflow's user and password"),
}


def sections(names: Iterable[str]) -> dict[str, Parameter]:
    """Declare sections of params.yaml, with what is in it now as their defaults."""
    values = settings.stage_defaults()
    return {name: Parameter(dict, values[name], f"section {name} of params.yaml") for name in names}


def pipeline(
    name: str, description: str, parameters: Mapping[str, Parameter], wire: Callable[[SimpleNamespace], None]
) -> Any:
    """Make a pipeline of its wiring.

    Parameters
    ----------
    name, description
        As Kubeflow Pipelines shows them.
    parameters
        By name.
    wire
        Makes the tasks. It is given the parameters, by name, as what stands for their values in a run.
    """

    def function(*given: Any) -> None:
        wire(SimpleNamespace(**dict(zip(parameters, given, strict=True))))

    # Kubeflow Pipelines reads a signature: written out, it would be the list above a second time, for each pipeline.
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=one.type,
                default=inspect.Parameter.empty if one.default is None else one.default,
            )
            for key, one in parameters.items()
        ]
    )
    function.__name__ = name
    meanings = "".join(f"\n    {key}: {one.meaning}" for key, one in parameters.items())
    function.__doc__ = f"{description}\n\nArgs:{meanings}"
    return dsl.pipeline(function, name=name, description=description)
