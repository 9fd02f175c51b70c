"""The command line: `galmorph STAGE` for each stage of `STAGES`, and the tools."""

import argparse
import signal
import sys
from functools import partial
from types import ModuleType
from typing import Any

from galmorph import __version__
from galmorph.errors import GalmorphError
from galmorph.quiet import settle
from galmorph.stages import STAGES, run_stage
from galmorph.tools import TOOLS
from galmorph.tools.values import given_values, values_arguments


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        Of the command line; None: those of this process.

    Returns
    -------
    int
        0, or 1 when galmorph has said on standard error what is wrong (3 when the gate refused a promotion), or 130
        after an interrupt.
    """
    options = parser().parse_args(arguments)
    settle()
    # A scheduler's polite end (SIGTERM) unwinds like Ctrl-C, so that temporary files are cleaned away.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options.run(options)
    except GalmorphError as error:
        print(f"galmorph: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("galmorph: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the parser: a command for each stage, then the tools."""
    whole = argparse.ArgumentParser(prog="galmorph", description="Galaxy morphology you can audit.")
    whole.add_argument("--version", action="version", version=f"galmorph {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    without_pipeline = {tool.NAME: tool for tool in TOOLS if tool.NAME in STAGES}
    for name, stage in STAGES.items():
        summary = (stage.run.__doc__ or "").strip().splitlines()[0]
        command = commands.add_parser(name, help=summary, description=summary)
        if stage.each:
            command.add_argument("row", metavar=stage.each.upper(), help=f"the {stage.each}'s name in params.yaml")
        values_arguments(command)
        command.set_defaults(run=_stage)
        if name in without_pipeline:
            without_pipeline[name].arguments(command)
            command.set_defaults(run=partial(_stage_or_tool, without_pipeline[name]))
    for tool in TOOLS:
        if tool.NAME in STAGES:
            continue
        command = commands.add_parser(tool.NAME, help=tool.SUMMARY, description=tool.SUMMARY)
        tool.arguments(command)
        command.set_defaults(run=tool.run)
    return whole


def _stage_or_tool(tool: ModuleType, options: argparse.Namespace) -> None:
    """Run the tool that shares a stage's name when it is given something to work on, and the stage else."""
    if tool.wanted(options):
        tool.run(options)
    else:
        _stage(options)


def _stage(options: argparse.Namespace) -> None:
    run_stage(options.command, given_values(options), str(options.params), getattr(options, "row", ""))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
