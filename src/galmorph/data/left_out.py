"""What of a label file and its images cannot be used, row by row and file by file, with the reason."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from galmorph.data.archive import Labels
from galmorph.data.matching import Matches, printable

COLUMNS = ("row", "CATAID", "file", "reason")


def left_out(
    labels: Labels, matches: Matches, members: Iterable[str], patterns: Sequence[str], unreadable: Mapping[str, str]
) -> pd.DataFrame:
    """List every row without a usable image and every image without a usable row.

    Parameters
    ----------
    labels, matches
        From `archive.parse_labels` and `matching.match_images`.
    members
        Names of all files that were looked at.
    patterns
        What was looked for, to say so where nothing was found.
    unreadable
        CATAID to why its image cannot be used.

    Returns
    -------
    pandas.DataFrame
        `row` (line of the label file, empty for a file without one), `CATAID`, `file`, `reason`, all text: the label
        file's rows in its order, then files by name.
    """
    looked_for = " or ".join(patterns)
    rows: list[tuple[int | str, str, str, str]] = []
    for cataid, row, rejected in labels.rows[["CATAID", "row", "rejected"]].itertuples(index=False):
        file = matches.images.get(cataid, "")
        missing = "" if file else f"no image called {looked_for.replace('{CATAID}', cataid)}"
        if reason := rejected or unreadable.get(cataid, "") or missing:
            rows.append((row, cataid, file, reason))
    rows += [(row, cataid, "", f"says again what row {first} says") for cataid, first, row in labels.repeated]
    rows.sort(key=lambda one: int(one[0]))
    files: dict[str, tuple[str, str]] = {
        file: (cataid, f"no label: {labels.file} has no row for it")
        for cataid, names in matches.unlabelled.items()
        for file in names
    }
    files |= dict.fromkeys(matches.passed_over, ("", "its galaxy has an image by an earlier pattern"))
    known = {*files, *matches.images.values()}
    files |= {file: ("", f"its name fits no pattern: {looked_for}") for file in members if file not in known}
    rows += [("", cataid, file, reason) for file, (cataid, reason) in sorted(files.items())]
    text = [(str(row), printable(cataid), printable(file), reason) for row, cataid, file, reason in rows]
    return pd.DataFrame(text, columns=list(COLUMNS), dtype=str)
