"""`galmorph rows TABLE`."""

import argparse

from galmorph.tools.values import given_values, values_arguments

NAME = "rows"
SUMMARY = "Print, as JSON, the rows that stages run once for each of: what a workflow engine loops over."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("table", choices=("variant", "experiment"))
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import json

    from galmorph.params import check
    from galmorph.stage import placeholders, rows
    from galmorph.stages import STAGES

    params = check(given_values(options), str(options.params))
    stage = next(stage for stage in STAGES.values() if stage.each == options.table)
    if options.table == "variant":
        found = [{"variant": row} for row in rows(stage, params)]
    else:
        found = [placeholders(row, params.experiments[row].variant) for row in rows(stage, params)]
    print(json.dumps(found))
