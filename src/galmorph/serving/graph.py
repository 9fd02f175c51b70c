"""An exported graph, compiled by OpenVINO for this CPU."""

from pathlib import Path
from typing import Any, Literal

from galmorph.errors import ModelError, ParamsError
from galmorph.quiet import openvino
from galmorph.serving.exported import GRAPH, WEIGHTS, ExportFacts

#: What may be asked for.
Precision = Literal["auto", "f32", "bf16"]


def chosen_precision(asked: Precision, bfloat16: bool) -> Literal["f32", "bf16"]:
    """Decide in which precision to compute.

    Raises
    ------
    ParamsError
        When bf16 is asked for and the CPU does not have it: emulated, it is slower than f32 and no more accurate.
    """
    if asked == "bf16" and not bfloat16:
        raise ParamsError(
            "precision: this CPU has no bfloat16 instructions (AVX512-BF16 or AMX). Choose f32 or auto. Received: bf16"
        )
    if asked == "auto":
        return "bf16" if bfloat16 else "f32"
    return asked


def compiled_graph(folder: Path, facts: ExportFacts, precision: Literal["f32", "bf16"], threads: int | None) -> Any:
    """Read and compile an exported graph, and hold it against its facts.

    Raises
    ------
    ModelError
        When OpenVINO cannot load it, or it is not what the facts say.
    """
    core = openvino().Core()
    try:
        graph = core.read_model(folder / GRAPH, folder / WEIGHTS)
        _check_graph(folder, graph, facts)
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        return core.compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / GRAPH}: OpenVINO cannot load it. Export the model again, by the OpenVINO of this machine or an "
            f"older one. Received: {str(error)[:300]}"
        ) from error


def _check_graph(folder: Path, graph: Any, facts: ExportFacts) -> None:
    size = facts.preprocess.image_size
    shapes = [str(port.get_partial_shape()) for port in (*graph.inputs, *graph.outputs)]
    kind = graph.inputs[0].get_element_type().get_type_name()
    if shapes[0] != f"[?,{size},{size},3]" or kind != "u8" or len(graph.outputs) != 1 + facts.heat_maps:
        raise ModelError(
            f"{folder / GRAPH}: must take [?,{size},{size},3] u8 and give p_elliptical"
            f"{' and grad_cam' if facts.heat_maps else ''}, as facts.json says. Export the model again. "
            f"Received: {' '.join(shapes)}, {kind}"
        )
