from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from galmorph.params import EvaluateParams


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
    return EvaluateParams(batch_size=8, bootstrap=500, confidence=0.95, seed=3, calibration_bins=10)
