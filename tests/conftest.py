"""What every test may use. Nothing here imports TensorFlow."""

import os
from pathlib import Path
from typing import Any

import pytest

from galmorph.params import Params, check, read_values
from galmorph.quiet import QUIET

# Before any library that reads them is imported.
for name, value in QUIET.items():
    os.environ.setdefault(name, value)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def values() -> dict[str, Any]:
    """The content of params.yaml."""
    return read_values(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def params(values) -> Params:
    """The parameters of params.yaml."""
    return check(values, "params.yaml")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real cutouts and the published label file."""
    folder = os.environ.get("GALMORPH_REAL_DATA")
    if not folder:
        pytest.skip("GALMORPH_REAL_DATA is not set: it names the folder of real cutouts")
    return Path(folder)
