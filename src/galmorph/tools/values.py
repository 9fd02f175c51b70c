"""`--params FILE` and `--set section.key=value`, the same for every command that takes values."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from galmorph.params import read_values, with_overrides


def values_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--params` and `--set`."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a value for this run; several in one string are parted by spaces",
    )


def given_values(options: argparse.Namespace, more: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of `--params` with every `--set`, and `more` of the kind, laid over it, unchecked."""
    assignments = [part for text in options.set for part in shlex.split(text)]
    return with_overrides(read_values(options.params), [*assignments, *more])
