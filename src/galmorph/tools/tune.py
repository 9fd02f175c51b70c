"""`galmorph tune`: search an experiment's values with Optuna."""

import argparse

from galmorph.params import merged
from galmorph.tools.values import given_values, values_arguments

NAME = "tune"
SUMMARY = "Search the values of an experiment; the best become a profile, tuning/best.yaml."
#: MLproject has an entry point for it.
PROJECT = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    values_arguments(parser)
    parser.add_argument(
        "--trials", type=int, metavar="N", help="instead of tune.trials: how many the study shall have in all"
    )
    parser.add_argument("--storage", metavar="URL", help="instead of tune.storage")
    parser.add_argument(
        "--worker", action="store_true", help="only run trials of a study that another `galmorph tune` began"
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    given = {"trials": options.trials, "storage": options.storage}
    changes = {"tune": {key: value for key, value in given.items() if value is not None}}
    values = merged(given_values(options), changes)

    from galmorph.edge.study_work import checked_work

    # Before TensorFlow is imported: a wrong value answers at once.
    work = checked_work(values, str(options.params))

    from galmorph.edge.tuning import tune

    print(tune(work, options.worker))
