"""A small model, exported as `galmorph register` does, and cutouts to ask it about."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from galmorph.params import Params, PreprocessParams

#: What the model sees of a cutout.
PREPROCESS = PreprocessParams(crop=0.5, image_size=24)


def cutout(seed: int, side: int = 96, brightness: float = 150.0) -> np.ndarray:
    """A galaxy in the middle of a noisy sky, `(side, side, 3)` uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    radius = side * random.uniform(0.05, 0.12)
    light = (
        brightness * np.exp(-np.hypot(y, x / random.uniform(0.5, 1)) / radius)[..., None] * random.uniform(0.7, 1, 3)
    )
    return np.clip(np.rint(light + random.normal(12, 3, (side, side, 3))), 0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """The PNG file of an RGB image."""
    return bytes(cv2.imencode(".png", image[..., ::-1])[1])


def jpeg(image: np.ndarray) -> bytes:
    """The JPEG file of an RGB image."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def export_small(
    folder: Path, params: Params, version: int = 1, architecture: str = "baseline_cnn", report: bool = True
) -> Path:
    """Export a model of random weights, another for every version; `folder` is what the service is given."""
    import keras

    from galmorph.evaluation.reference import look, reference
    from galmorph.models.architectures import build
    from galmorph.models.layers import with_probability
    from galmorph.models.saved import ModelFacts
    from galmorph.serving.export import Origin, export
    from galmorph.storage import write_image, write_json, write_text
    from tests.evaluated import RECIPE

    keras.utils.set_random_seed(version)
    small = {
        "cnn": params.train.cnn.model_copy(update={"filters": (4, 6), "dense_units": 8}),
        "vit": params.train.vit.model_copy(
            update={"patch": 8, "width": 8, "depth": 1, "heads": 2, "mlp": 8}
        ),
    }  # fmt: skip
    model = with_probability(build(architecture, PREPROCESS, params.train.model_copy(update=small)), 1.0)
    # Random weights answer 0.5 or nearly; as trained ones do, these shall tell one cutout from another.
    logit = model.get_layer("logit")
    looks = [cutout(seed) for seed in range(40)]
    from galmorph.data.dataset import prepare

    seen = np.stack([prepare(image, PREPROCESS) for image in looks]).astype(np.float32)
    raw = keras.Model(model.input, logit.output).predict(seen, verbose=0)[:, 0]
    kernel, bias = logit.get_weights()
    factor = 2 / max(float(raw.std()), 1e-6)
    logit.set_weights([kernel * factor, (bias - np.median(raw)) * factor])
    facts = ModelFacts.model_validate(
        {
            "galmorph": "0", "experiment": f"small_{version}", "architecture": architecture, "variant": "raw",
            "preprocess": PREPROCESS.model_dump(), "denoiser": None, "temperature": 1.0, "recipe": RECIPE, "seed": 1,
            "data_digest": "d" * 64, "params_digest": "p" * 64, "git_commit": None, "run_id": None,
        }
    )  # fmt: skip
    beside = folder.parent / f".{folder.name}.shown"
    answers = model.predict(seen, verbose=0)[:, 0]
    write_json(
        beside / "reference.json",
        reference([look(i.astype(np.uint8), float(p)) for i, p in zip(seen, answers, strict=True)], 5),
    )
    for seed in range(3):
        write_image(beside / "examples" / f"galaxy{seed}.png", looks[seed])
    shown = {name: beside / name for name in ("reference.json", "examples")}
    if report:
        write_text(beside / "report.html", "<!doctype html><title>Explanations</title><h1>Explanations</h1>")
        write_text(beside / "model_card.md", f"# Model card of version {version}\n")
        shown |= {name: beside / name for name in ("report.html", "model_card.md")}
    export(model, facts, folder, Origin("galmorph", version, "m" * 64, "2026-11-01T00:00:00+00:00"), None, shown)
    return folder
