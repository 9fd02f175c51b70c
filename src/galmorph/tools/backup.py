"""`galmorph backup`: MLflow's databases and artifacts, as they belonged together."""

import argparse
import os
from pathlib import Path

from galmorph.errors import BackupError

NAME = "backup"
SUMMARY = "Back up MLflow's databases and artifacts, as they belong together."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes; a scheduler says it by variables."""
    artifacts_argument(parser)
    parser.add_argument(
        "--backups", default=os.environ.get("GALMORPH_BACKUPS"), metavar="FOLDER",
        help="of all backups; else GALMORPH_BACKUPS",
    )  # fmt: skip
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--database", action="append", metavar="NAME", help="to dump by pg_dump; may be repeated; else PGDATABASE"
    )
    source.add_argument(
        "--dumps", type=Path, metavar="FOLDER", help="of NAME.dump that pg_dump --format=custom made just before"
    )
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="remove all but the newest N backups")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    given_artifacts(options)
    if not options.backups:
        raise BackupError("--backups or GALMORPH_BACKUPS must name the folder of backups. Received: neither")
    databases = options.database or [name for name in [os.environ.get("PGDATABASE")] if name]
    if not databases and not options.dumps:
        raise BackupError("--database, --dumps or PGDATABASE must name what to back up. Received: none of them")
    if options.keep < 0:
        raise BackupError(f"--keep must be a number of backups, or 0 for all. Received: {options.keep}")

    from galmorph.edge.artifact_store import ArtifactStore
    from galmorph.edge.backup import backup

    store = ArtifactStore(options.artifacts)
    print(backup(store, Path(options.backups), databases=databases, dumps=options.dumps, keep=options.keep))


def artifacts_argument(parser: argparse.ArgumentParser) -> None:
    """Declare where the artifacts are."""
    parser.add_argument(
        "--artifacts", default=os.environ.get("GALMORPH_ARTIFACTS"), metavar="WHERE",
        help="the --artifacts-destination of MLflow's server, a folder or s3://BUCKET/PREFIX; else GALMORPH_ARTIFACTS",
    )  # fmt: skip


def given_artifacts(options: argparse.Namespace) -> None:
    """Refuse a command that does not say where the artifacts are."""
    if not options.artifacts:
        raise BackupError("--artifacts or GALMORPH_ARTIFACTS must name MLflow's artifacts. Received: neither")
