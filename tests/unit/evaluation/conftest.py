from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from galmorph.evaluation.metrics import Facts, evaluation_record
from galmorph.params import CompareStageParams, EvaluateParams, ShortcutParams, SliceParams, read_values


def table(labels: list[str] | np.ndarray, p: list[float] | np.ndarray, split: str = "test") -> pd.DataFrame:
    p = np.asarray(p, np.float64)
    clipped = np.clip(p, 1e-9, 1 - 1e-9)
    return pd.DataFrame(
        {
            "CATAID": [f"{index:06d}" for index in range(len(p))],
            "split": split,
            "label": labels,
            "p_elliptical": p,
            "logit": np.log(clipped / (1 - clipped)),
            "predicted": np.where(p >= 0.5, "Elliptical", "Other"),
        }
    )


def draw(n: int, seed: int, confidence: float = 1.0, split: str = "test") -> pd.DataFrame:
    """Galaxies whose logits are known; a `confidence` of 1 is a calibrated model, above 1 an overconfident one."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, n)
    labels = np.where(random.random(n) < 1 / (1 + np.exp(-logits)), "Elliptical", "Other")
    return table(labels, 1 / (1 + np.exp(-confidence * logits)), split)


@pytest.fixture(name="table", scope="session")
def table_fixture() -> Callable[..., pd.DataFrame]:
    return table


@pytest.fixture(name="draw", scope="session")
def draw_fixture() -> Callable[..., pd.DataFrame]:
    return draw


@pytest.fixture(scope="session")
def params() -> EvaluateParams:
    return EvaluateParams(
        batch_size=8,
        bootstrap=500,
        confidence=0.95,
        seed=3,
        calibration_bins=10,
        slices=SliceParams(columns=(), quantiles=3, min_galaxies=10, near_threshold=0.15),
        shortcuts=ShortcutParams(galaxies=200, margin=0.04),
        reference_bins=8,
    )


#: What a small network was trained with.
RECIPE = {
    "weights": "none", "phases": ["scratch"], "epochs": [12], "augmentation": "published", "class_weights": True,
}  # fmt: skip
NAMES = ("regularised_cnn_raw", "regularised_cnn_median", "resnet50_finetune_raw")
STRENGTHS = (1.0, 3.0, 0.5)


def evaluation(
    name: str, params: EvaluateParams, strength: float, with_test: bool = True
) -> tuple[dict[str, Any], pd.DataFrame]:
    """An experiment's record and predictions; a greater `strength` answers better. All are of the same galaxies."""
    galaxies = [draw(120, seed=7, split="validation").assign(CATAID=lambda rows: "v" + rows["CATAID"])]
    galaxies += [draw(90, seed=8).assign(CATAID=lambda rows: "t" + rows["CATAID"])] if with_test else []
    known = pd.concat(galaxies, ignore_index=True)
    random = np.random.default_rng(sum(map(ord, name)))
    logits = strength * np.where(known["label"] == "Elliptical", 1, -1) + random.normal(0, 1.5, len(known))
    answered = table(known["label"].to_numpy(), 1 / (1 + np.exp(-logits))).assign(
        CATAID=known["CATAID"], split=known["split"]
    )
    architecture, variant = ("resnet50" if "resnet50" in name else "regularised_cnn"), name.rsplit("_", 1)[1]
    facts = Facts(name, architecture, variant, 64, 0.6, RECIPE, "simulate", "d" * 64, f"{name:m<64}", f"{name:p<64}")
    return evaluation_record(facts, answered, params), answered


def compare_params(
    *names: str, select_by: str = "loss", architecture: str = "any", phases: tuple[str, ...] = ("scratch",)
) -> CompareStageParams:
    values = read_values(Path(__file__).parents[3] / "params.yaml")
    return CompareStageParams.model_validate(
        {
            "compare": {**values["compare"], "select_by": select_by},
            "evaluate": {**values["evaluate"], "bootstrap": 500},
            "register": {
                "model": "galmorph",
                "architecture": architecture,
                "alias": "challenger",
                "batch_size": 8,
                "max_pixels": 10_000,
            },
            "experiments": {
                name: {
                    "architecture": "resnet50" if "resnet50" in name else "regularised_cnn",
                    "variant": name.rsplit("_", 1)[1],
                    "phases": list(phases),
                    "overrides": {},
                }
                for name in names
            },
        }
    )


@pytest.fixture(name="evaluation", scope="session")
def evaluation_fixture() -> Callable[..., tuple[dict[str, Any], pd.DataFrame]]:
    return evaluation


@pytest.fixture(scope="session")
def answers(params: EvaluateParams) -> dict[str, pd.DataFrame]:
    """The predictions behind `records`."""
    return {name: evaluation(name, params, strength)[1] for name, strength in zip(NAMES, STRENGTHS, strict=True)}


@pytest.fixture(name="compare_params", scope="session")
def compare_params_fixture() -> Callable[..., CompareStageParams]:
    return compare_params


@pytest.fixture(scope="session")
def records(params: EvaluateParams) -> dict[str, dict[str, Any]]:
    """Three experiments; the second is the best."""
    return {name: evaluation(name, params, strength)[0] for name, strength in zip(NAMES, STRENGTHS, strict=True)}
