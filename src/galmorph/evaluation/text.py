"""How a score is written for a reader."""

from collections.abc import Mapping

#: Stands where there is no number.
NONE = "\u2013"


def score_text(score: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """Write a score and its interval: `0.873 [0.840, 0.902]`, `–` where it is not defined.

    Parameters
    ----------
    score
        `value`, and `low` and `high` where there is an interval.
    """
    if score is None or score["value"] is None:
        return NONE
    return f"{score['value']:.{digits}f}{interval_text(score, digits)}"


def percent(share: float) -> str:
    """Write a share in whole percent: `95 %`."""
    return f"{100 * share:.0f} %"


def interval_text(score: Mapping[str, float | None], digits: int = 3) -> str:
    """Write a score's interval with a blank before it; nothing where there is none."""
    low, high = score.get("low"), score.get("high")
    return "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
