"""The weights that a backbone starts from: ImageNet's, or a file's; matched layer by layer, and refused as a whole.

Keras's own `load_weights` goes by the order of layers, says little about what does not fit, and takes what is left
over for granted. Here layers are matched by their names, every layer of the backbone must be in the file, and a file
that holds other layers than a backbone's and a head's belongs to another architecture.
"""

import contextlib
import io
import socket
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from galmorph.errors import ModelError
from galmorph.params import TransferParams
from galmorph.storage import digest_file

#: Seconds without a byte after which the server of ImageNet weights counts as out of reach.
TIMEOUT = 20.0
_HINT = (
    "Set train.transfer.weights to the path of a weights file (a *_notop.h5 of keras-applications, a .weights.h5 or a "
    ".keras file), or to none for random weights."
)
#: Layers that a file may hold beyond the backbone: the head of a galmorph model, and that of keras-applications.
_HEADS = frozenset({"head_dense", "head_norm", "logit", "fc1", "fc2", "predictions", "probs"})


@dataclass(frozen=True)
class ImageNetFile:
    """Where keras-applications publishes a backbone's ImageNet weights, and the MD5 sum that it gives for them."""

    name: str
    folder: str
    md5: str

    @property
    def url(self) -> str:
        """Address of the file."""
        return f"{self.folder}/{self.name}"


_PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications"
#: As `keras.applications` names them; its constants are private.
IMAGENET = {
    "vgg16": ImageNetFile(
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_PUBLISHED}/vgg16",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet50": ImageNetFile(
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_PUBLISHED}/resnet",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
}


def weights_identity(architecture: str, params: TransferParams) -> str | None:
    """Say which weights an experiment starts from, by content, for a fingerprint or a tag.

    Nothing is downloaded: what `imagenet` stands for is fixed by the checksum that the download is held to.

    Returns
    -------
    str or None
        `sha256:…` of the file, `imagenet md5:…`, or None for random weights and architectures without a backbone.

    Raises
    ------
    ModelError
        When the file is not there.
    """
    if architecture not in IMAGENET or params.weights == "none":
        return None
    if params.weights == "imagenet":
        return f"imagenet md5:{IMAGENET[architecture].md5}"
    return f"sha256:{digest_file(_existing(params.weights))}"


def load_backbone(backbone: keras.Model, architecture: str, weights: str) -> None:
    """Give a backbone the weights that `train.transfer.weights` names.

    Parameters
    ----------
    backbone
        Un-nested, its layers named as in `keras.applications`; changed in place, or not at all when an error is raised.
    architecture
        `vgg16` or `resnet50`.
    weights
        `none` (nothing is done), `imagenet`, or the path of a file: HDF5 as keras-applications publishes it
        (`*_notop.h5`) or as Keras 3 saves it (`.weights.h5`), or a `.keras` model, galmorph's or a backbone alone.

    Raises
    ------
    ModelError
        When ImageNet weights cannot be fetched; when a file is missing, broken or of another architecture, or does
        not hold every layer of the backbone.
    """
    if weights == "none":
        return
    path = fetch_imagenet(architecture) if weights == "imagenet" else _existing(weights)
    _assign(backbone, read_weights(path), architecture, path)


def fetch_imagenet(architecture: str) -> Path:
    """Return the file of a backbone's ImageNet weights, downloading it into Keras's cache at the first time.

    Raises
    ------
    ModelError
        When it cannot be fetched within reason, or is not the file that keras-applications published.
    """
    file = IMAGENET[architecture]
    try:
        with _impatient(TIMEOUT):
            return Path(keras.utils.get_file(file.name, origin=file.url, file_hash=file.md5, cache_subdir="models"))
    except Exception as error:  # Keras raises a bare Exception
        raise ModelError(
            f"the ImageNet weights of {architecture} cannot be had: tried models/{file.name} in Keras's folder "
            f"(KERAS_HOME, else ~/.keras) and {file.url}. {_HINT} Received: {error}"
        ) from error


@contextlib.contextmanager
def _impatient(seconds: float) -> Iterator[None]:
    """Let no connection wait for longer; Keras's download sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _existing(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ModelError(
            f"train.transfer.weights must be imagenet, none or the path of a weights file. {_HINT} "
            f"Received: {weights!r}, and there is no such file"
        )
    return path


def read_weights(path: Path) -> dict[str, list[np.ndarray]]:
    """Read a weights file, whichever of the layouts it has.

    Returns
    -------
    dict
        The arrays of each layer that has any, by the layer's name, in Keras's order. A nested model's layers stand
        among the others.

    Raises
    ------
    ModelError
        When it is broken or of no known layout.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                source: Any = io.BytesIO(archive.read("model.weights.h5"))
        else:
            source = path
        with h5py.File(source, "r") as file:
            # A link would have a foreign file open other files of the machine.
            linked = file.visititems_links(lambda name, link: None if isinstance(link, h5py.HardLink) else name)
            if linked is not None:
                raise ValueError(f"{linked} is a link")
            group = file.get("model_weights", file)
            if "layer_names" in group.attrs or "layer_names0" in group.attrs:
                return _of_keras_2(group)
            if "layers" in group:
                return _of_keras_3(group["layers"])
            members = sorted(group)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: broken, or not a weights file. {_HINT} Received: {error}") from error
    raise ModelError(f"{path}: an HDF5 file without the weights of a Keras model. {_HINT} Received: {members}")


def _of_keras_2(group: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Read a group for each layer, named after it, with the names of its arrays in order."""
    found = {}
    for name in _texts(group, "layer_names"):
        arrays = [_array(group[name], path) for path in _texts(group[name], "weight_names")]
        if arrays:
            found[name] = arrays
    return found


def _of_keras_3(group: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Read groups numbered by class, each with its arrays numbered in `vars`, which knows the layer's name."""
    found = {}
    for key in group:
        layer = group[key]
        if "layers" in layer:
            found.update(_of_keras_3(layer["layers"]))
        elif len(layer.get("vars", ())):
            variables = layer["vars"]
            arrays = [_array(variables, number) for number in sorted(variables, key=int)]
            found[str(variables.attrs["name"])] = arrays
    return found


def _texts(group: h5py.Group, name: str) -> list[str]:
    """Read a list of names, which HDF5 cuts into numbered pieces when it is long."""
    pieces = [name] if name in group.attrs else sorted(key for key in group.attrs if key.startswith(name))
    texts = [text for piece in pieces for text in group.attrs[piece]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _array(group: h5py.Group, name: str) -> np.ndarray:
    dataset = group[name]
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{name} points to another file")
    return np.asarray(dataset)


def _assign(backbone: keras.Model, found: dict[str, list[np.ndarray]], architecture: str, path: Path) -> None:
    """Set all layers, after all have been looked at."""
    layers = [layer for layer in backbone.layers if layer.weights]
    for layer in layers:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        given = [array.shape for array in found.get(layer.name, [])]
        if wanted != given:
            raise ModelError(
                f"{path}: not the weights of {architecture}, or not all of them: the first layer that does not fit is "
                f"{layer.name}, with arrays of shape {_shapes(wanted)}. {_HINT} "
                f"Received for it: {_shapes(given) if layer.name in found else 'nothing'}"
            )
    strange = sorted(set(found) - {layer.name for layer in layers} - _HEADS)
    if strange:
        raise ModelError(
            f"{path}: not the weights of {architecture}: the first layer that does not fit is {strange[0]}, which "
            f"{architecture} does not have. {_HINT} Received: {len(strange)} such layers"
        )
    for layer in layers:
        layer.set_weights(found[layer.name])


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "none"
