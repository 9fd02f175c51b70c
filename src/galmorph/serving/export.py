"""From a Keras model to an exported folder: OpenVINO's graph, its facts, and a digest of each file."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import keras
import numpy as np

from galmorph import __version__
from galmorph.data.dataset import THRESHOLD
from galmorph.errors import ModelError
from galmorph.explain.closed_form import class_weights, grad_cam_outputs
from galmorph.explain.graph import convolutions
from galmorph.models.saved import ModelFacts, uncompiled
from galmorph.quiet import openvino
from galmorph.serving.exact_input import with_exact_input
from galmorph.serving.exported import DIGESTS, FACTS, GRAPH, ExportFacts, digests
from galmorph.storage import output_folder, write_json

#: How far the exported graph may lie from Keras on images made up for the purpose: probability, and heat map as a share
#: of its largest absolute value. Float32 sums in another order differ by a hundredth of that.
_MAX_DIFFERENCE, _MAX_MAP_DIFFERENCE = 1e-4, 1e-3


@dataclass(frozen=True)
class Origin:
    """What an export is of, beside the model's own facts.

    Attributes
    ----------
    model, version
        Name and number of the registered model; None: it has no number.
    model_digest
        SHA-256 of the `.keras` file.
    created
        ISO 8601, UTC.
    """

    model: str
    version: int | None
    model_digest: str
    created: str


def export(
    model: keras.Model, facts: ModelFacts, folder: Path, origin: Origin, layer: str | None, shown: Mapping[str, Path]
) -> ExportFacts:
    """Write a model as OpenVINO IR in float32, with its facts and what the service shows of it.

    The graph takes `(N, S, S, 3)` uint8 and gives `p_elliptical` `(N, 1)` and, where the model has convolutions,
    `grad_cam` `(N, h, w)`: the sum that `galmorph.explain.class_map` makes heat maps of. Only N is open. It is tried
    before it is handed out.

    Parameters
    ----------
    model
        A galmorph model of any precision.
    facts
        Its facts.
    folder
        Is written whole or not at all; what it held is replaced.
    origin
        What it is an export of.
    layer
        Which the heat maps are of, as for `GradCam`.
    shown
        Files and folders to lay beside, by their names in the folder; those that do not exist are left out.

    Returns
    -------
    ExportFacts
        What `facts.json` says.

    Raises
    ------
    ModelError
        When Grad-CAM has no closed form for the model, or the graph does not answer as Keras does.
    """
    plain = in_float32(model)
    drawn = bool(convolutions(plain))
    whole = grad_cam_outputs(plain, layer) if drawn else uncompiled(plain)
    carried = facts.model_dump(include=set(ExportFacts.model_fields) - {"galmorph"})
    exported = ExportFacts(
        **carried,
        **asdict(origin),
        galmorph=__version__,
        threshold=THRESHOLD,
        heat_maps=drawn,
        layer=class_weights(plain, layer).layer if drawn else None,
    )
    with output_folder(folder) as out:
        write_graph(with_exact_input(whole), out)
        _check_agreement(whole, out)
        write_json(out / FACTS, exported.model_dump(mode="json"))
        for name, source in shown.items():
            if source.is_dir():
                shutil.copytree(source, out / name)
            elif source.exists():
                shutil.copyfile(source, out / name)
        write_json(out / DIGESTS, digests(out))
    return exported


def in_float32(model: keras.Model) -> keras.Model:
    """Return the model itself, or a copy that computes in float32 where a layer does not."""
    if all(layer.dtype_policy.name == "float32" for layer in model.layers):
        return model

    def exact(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(uncompiled(model), clone_function=exact)
    copy.set_weights(model.get_weights())
    return copy


def write_graph(model: keras.Model, folder: Path) -> None:
    """Write `model.xml` and `model.bin`; uint8 becomes float32 inside the graph."""
    ov = openvino()
    with tempfile.TemporaryDirectory(prefix="galmorph-export-") as saved:
        # By the file and OpenVINO's reader: its `convert_model` is another program, that reports what it converts.
        model.export(saved, format="tf_saved_model", verbose=False)
        graph = ov.Core().read_model(saved)
        steps = ov.preprocess.PrePostProcessor(graph)
        steps.input().tensor().set_element_type(ov.Type.u8)
        graph = steps.build()
        for port, name in zip(graph.outputs, ("p_elliptical", "grad_cam"), strict=False):
            port.get_tensor().set_names({name})
        ov.save_model(graph, folder / GRAPH, compress_to_fp16=False)
    _keep_first_activation_exact(folder / GRAPH)


def _keep_first_activation_exact(graph: Path) -> None:
    """Mark the first ReLU, so that a runtime in bfloat16 hands its output on in float32.

    Next to the image (see `exact_input`) it is what rounding harms most: in resnet50 the largest difference of 584
    answers went from 0.024 to 0.014 with it, and to 0.011 with all of them, for a tenth more time.
    """
    tree = ElementTree.parse(graph)  # noqa: S314 - OpenVINO wrote it a moment ago
    first = next((layer for layer in tree.iter("layer") if layer.get("type") == "ReLU"), None)
    if first is None:
        return
    # OpenVINO's name for "not to be converted to fewer bits"; from Python it can be set in the file alone.
    mark = ElementTree.Element("rt_info")
    ElementTree.SubElement(mark, "attribute", name="precise", version="0")
    first.insert(0 if first.find("data") is None else 1, mark)
    tree.write(graph, encoding="utf-8", xml_declaration=True)


def _check_agreement(model: keras.Model, folder: Path) -> None:
    """Hold the written graph against Keras, on noise about grey levels from black to white."""
    side = model.input_shape[1]
    random = np.random.default_rng(0)
    level = np.linspace(0, 255, 4)[:, None, None, None]
    images = np.clip(random.normal(level, 40, (4, side, side, 3)), 0, 255).astype(np.uint8)
    graph = (
        openvino()
        .Core()
        .compile_model(folder / GRAPH, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
    )
    ours = list(graph(images).values())
    theirs = keras.tree.flatten(model.predict_on_batch(images.astype(np.float32)))
    differences = [
        _difference(found, expected, at > 0) for at, (found, expected) in enumerate(zip(ours, theirs, strict=True))
    ]
    for what, difference, most in zip(
        ("p_elliptical", "heat maps"), differences, (_MAX_DIFFERENCE, _MAX_MAP_DIFFERENCE), strict=False
    ):
        if not difference <= most:  # NaN is no agreement
            raise ModelError(
                f"{model.name}: the exported {what} are not Keras's, so it was not exported. Train the model again if "
                f"its weights have grown without bound; otherwise this OpenVINO cannot be used. "
                f"Received: a difference of {difference:.2g}, at most {most:g}"
            )


def _difference(found: Any, expected: np.ndarray, relative: bool) -> float:
    scale = float(np.abs(expected).max()) if relative else 1.0
    return float(np.abs(found - expected).max()) / (scale or 1.0)
