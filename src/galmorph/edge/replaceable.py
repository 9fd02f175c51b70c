"""Which folder of results a command may replace: one that it made itself."""

from pathlib import Path

from galmorph.errors import InputError
from galmorph.storage import read_json

#: The key, in a JSON file of the result, that says which command wrote the folder.
WRITTEN_BY = "written_by"


def check_replaceable(out: Path, file: str, command: str) -> None:
    """Refuse a folder that a command did not make: it would be replaced whole.

    Parameters
    ----------
    out
        The folder; one that is missing or empty is free.
    file
        The JSON file in it that says who wrote it.
    command
        Who must have.

    Raises
    ------
    InputError
        When the folder holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    mark = out / file
    if not (mark.is_file() and read_json(mark).get(WRITTEN_BY) == command):
        held = ", ".join(sorted(one.name for one in out.iterdir())[:5]) if out.is_dir() else out
        raise InputError(
            f"{out}: exists, and is not the result of an earlier `{command}`; it would be replaced. Give another "
            f"folder with --out. Received: {held}"
        )
