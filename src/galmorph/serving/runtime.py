"""An exported model that answers: OpenVINO on the CPU, without TensorFlow."""

import contextlib
import logging
import queue
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from galmorph.cpu import FACTS as CPU_FACTS
from galmorph.cpu import cpu_has_bfloat16
from galmorph.data.dataset import POSITIVE, classes_of, prepare_raw
from galmorph.errors import ModelError
from galmorph.params import DenoiserParams, Label, TvParams, WaveletParams
from galmorph.serving.exported import EXAMPLES, PROBES, ExportFacts, checked_facts
from galmorph.serving.graph import Precision, chosen_precision, compiled_graph
from galmorph.serving.source import fetched
from galmorph.storage import read_image

__all__ = ["Answers", "ExportFacts", "Precision", "Runtime", "load", "sign"]

log = logging.getLogger(__name__)
#: How far bfloat16 may move a probability before float32 is the better choice.
_MAX_ROUNDING = 0.02
#: Images of one request to OpenVINO. More than the last are no faster, and need more memory.
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
#: The largest that is worth a warm-up: for more images the first answer takes hardly longer than the next.
_MOST_WARMED = 8


@dataclass(frozen=True)
class Answers:
    """What a model says of some images.

    Attributes
    ----------
    p_elliptical
        `(N,)` float64, calibrated.
    maps
        `(N, h, w)` float32, Grad-CAM's sum of the channels for Elliptical, signed: for a label the map is what
        `galmorph.explain.class_map` makes of it. None where none were asked for, or the model has none.
    """

    p_elliptical: np.ndarray
    maps: np.ndarray | None


def sign(label: Label) -> int:
    """1 where Elliptical is explained, -1 for Other: what `class_map` multiplies the sum by."""
    return 1 if label == POSITIVE else -1


class Runtime:
    """An exported model, ready to answer. It may be shared by threads.

    Attributes
    ----------
    facts
        What the model is and what it must be used with.
    precision
        In which it computes: `f32` or `bf16`.
    """

    facts: ExportFacts
    precision: Literal["f32", "bf16"]

    def __init__(self, folder: Path, precision: Precision, threads: int | None) -> None:
        """Check and load an exported folder.

        Parameters
        ----------
        folder
            As `galmorph.serving.export.export` writes it.
        precision
            `auto`: bf16 where the CPU multiplies bfloat16 itself and the model's answers for the cutouts beside it
            hardly change by it, f32 elsewhere.
        threads
            That OpenVINO uses; None: all cores that this process may use.

        Raises
        ------
        ModelError
            When the folder is missing or damaged, or is not what its facts say.
        ParamsError
            When the CPU has no bfloat16 and it was asked for.
        """
        self.facts = checked_facts(folder)
        _check_denoiser(folder, self.facts.denoiser)
        self.precision = chosen_precision(precision, cpu_has_bfloat16(CPU_FACTS))
        compiled = compiled_graph(folder, self.facts, self.precision, threads)
        if precision == "auto" and self.precision == "bf16":
            exact = compiled_graph(folder, self.facts, "f32", threads)
            moved = _moved(compiled, exact, self._tried(folder))
            if moved > _MAX_ROUNDING:
                log.warning("%s computes in f32: bf16 moves p_elliptical by up to %.3f", self.facts.name, moved)
                self.precision, compiled = "f32", exact
        self._streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._map_shape = tuple(compiled.output(1).partial_shape.get_max_shape())[1:] if self.facts.heat_maps else ()
        # A request is one thread's at a time; whoever finds none waits.
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._streams):
            self._idle.put(compiled.create_infer_request())

    def answer(self, images: np.ndarray, *, maps: bool) -> Answers:
        """Answer prepared images.

        Parameters
        ----------
        images
            `(N, S, S, 3)` uint8 RGB, as `prepare` makes them; any N. An image's answer does not depend on the others,
            but for the last digits of the precision.
        maps
            Whether heat maps are wanted. A model that has none gives none; `facts.heat_maps` tells.

        Returns
        -------
        Answers
            In the order of the images.

        Raises
        ------
        ModelError
            When the images are not of the model's size and type.
        """
        size = self.facts.preprocess.image_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ModelError(
                f"{self.facts.name} takes (N, {size}, {size}, 3) uint8; make images so with Runtime.prepare. "
                f"Received: {images.shape} {images.dtype}"
            )
        p_elliptical = np.empty(len(images))
        wanted = maps and self.facts.heat_maps
        coarse = np.empty((len(images), *self._map_shape), np.float32) if wanted else None
        for part, outputs in self._outputs(np.ascontiguousarray(images)):
            p_elliptical[part] = outputs[0].data[:, 0]
            if coarse is not None:
                coarse[part] = outputs[1].data
        return Answers(p_elliptical, coarse)

    def warm_up(self) -> None:
        """Answer black images in requests of each of the usual sizes: the first takes longer than the next."""
        size = self.facts.preprocess.image_size
        for images in _SIZES[: _SIZES.index(_MOST_WARMED) + 1]:
            self.answer(np.zeros((self._streams * images, size, size, 3), np.uint8), maps=True)

    def labels(self, p_elliptical: np.ndarray) -> list[Label]:
        """Return the label of each probability."""
        labels: list[Label] = classes_of(p_elliptical, self.facts.threshold).tolist()
        return labels

    def prepare(self, cutout: np.ndarray, *, denoised: bool = False) -> np.ndarray:
        """Make of a cutout what the model takes: denoise it as the model's variant was, crop, resize.

        Parameters
        ----------
        cutout
            `(H, W, 3)` uint8 RGB.
        denoised
            Whether the cutout is the variant's already, so that it must not be denoised again.

        Returns
        -------
        numpy.ndarray
            `(S, S, 3)` uint8 RGB.

        Raises
        ------
        ImageError
            When the cutout is not such an array.
        """
        return prepare_raw(cutout, self.facts.preprocess, None if denoised else self.facts.denoiser)

    def _tried(self, folder: Path) -> np.ndarray:
        """Prepare the cutouts that lie beside the model, each also mirrored: `(N, S, S, 3)`, N may be 0."""
        size = self.facts.preprocess.image_size
        paths = sorted(path for name in (PROBES, EXAMPLES) for path in (folder / name).glob("*.png"))
        cutouts = [self.prepare(read_image(path)) for path in paths]
        images = np.array(cutouts, np.uint8).reshape(-1, size, size, 3)
        return np.concatenate([images, images[:, :, ::-1]])

    def _outputs(self, images: np.ndarray) -> Iterator[tuple[slice, Any]]:
        """Yield each chunk's place and OpenVINO's tensors, good until the next one; several are computed at a time."""
        running: deque[tuple[slice, Any]] = deque()
        start = 0
        try:
            while start < len(images):
                try:
                    request = self._idle.get(block=not running)
                except queue.Empty:
                    # Its own again: two callers that each held some and waited for the other's would wait for ever.
                    yield _waited_for(*running[0])
                    _, request = running.popleft()
                # Where other callers keep the other requests busy, this one has the piece that they would share.
                part = slice(start, start + piece(len(images) - start, 1 + self._idle.qsize()))
                start = part.stop
                running.append((part, request))
                request.start_async({0: images[part]}, share_inputs=True)
            while running:
                yield _waited_for(*running[0])
                self._idle.put(running.popleft()[1])
        finally:
            for _, request in running:
                with contextlib.suppress(RuntimeError):  # told already, if it is the one that failed
                    request.wait()
                self._idle.put(request)


def piece(images: int, idle: int) -> int:
    """Return how many of some images the next request to OpenVINO takes.

    It is one of few numbers: OpenVINO prepares itself for every new one, which takes a tenth of a second with resnet50.
    Powers of two alone would leave six images as four and two, which together take a sixth longer.

    Parameters
    ----------
    images
        That are still to be answered, at least 1.
    idle
        Requests that can take some of them now, this one included.
    """
    most = max(1, images // idle)
    return max(size for size in _SIZES if size <= most)


def _moved(rounded: Any, exact: Any, images: np.ndarray) -> float:
    """Return the largest difference between two compiled graphs' probabilities; 0 without images."""
    if not len(images):
        return 0.0
    return float(np.abs(rounded(images)[0] - exact(images)[0]).max())


def _waited_for(part: slice, request: Any) -> tuple[slice, Any]:
    request.wait()
    return part, request.output_tensors


def load(source: str, cache: Path) -> Runtime:
    """Load a model at the precision and with the threads that suit this machine.

    Parameters
    ----------
    source
        An exported folder, or `models:/NAME@ALIAS` or `models:/NAME/VERSION` of the MLflow server that
        `MLFLOW_TRACKING_URI` names.
    cache
        A folder for what is fetched from there; it is made when it is missing.

    Raises
    ------
    ModelError
        As `Runtime`, or when `source` is neither.
    TrackingError
        As `galmorph.serving.source.fetched`.
    """
    return Runtime(fetched(source, cache), "auto", None)


def _check_denoiser(folder: Path, denoiser: DenoiserParams | None) -> None:
    """Refuse a model now whose images could not be denoised later."""
    match denoiser:
        case TvParams():
            module, package = "skimage", "scikit-image"
        case WaveletParams():
            module, package = "pywt", "PyWavelets"
        case _:
            return
    if find_spec(module) is None:
        raise ModelError(
            f"{folder}: the model's images are denoised with {package}, which is not installed. "
            f"Install it (pip install {package}). Received: {denoiser}"
        )
