"""`galmorph restore`: bring a backup of the registry back."""

import argparse
from pathlib import Path

from galmorph.tools.backup import artifacts_argument, given_artifacts

NAME = "restore"
SUMMARY = "Bring a backup back into empty databases and an empty artifact store."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("backup", type=Path, metavar="FOLDER", help="one backup")
    artifacts_argument(parser)
    parser.add_argument(
        "--artifacts-only", action="store_true", help="leave the databases to pg_restore, run by somebody else"
    )
    parser.add_argument("--check", action="store_true", help="only say whether the backup is whole")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from galmorph.edge.backup import checked, restore

    if options.check:
        record = checked(options.backup)
        print(f"{options.backup} is whole: {len(record['artifacts'])} artifacts, {', '.join(record['databases'])}")
        return
    given_artifacts(options)

    from galmorph.edge.artifact_store import ArtifactStore

    names = restore(options.backup, ArtifactStore(options.artifacts), databases=not options.artifacts_only)
    print(f"restored: {options.artifacts}, and not" if options.artifacts_only else "restored:", ", ".join(names))
