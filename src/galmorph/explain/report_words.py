"""What the explanation report says of checks and scores, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from galmorph.evaluation.text import percent

#: Check to its name and its question.
CHECKS = {
    "randomisation": ("Random weights", "Does the map change when the model's weights are replaced by random ones?"),
    "deletion": (
        "Deletion",
        "Does hiding the marked places take the answer away sooner than with the marks moved elsewhere?",
    ),
    "insertion": (
        "Insertion",
        "Does showing the marked places bring the answer back sooner than with the marks moved elsewhere?",
    ),
    "on_galaxy": ("On the galaxy", "Does more of the map lie on the galaxy than of an even map?"),
}
#: The model's scores to what they are called.
QUALITY = {
    "accuracy": "accuracy (share answered rightly)",
    "roc_auc": "ROC AUC (1 is perfect, 0.5 is chance)",
    "ece": "calibration error (0 is perfect)",
}
#: Verdict to a mark that is no colour.
MARKS = {"passed": "✓", "failed": "✗", "undecided": "?"}
#: Score to its name, and what it measures and which way is better.
SCORES = {
    "deletion": ("Deletion", "mean answer while marked places are hidden first; less is better"),
    "deletion_against_random": (
        "Deletion against random",
        "its difference to the same map displaced; below 0 is better",
    ),
    "insertion": ("Insertion", "mean answer while marked places are shown first; more is better"),
    "insertion_against_random": (
        "Insertion against random",
        "its difference to the same map displaced; above 0 is better",
    ),
    "mu_fidelity": ("MuFidelity", "correlation of a part's marks with what hiding it changes; 1 is best"),
    "noise_stability": ("Under noise", "rank correlation of maps with and without a little noise; 1 is best"),
    "turn_stability": ("Under turns", "rank correlation of maps of turned and mirrored images; 1 is best"),
    "sparsity": ("Sparsity", "Gini index: 0 is an even map, 1 a single point; neither is better"),
    "galaxy_share": ("On the galaxy", "share of the map on the galaxy's own segment"),
    "galaxy_share_over_uniform": ("On the galaxy, above even", "that share less an even map's"),
    "neighbour_share": ("On neighbours", "share of the map on other objects"),
    "sky_share": ("On sky", "share of the map on empty sky"),
    "pointing": ("Pointing", "share of galaxies on which the strongest place lies on the galaxy"),
}


def in_short(
    scores: Mapping[str, Mapping[str, Any]], split: str, record: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Say what the page found, each as a heading and a sentence.

    Parameters
    ----------
    scores, split
        Of the model.
    record
        Of the checks, or None where none were made.
    """
    said = []
    accuracy = scores.get("accuracy")
    if accuracy is not None and accuracy["value"] is not None:
        said.append(("How good", f"{_percent(accuracy)} of the {split} galaxies are answered rightly."))
    if record is None:
        return [*said, ("Not checked", "Whether the maps are true of the model was not measured for this page.")]
    return [*said, _looks_at(record), _trusted(record), _wary(record)]


def listed_galaxies(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return each listed galaxy once, with what its rows say of it.

    Parameters
    ----------
    rows
        `CATAID`, perhaps the `method` by which it is listed, and numbers.
    titles
        Method to its name on the page.

    Returns
    -------
    list
        Id, and a text such as `Grad-CAM: galaxy share 0.12, neighbour share 0.50; LIME: …`.
    """
    said: dict[str, list[str]] = {}
    for row in rows:
        numbers = ", ".join(
            f"{name.replace('_', ' ')} {_value(value)}"
            for name, value in row.items()
            if name not in ("CATAID", "method")
        )
        by = f"{titles.get(row['method'], row['method'])}: " if "method" in row else ""
        said.setdefault(str(row["CATAID"]), []).append(by + numbers)
    return [(cataid, "; ".join(filter(None, texts))) for cataid, texts in said.items()]


def _looks_at(record: Mapping[str, Any]) -> tuple[str, str]:
    uniform = record["on_galaxy"]["uniform"]
    shares = [
        (one["title"], share)
        for one in record["methods"].values()
        if (share := one["scores"].get("galaxy_share")) is not None and share["value"] is not None
    ]
    if not shares or uniform["value"] is None:
        return "What it looks at", "No share of a map on its galaxy could be measured."
    values = sorted(share["value"] for _, share in shares)
    span = f"{100 * values[0]:.0f} %"
    if len(values) > 1:
        span = f"between {100 * values[0]:.0f} and {100 * values[-1]:.0f} %, by method,"
    return (
        "What it looks at",
        f"On average {span} of a map lies on the galaxy itself; an even map would have {_percent(uniform)} there.",
    )


def _trusted(record: Mapping[str, Any]) -> tuple[str, str]:
    passed, failed = [], []
    for one in record["methods"].values():
        given = [verdict["verdict"] for verdict in one["verdicts"].values()]
        if "failed" in given:
            failed.append(one["title"])
        elif set(given) == {"passed"}:
            passed.append(one["title"])
    parts = [
        # Titles have commas of their own.
        f"Passed every check: {'; '.join(passed)}." if passed else "No method passed every check.",
        f"Failed at least one: {'; '.join(failed)}." if failed else "No method failed any.",
    ]
    return "Which to trust", " ".join(parts)


def _wary(record: Mapping[str, Any]) -> tuple[str, str]:
    neighbours, blank = (
        len({row["CATAID"] for row in record["on_galaxy"][name]}) for name in ("neighbours", "blank_channel")
    )
    if not neighbours + blank:
        return "Be wary of", "No galaxy was found to be explained by its neighbours or by a blank channel."
    return "Be wary of", f"Listed below: {neighbours} explained by their neighbours, {blank} by a blank channel."


def _percent(score: Mapping[str, Any]) -> str:
    """Write a share with its interval: `84 % (81 to 87)`."""
    interval = "" if score["low"] is None else f" ({100 * score['low']:.0f} to {100 * score['high']:.0f})"
    return percent(score["value"]) + interval


def _value(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
