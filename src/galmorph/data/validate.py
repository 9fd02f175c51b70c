"""What a galaxy must be like to be used.

A rule looks at one column, so that the same rule quarantines a row here and stands as an expectation in the suite
(`galmorph.data.expectations`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from galmorph.data.facts import CHANNELS
from galmorph.data.footprint import position_problems
from galmorph.params import ValidateParams

LABELS = ("Elliptical", "Other")
#: Names of the pages of the suite, as they link to each other.
VALIDATION_PAGE, SUITE_PAGE = "validation.html", "suite.html"


@dataclass(frozen=True)
class Check:
    """What the values of a column must be; a missing value passes every check but `present`.

    Attributes
    ----------
    column
        Of the table that `prepared` makes.
    kind
        `present`, `absent`, `one_of` (`values`), `between` (`low`, `high`, either may be None) or `unique`.
    """

    column: str
    kind: str
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    def passes(self, table: pd.DataFrame) -> "pd.Series[bool]":
        """Tell of each row whether it passes."""
        column = table[self.column]
        missing = column.isna()
        if self.kind == "present":
            return ~missing
        if self.kind == "absent":
            return missing
        if self.kind == "one_of":
            return missing | column.isin(list(self.values))
        if self.kind == "unique":
            return missing | ~column.duplicated(keep=False)
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        numbers = column.astype(float)
        return missing | ((numbers >= low) & (numbers <= high))


@dataclass(frozen=True)
class Rule:
    """A check of each row, why it matters, and what is said of a row that fails.

    Attributes
    ----------
    name
        Its short name, for tables.
    says
        What it demands, a sentence.
    check
        The check.
    reason
        From the row's value, what is wrong with it.
    flag
        A row that fails a flag is marked; one that fails another rule is quarantined.
    """

    name: str
    says: str
    check: Check
    reason: Callable[[Any], str]
    flag: bool = False


@dataclass(frozen=True)
class Result:
    """How one expectation went.

    Attributes
    ----------
    name, says, kind
        Of the rule or demand; `kind` is `whole` (stops the stage), `row` (quarantines) or `flag` (marks).
    met
        Whether the expectation holds. One on rows holds while no more than `max_rejected` of them fail; a flag always.
    observed
        The number found: of rows that fail, or the value that a demand is about; NaN when there was nothing to see.
    """

    name: str
    says: str
    kind: str
    met: bool
    observed: float


def rules(params: ValidateParams) -> tuple[Rule, ...]:
    """Return the rules that quarantine a row on its own account, in the order its reasons are given in."""
    side = f"at least {params.min_side} pixels (validate.min_side)"
    return (
        Rule("not acquired", "Acquire could take the galaxy", Check("rejected", "absent"), str),
        Rule("no label", "Every galaxy has a label", Check("label", "present"), lambda _: "no label"),
        Rule(
            "unknown label",
            "The label is Elliptical or Other",
            Check("label", "one_of", LABELS),
            lambda label: f"the label must be Elliptical or Other. Received: {label!r}",
        ),
        Rule("unreadable image", "The image file is there and decodes", Check("problem", "absent"), str),
        Rule(
            "not 8-bit RGB",
            "The image is 8-bit RGB",
            Check("mode", "one_of", ("RGB",)),
            lambda mode: f"the image must be 8-bit RGB, as acquire writes it. Received: {mode}",
        ),
        Rule(
            "not a PNG",
            "The image file is a PNG",
            Check("format", "one_of", ("PNG",)),
            lambda kind: f"the image must be a PNG, as acquire writes it. Received: {kind}",
        ),
        Rule(
            "too narrow",
            f"The image is {side} wide",
            Check("width", "between", low=params.min_side),
            lambda width: f"the image must be {side} wide. Received: {width}",
        ),
        Rule(
            "too low",
            f"The image is {side} high",
            Check("height", "between", low=params.min_side),
            lambda height: f"the image must be {side} high. Received: {height}",
        ),
        Rule(
            "blank image",
            f"A channel has a contrast of at least {params.blank_contrast:g} of 255 (validate.blank_contrast)",
            Check("contrast", "between", low=params.blank_contrast),
            lambda contrast: (
                f"blank image: no channel has a contrast of {params.blank_contrast:g} of 255. "
                f"Received: at most {contrast:.2g}"
            ),
        ),
        Rule(
            "outside the footprint",
            "RA and Dec, where both are given, lie in the footprint (validate.footprint)",
            Check("position", "absent"),
            str,
        ),
    )


def copy_rule() -> Rule:
    """Return the rule that no image file is there twice; it is asked of the rows that pass all others."""
    return Rule("exact duplicate", "No other galaxy has the very same image file", Check("copy", "absent"), str)


def flags(params: ValidateParams) -> tuple[Rule, ...]:
    """Return the rules that mark a row and let it pass."""
    return (
        Rule(
            "blank channel",
            f"No channel's contrast is below {params.blank_contrast:g} of 255",
            Check("blank_channel", "absent"),
            lambda letters: f"blank channel {letters}",
            flag=True,
        ),
        Rule(
            "saturated",
            f"At most {params.max_saturated:.0%} of the pixels are at 255 (validate.max_saturated)",
            Check("saturated", "between", high=params.max_saturated),
            lambda share: f"saturated: {share:.0%} of the pixels",
            flag=True,
        ),
        Rule(
            "no galaxy found",
            "An object is found at the centre of the frame",
            Check("galaxy", "one_of", ("found",)),
            lambda _: "no galaxy found at the centre",
            flag=True,
        ),
        Rule(
            "near duplicate",
            "No other galaxy's image is nearly the same; those that are go to the same split",
            Check("group", "unique"),
            lambda group: f"near duplicate, group {group}",
            flag=True,
        ),
    )


def prepared(table: pd.DataFrame, params: ValidateParams) -> pd.DataFrame:
    """Make the table that the rules look at: empty text is missing, and what a rule needs is worked out.

    Parameters
    ----------
    table
        As `galmorph.data.facts.facts_table` makes it.
    params
        The footprint.

    Returns
    -------
    pandas.DataFrame
        With the further columns `contrast` (the strongest channel's, of 255), `position` (what is wrong with RA and
        Dec), `galaxy` (`found` or `not found` in the frame) and `copy` (nothing yet).
    """
    view = table.copy()
    view["contrast"] = table[[f"contrast_{channel}" for channel in CHANNELS]].max(axis=1)
    view["position"] = position_problems(table, params.footprint)
    view["copy"] = ""
    view["galaxy"] = np.where(table["axis_ratio_measured"].notna(), "found", "not found")
    view.loc[table["width"].isna(), "galaxy"] = ""  # nothing was measured at all
    for name in view:
        if not pd.api.types.is_numeric_dtype(view[name]):
            view[name] = view[name].astype(object).where(view[name] != "", None)
    return view


def broken(view: pd.DataFrame, asked: Sequence[Rule]) -> list[list[tuple[str, str]]]:
    """Collect of each row the (name, reason) of every rule it breaks, in the order of the rules."""
    found: list[list[tuple[str, str]]] = [[] for _ in range(len(view))]
    for rule in asked:
        values = view[rule.check.column].tolist()
        for position in np.flatnonzero(~rule.check.passes(view).to_numpy(dtype=bool)):
            found[position].append((rule.name, rule.reason(values[position])))
    return found


def exact_copies(cataids: Sequence[str], labels: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Say of each galaxy why its image file, being another's too, rules it out.

    All but the first are copies when their labels agree. When the labels disagree nothing tells which is right, and
    all of them are ruled out.

    Parameters
    ----------
    cataids, labels, digests
        Of the galaxies that are good otherwise, in the order of the catalogue: id, label, SHA-256 of the file.

    Returns
    -------
    list of str
        Empty for one that stays.
    """
    members: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        members.setdefault(digest, []).append(position)
    reasons = [""] * len(digests)
    for same in (positions for positions in members.values() if len(positions) > 1):
        if len({labels[k] for k in same}) == 1:
            for k in same[1:]:
                reasons[k] = f"exact duplicate: the same image file as {cataids[same[0]]}, which is kept"
            continue
        for k in same:
            others = ", ".join(f"{cataids[other]} ({labels[other]})" for other in same if other != k)
            reasons[k] = (
                f"exact duplicate with another label: the same image file as {others}, while this one is labelled "
                f"{labels[k]}; nothing tells which is right, so none is kept"
            )
    return reasons
