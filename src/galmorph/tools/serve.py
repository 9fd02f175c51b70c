"""`galmorph serve`: answer over HTTP, with a page for people, metrics for Prometheus, and JSON for programs."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from galmorph.errors import ParamsError
from galmorph.params import merged
from galmorph.tools.values import given_values, values_arguments

NAME = "serve"
SUMMARY = "Serve the champion: predictions, explanations, a page and metrics."
#: A registry that does not answer must not hold up the look for a champion for minutes, as MLflow's own values would.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    values_arguments(parser)
    parser.add_argument(
        "--model", metavar="MODEL", help="an exported folder, models:/NAME@ALIAS or models:/NAME/VERSION"
    )
    parser.add_argument("--host", help="instead of serve.host")
    parser.add_argument("--port", type=int, help="instead of serve.port")
    parser.add_argument("--workers", type=int, help="instead of serve.workers")
    parser.add_argument("--new-key", metavar="NAME", help="make an API key for someone, and serve nothing")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.new_key is not None:
        from galmorph.serving.keys import new_key

        key, line = new_key(options.new_key)
        print(f"Hand over this key; it is not kept anywhere:\n{key}\nAdd this line to the file of serve.keys:\n{line}")
        return
    from galmorph.params import ServiceParams, checked

    source = str(options.params)
    params = checked(ServiceParams, service_values(given_values(options), options, source), f"{source}, options")
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)

    from galmorph.serving.server import serve

    serve(params)


def service_values(values: Mapping[str, Any], options: argparse.Namespace, source: str) -> dict[str, Any]:
    """Pick what the service needs of params.yaml, with the options laid over it.

    Raises
    ------
    ParamsError
        When a section is missing.
    """
    given = {name: getattr(options, name) for name in ("model", "host", "port", "workers")}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        return {
            "serve": merged(values["serve"], changes),
            "bands": values["acquire"]["cutouts"],
            "min_side": values["validate"]["min_side"],
            "blank_contrast": values["validate"]["blank_contrast"],
        }
    except (KeyError, TypeError) as error:
        raise ParamsError(
            f"{source}: missing key. Give a params.yaml of galmorph with --params. Received: no {error}"
        ) from error
