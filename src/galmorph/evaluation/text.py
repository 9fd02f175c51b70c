"""How a score is written for a reader."""

from collections.abc import Mapping, Sequence

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


def listed(names: Sequence[str]) -> str:
    """Write names one after the other: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def p_text(p: float) -> str:
    """Write a p-value: `0.031`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(difference: Mapping[str, float | None], digits: int = 3) -> str:
    """Write a difference and its interval, with signs: `−0.021 [−0.040, −0.002]`."""
    value, low, high = (difference.get(key) for key in ("value", "low", "high"))
    if value is None:
        return NONE
    interval = "" if low is None or high is None else f" [{_signed(low, digits)}, {_signed(high, digits)}]"
    return _signed(value, digits) + interval


def large(number: float) -> str:
    """Write a large number in three digits: `89.7 M`."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:.3g}"


def _signed(value: float, digits: int) -> str:
    # Rounded first, so that -0.0001 does not become -0.000.
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "\u2212") if rounded else f"{0:.{digits}f}"


def slice_name(group: str, name: str, extent: str = "") -> str:
    """Write a slice's name for a reader: `apparent size, 1 of 3 (below 0.041)`."""
    told = group if name == "any" else f"{group}, {name}"
    return f"{told} ({extent})" if extent else told
