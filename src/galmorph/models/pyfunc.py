"""The registered model, as code: MLflow runs this file when it loads a version.

A version brings galmorph's own package along (`code_paths`), so that cutouts are read, denoised, cropped and explained
by the code that the version was registered with, and nothing of galmorph need be installed. No pickle is involved: the
weights are the artifact `model`, a `.keras` file that is read in Keras's safe mode and says in it what an image must
go through first.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from galmorph.data.dataset import classes_of, prepare_raw, to_frame
from galmorph.data.given import as_cutout
from galmorph.data.images import max_bytes
from galmorph.errors import InputError
from galmorph.explain.class_map import empty_text
from galmorph.explain.grad_cam import GradCam
from galmorph.explain.graph import convolutions
from galmorph.explain.heatmap import overlay_on_frame
from galmorph.models.saved import load_model
from galmorph.params import PictureParams

#: What an image may be. MLflow checks the list, and leaves its elements to `predict`.
Image = bytes | str | Path | np.ndarray
#: What `params={"heat_map": ...}` may be.
HEAT_MAPS = ("none", "png", "array")
NO_HEAT_MAP = "this architecture has no convolution, so there is no live heat map"


class GalaxyClassifier(PythonModel):
    """Answers cutouts, of any size, as they come from the telescope's pipeline.

    Paths are read only where whoever loaded the model allowed it: `mlflow.pyfunc.load_model(uri,
    model_config={"allow_paths": True})`. It is no parameter of `predict`, since a request to a server can name those.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights and what belongs to them."""
        self.config = dict(context.model_config)
        self.picture = PictureParams(**self.config["picture"])
        self.model, self.facts = load_model(Path(context.artifacts["model"]))
        # Grad-CAM is the one that is both quick and true to its convolution; reports compare it with others. A version
        # that was made before the layer was kept with it names none: it took the last one.
        layer, size = self.config.get("layer"), self.config["batch_size"]
        self.explainer = GradCam(self.model, layer, size) if convolutions(self.model) else None

    def predict(  # MLflow names the arguments
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: list[Image],
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer each image.

        Parameters
        ----------
        model_input
            The images, of one or several kinds: bytes of an image file, its base64 text, an `(H, W, 3)` RGB array from
            0 to 255; where paths are allowed, a `Path`, and text is a path too. An array `(N, H, W, 3)` and a table
            of one column stand for such a list, and one image for a list of one.
        params
            `heat_map`: `none`; `png`, the bytes of a picture of the cutout under its heat map; or `array`, the
            attribution of the whole frame, `(H, W)` float32, not normalised.

        Returns
        -------
        pandas.DataFrame
            `p_elliptical` (calibrated), `label`; where heat maps were asked for `heat_map`, which is None where there
            is none to be had, and `note`, which says why it is None or empty.

        Raises
        ------
        InputError, ImageError
            Naming the image that cannot be used.
        """
        wanted = (params or {}).get("heat_map", HEAT_MAPS[0])
        if wanted not in HEAT_MAPS:
            raise InputError(f"heat_map must be one of {', '.join(HEAT_MAPS)}. Received: {wanted!r}")
        # A batch at a time: memory does not grow with the number of images.
        parts = [self._answer(batch, wanted) for batch in self._batches(model_input)]
        columns = ["p_elliptical", "label", *(["heat_map", "note"] if wanted != "none" else [])]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def _batches(self, given: Sequence[Any]) -> Iterator[list[np.ndarray]]:
        size = self.config["batch_size"]
        for start in range(0, len(given), size):
            yield [self._cutout(one, f"image {start + n}") for n, one in enumerate(given[start : start + size])]

    def _cutout(self, given: Any, name: str) -> np.ndarray:
        cap = self.config["max_pixels"]
        if isinstance(given, Path) or (isinstance(given, str) and self.config["allow_paths"]):
            given, name = self._read(Path(given), cap), str(given)
        return as_cutout(given, name, cap)

    def _read(self, path: Path, max_pixels: int) -> bytes:
        if not self.config["allow_paths"]:
            raise InputError(
                f"{path}: this model reads no paths. Load it with model_config={{'allow_paths': True}}, or give the "
                f"file's bytes. Received: a path"
            )
        if not path.is_file():
            raise InputError(f"{path}: no such file. Received: {str(path)!r}")
        with path.open("rb") as content:
            return content.read(max_bytes(max_pixels) + 1)

    def _answer(self, cutouts: list[np.ndarray], heat_map: str) -> pd.DataFrame:
        facts = self.facts
        prepared = np.stack([prepare_raw(cutout, facts.preprocess, facts.denoiser) for cutout in cutouts])
        # One compiled call for all requests, which costs less than `predict` for the few images of each.
        p_elliptical = self.model.predict_on_batch(prepared.astype(np.float32))[:, 0].astype(np.float64)
        labels = classes_of(p_elliptical).tolist()
        table = pd.DataFrame({"p_elliptical": p_elliptical, "label": labels})
        if heat_map == "none":
            return table
        if self.explainer is None:
            return table.assign(heat_map=None, note=NO_HEAT_MAP)
        maps = self.explainer.explain(prepared, labels)
        table["heat_map"] = pd.Series(
            [self._heat_map(*pair, as_png=heat_map == "png") for pair in zip(cutouts, maps, strict=True)], dtype=object
        )
        return table.assign(note=[_note(*pair) for pair in zip(maps, labels, strict=True)])

    def _heat_map(self, cutout: np.ndarray, attribution: np.ndarray, *, as_png: bool) -> bytes | np.ndarray:
        if not as_png:
            return to_frame(attribution, cutout.shape[0], cutout.shape[1], self.facts.preprocess)
        picture = overlay_on_frame(cutout, attribution, GradCam.signed, self.facts.preprocess, self.picture)
        done, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        assert done  # an (H, W, 3) uint8 array always can be
        return content.tobytes()


def _note(attribution: np.ndarray, label: str) -> str:
    return "" if attribution.any() else f"the map is empty: {empty_text(label)}"


def _with_arrays(predict: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Let an array of images, or one image, stand for a list: MLflow takes lists alone."""

    @functools.wraps(predict)
    def wrapper(
        self: GalaxyClassifier, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        if isinstance(model_input, (bytes, str, Path)) or (
            isinstance(model_input, np.ndarray) and model_input.ndim == 3
        ):
            model_input = [model_input]
        elif isinstance(model_input, (np.ndarray, tuple)):
            model_input = list(model_input)
        return predict(self, context, model_input, params=params)

    return wrapper


# After MLflow has wrapped it, which it does when the class is made.
GalaxyClassifier.predict = _with_arrays(GalaxyClassifier.predict)  # type: ignore[method-assign]

mlflow.models.set_model(GalaxyClassifier())
