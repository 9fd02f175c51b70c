"""Versions of a registered model that take seconds to make: the model of `tests.evaluated`, scored and reported on."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galmorph import stages, storage
from galmorph.params import EvaluateParams, Params, RegisterStageParams, merged
from tests.evaluated import EXPERIMENT, cutout, make, seen_mean, write_model

#: Of every version here: what `galmorph explain` would have found.
PASSED = {
    check: {"verdict": "passed", "reason": "so it is"}
    for check in ("randomisation", "deletion", "insertion", "on_galaxy")
}
FAITHFULNESS = {"methods": {"grad_cam": {"title": "Grad-CAM", "scores": {}, "verdicts": PASSED}}}
REGISTER = stages.STAGES["register"]


def project(folder: Path, params: Params, *, count: int = 240, variant: str = "raw") -> Path:
    """Galaxies, a third of them in train, and a model that is right about nearly all: everything before evaluate."""
    make(folder, params.validate_, variant=variant, count=count)
    splits = storage.read_table(folder / "data/splits.parquet")
    part = np.resize(["train", "validation", "test", "test"], count)  # both classes in each
    part = np.repeat(part[: -(-count // 2)], 2)[:count]
    storage.write_table(folder / "data/splits.parquet", splits.assign(split=part))
    return folder


def retrain(folder: Path, *, shift: float, variant: str = "raw") -> None:
    """Another model of the same data: its threshold lies `shift` grey levels higher, and it is wrong the more often."""
    means = [seen_mean(cutout(elliptical, seed), variant) + shift for elliptical, seed in ((True, 0), (False, 1))]
    write_model(
        folder / "models" / EXPERIMENT / "model.keras", folder / f"data/variants/{variant}.json", variant, means
    )


def evaluate(folder: Path, params: Params, variant: str = "raw") -> None:
    """Score the model as evaluate does, and leave what compare, robustness and explain would."""
    evaluated = folder / "evaluation" / EXPERIMENT
    record = folder / "evaluation/records" / f"{EXPERIMENT}.json"
    stages.evaluate(
        model=folder / "models" / EXPERIMENT,
        splits=folder / "data/splits.parquet",
        manifest=folder / "data/manifest.parquet",
        images=folder / ("data/raw/images" if variant == "raw" else f"data/variants/{variant}"),
        card=folder / f"data/variants/{variant}.json",
        evaluation=evaluated,
        record=record,
        params=evaluate_params(params),
        each=EXPERIMENT,
    )
    best = {"experiment": EXPERIMENT, "variant": variant, "model_digest": storage.read_json(record)["model_digest"]}
    storage.write_json(folder / "evaluation/best.json", best)
    of = {"model_digest": best["model_digest"]}
    storage.write_json(folder / "robustness/metrics.json", {**of, "summary": "Nothing costs anything."})
    explanations = folder / "explanations" / EXPERIMENT
    storage.write_json(explanations / "faithfulness.json", {**of, **FAITHFULNESS})
    storage.write_text(explanations / "report.html", "<p>It looks at the sky.</p>")


def evaluate_params(params: Params) -> EvaluateParams:
    """Those of params.yaml, with little to compute."""
    small = {"bootstrap": 200, "shortcuts": {"galaxies": 12}}
    return EvaluateParams.model_validate(merged(params.evaluate.model_dump(), small))


def register_params(params: Params) -> RegisterStageParams:
    """What the stage takes of params.yaml."""
    return RegisterStageParams(register=params.register_, explain=params.explain)


def register(folder: Path, params: Params) -> dict[str, Any]:
    """Run the stage; return registration.json."""
    paths = {name: folder / path for name, path in {**REGISTER.inputs, **REGISTER.outputs}.items()}
    stages.register(**paths, params=register_params(params))
    return storage.read_json(folder / "registration.json")


def predictions(folder: Path) -> pd.DataFrame:
    """What evaluate answered."""
    return storage.read_table(folder / "evaluation" / EXPERIMENT / "predictions.parquet")
