"""What every test may use. Nothing here imports TensorFlow."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from galmorph.params import Params, check, merged, read_values
from galmorph.quiet import QUIET

# Before any library that reads them is imported.
for name, value in QUIET.items():
    os.environ.setdefault(name, value)

# What a shell exports to compile for its cluster: the pipelines read it when they are imported.
os.environ.pop("GALMORPH_IMAGE", None)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt what tests start, also in a shell's background, which makes its processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


@pytest.fixture(scope="session")
def exported_model(tmp_path_factory, params) -> Path:
    """An exported folder with a small model, and all that the service shows. Tests leave it as it is."""
    from tests.exported import export_small

    return export_small(tmp_path_factory.mktemp("exported") / "one", params)


@pytest.fixture(scope="session")
def service_values(values) -> dict[str, Any]:
    """What `ServiceParams` are made of, for a service that looks often and waits little."""
    serve = merged(
        values["serve"],
        {
            "port": 0,
            "poll": 0.2,
            "threads": 1,
            "precision": "f32",
            "limits": {"header_seconds": 2, "body_seconds": 2, "pixels": 250_000, "body": 4_000_000},
            "drift": {"rate": 1000, "seconds": 0.2, "min_images": 20, "window": 60},
        },
    )
    return {
        "serve": serve,
        "bands": values["acquire"]["cutouts"],
        "min_side": values["validate"]["min_side"],
        "blank_contrast": values["validate"]["blank_contrast"],
    }
