"""`galmorph profile FILE`."""

import argparse
from pathlib import Path

NAME = "profile"
SUMMARY = "Put the values of a profile into params.yaml."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("profile", type=Path, metavar="FILE")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.profile import apply_profile

    changed = apply_profile(options.profile, options.params)
    print("\n".join(changed) if changed else f"{options.params} holds these values already")
