"""What DVC calls the data of the working folder."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

LOCK = Path("dvc.lock")
RAW = "data/raw"


def dvc_revision(card: Path) -> str | None:
    """Return DVC's name of the raw galaxies, `<md5>.dir`, as dvc.lock has it.

    `git log -S NAME -- dvc.lock` finds the commits whose `dvc checkout` brings them back.

    Parameters
    ----------
    card
        Of the variant that a model was trained on, as dvc.lock names it: where it is not the file that dvc.lock knows,
        the data were not made by DVC, or dvc.lock is of others.

    Returns
    -------
    str or None
        None where there is no dvc.lock, or it does not belong to the card.
    """
    if not (LOCK.is_file() and card.is_file()):
        return None
    try:
        names = dict(_outputs(YAML(typ="safe").load(LOCK)))
    except (YAMLError, AttributeError, KeyError, TypeError):  # of another layout: not ours to complain about
        return None
    known = names.get(card.as_posix()) == hashlib.md5(card.read_bytes(), usedforsecurity=False).hexdigest()
    return names.get(RAW) if known else None


def _outputs(lock: Any) -> Iterator[tuple[str, str]]:
    for stage in lock["stages"].values():
        for output in stage.get("outs", []):
            yield output["path"], output["md5"]
