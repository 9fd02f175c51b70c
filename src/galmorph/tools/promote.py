"""`galmorph promote`: hold a registered version against the gate, and make it the champion if it passes."""

import argparse

from galmorph.errors import ParamsError, PromotionRefused
from galmorph.params import check
from galmorph.tools.values import given_values, values_arguments

NAME = "promote"
SUMMARY = "Make a registered version the champion, if it passes the gate; ends with 3 when it does not."
#: MLproject has an entry point for it.
PROJECT = True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--model", default="", metavar="NAME", help="the registered model; else register.model")
    parser.add_argument("--version", default="", metavar="N", help="the version; else the one that --alias points at")
    parser.add_argument("--alias", default="", metavar="ALIAS", help="register.alias when not given")
    parser.add_argument("--dry-run", action="store_true", help="say what the gate says, and change nothing")
    parser.add_argument("--force", action="store_true", help="promote whatever the gate says; needs --reason")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why it is forced; is recorded")
    values_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.force != bool(options.reason.strip()):
        raise ParamsError(
            "--force needs --reason, and --reason is for --force: galmorph promote --force --reason 'why'. "
            f"Received: --force {options.force}, --reason {options.reason!r}"
        )
    if options.version and options.alias:
        raise ParamsError(f"give --version or --alias, not both. Received: {options.version}, {options.alias}")
    if options.version and not options.version.isdecimal():
        raise ParamsError(f"--version: must be a number. Received: {options.version!r}")
    params = check(given_values(options), str(options.params))

    # After the values: a wrong one must not wait for MLflow.
    from galmorph.edge.promoting import Asked, promote

    asked = Asked(
        model=options.model or params.register_.model,
        number=int(options.version) if options.version else None,
        alias=options.alias or params.register_.alias,
        forced=options.reason.strip(),
        dry_run=options.dry_run,
    )
    outcome = promote(asked, params.promote, params.register_.batch_size)
    print(outcome.text)
    if not outcome.promoted:
        raise PromotionRefused(
            f"the gate of {options.params} (section promote) refused it, for the reasons above. Better the model, "
            f"change the gate, or overrule it: --force --reason TEXT. Received: {asked.model}, "
            f"{options.version or asked.alias}"
        )
