"""`galmorph rollback`: bring back the champion that was there before."""

import argparse

from galmorph.params import check
from galmorph.tools.values import given_values, values_arguments

NAME = "rollback"
SUMMARY = "Bring back the champion that was there before this one."
#: MLproject has an entry point for it.
PROJECT = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", default="", metavar="NAME", help="the registered model; else register.model")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; is recorded with the version that goes")
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    params = check(given_values(options), str(options.params))

    from galmorph.edge.promoting import rollback

    print(rollback(options.model or params.register_.model, params.promote.alias, options.reason.strip()))
