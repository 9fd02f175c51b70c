"""Twelve galaxies, and parameters with little to compute."""

import numpy as np
import pytest

from galmorph.params import merged
from tests.lookers import frame, galaxies_of


@pytest.fixture(scope="session")
def scored():
    """Twelve galaxies with a neighbour each."""
    random = np.random.default_rng(4)
    return galaxies_of([frame(random) for _ in range(12)])


@pytest.fixture(scope="session")
def scores(params):
    """Parameters of the scores with little to compute."""
    small = {
        "galaxies": 12,
        "bootstrap": 500,
        "steps": 8,
        "shuffles": 2,
        "subsets": 24,
        "noisy_copies": 2,
        "stability_galaxies": 5,
        "randomisation": {"galaxies": 4, "stages": 3, "draws": 3},
    }
    before = params.explain.faithfulness
    return type(before).model_validate(merged(before.model_dump(), small))
