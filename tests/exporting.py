"""What exports are made of in tests: a model's facts, and where it comes from."""

from pathlib import Path
from typing import Any

from galmorph.params import PreprocessParams
from galmorph.serving.exported import ExportFacts
from tests.evaluated import RECIPE


def facts_of(model: Any, **facts: Any) -> Any:
    """Facts as a Keras model's file would hold them, made up."""
    from galmorph.models.saved import ModelFacts

    return ModelFacts.model_validate(
        {
            "galmorph": "0", "experiment": "small", "architecture": model.name, "variant": "raw",
            "preprocess": PreprocessParams(crop=0.5, image_size=model.input_shape[1]).model_dump(),
            "denoiser": None, "temperature": 1.3, "recipe": RECIPE, "seed": 1,
            "data_digest": "d" * 64, "params_digest": "p" * 64, "git_commit": None, "run_id": "r" * 32, **facts,
        }
    )  # fmt: skip


def exported(model: Any, folder: Path, **facts: Any) -> ExportFacts:
    """Export a Keras model as `galmorph register` does."""
    from galmorph.serving.export import Origin, export

    origin = Origin("galmorph", 3, "m" * 64, "2026-11-01T00:00:00+00:00")
    return export(model, facts_of(model, **facts), folder, origin, None, {})
