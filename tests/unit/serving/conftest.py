"""A service in this process, that answers with a small exported model."""

import time
import warnings
from contextlib import contextmanager

import pytest

from galmorph.params import ServiceParams, merged
from galmorph.serving.app import create_app
from tests.exported import cutout, png

with warnings.catch_warnings():
    # Starlette would rather have httpx's successor, which nothing else here uses.
    warnings.filterwarnings("ignore", "Using `httpx` with `starlette.testclient` is deprecated")
    from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def make_params(service_values):
    """Parameters of a service, with changes to `serve`."""

    def make(model, **serve):
        changes = {"serve": {"model": str(model), **serve}}
        return ServiceParams.model_validate(merged(service_values, changes))

    return make


@pytest.fixture(scope="session")
def serving(make_params):
    """Run a service while a block lasts, and yield a client, when it is ready."""

    @contextmanager
    def run(model, keys=None, ready=True, **serve):
        app = create_app(make_params(model, **serve), keys)
        with TestClient(app, raise_server_exceptions=False) as client:
            until = time.monotonic() + 20
            while ready and client.get("/readyz").status_code != 200:
                assert time.monotonic() < until, client.get("/readyz").text
                time.sleep(0.02)
            yield client

    return run


@pytest.fixture(scope="module")
def client(serving, exported_model):
    with serving(exported_model) as made:
        yield made


@pytest.fixture(scope="session")
def content():
    """The file of a cutout that is a galaxy."""
    return png(cutout(1))
