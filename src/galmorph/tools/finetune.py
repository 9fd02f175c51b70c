"""`galmorph finetune`: one experiment from its data to a registered challenger, beside the pipeline's own results."""

import argparse

from galmorph.tools.values import given_values, values_arguments

NAME = "finetune"
SUMMARY = "Train, evaluate and register one experiment, after making the data it needs through DVC."
#: MLproject has an entry point for it.
PROJECT = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--experiment",
        default="",
        metavar="NAME",
        help="a row of `experiments`; the first of register.architecture with a finetune phase when not given",
    )
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.finetuning import finetune

    print(finetune(given_values(options), str(options.params), options.experiment))
