"""What a reader of the leaderboard must know before comparing its rows."""

from collections.abc import Mapping
from typing import Any

from galmorph.evaluation.leaderboard import weights_text
from galmorph.evaluation.mcnemar import Comparison
from galmorph.evaluation.published import Published
from galmorph.evaluation.text import listed, percent

SOURCES = {
    "simulate": "simulated by galmorph; what is scored here says nothing yet about a real survey",
    "archive": "a labelled archive",
    "cutouts": "survey cutouts fetched for a catalogue",
    None: "not recorded",
}


def where_from(source: str | None) -> str:
    """Say where galaxies come from: the source's name, and behind it that of what was read."""
    kind, _, read = (source or "").partition(" ")
    known = SOURCES.get(kind or None, source)
    return f"{known}, {read}" if kind in SOURCES and read else str(known)


def leaderboard_facts(
    records: Mapping[str, Mapping[str, Any]], published: Published, comparisons: Mapping[str, Comparison]
) -> list[tuple[str, str]]:
    """Say what a reader must know before comparing: a heading and a sentence each.

    Parameters
    ----------
    records, published, comparisons
        As for `leaderboard_entries`.
    """
    record = next(iter(records.values()))
    split = record["scored_split"]
    confidence = percent(record[split]["confidence"])
    numbers = ", ".join(f"{count:,} {label}" for label, count in record[split]["support"].items())
    held_out = (
        f"test, n = {record[split]['n']:,} ({numbers}), never trained on and never chosen by."
        if split == "test"
        else f"VALIDATION, n = {record[split]['n']:,} ({numbers}): the published split has no test galaxies. Training "
        "stopped by these galaxies and the best was chosen on them, so the scores flatter."
    )
    chance = (
        f"{confidence}, by resampling the scored galaxies; they hold the chance of which galaxies were scored, not of "
        "another training run. Published accuracies carry the interval that their number of galaxies implies."
    )
    apart = (
        f"Published rows come from {published.source}: {published.split}, n = {published.n:,}. They are another split "
        "at best, and other galaxies unless these are that study's: read them as a scale, not as an opponent."
    )
    source = record.get("data_source")
    return [
        ("Galaxies", f"{where_from(source)}."),
        ("Scored on", held_out),
        ("Trained with", _trained_with(records, published)),
        ("Intervals", chance),
        *([("Ties", ties_text(split, comparisons, record[split]["confidence"]))] if comparisons else []),
        ("Not one to one", apart),
    ]


def _trained_with(records: Mapping[str, Mapping[str, Any]], published: Published) -> str:
    sizes = sorted({one["image_size"] for one in records.values()})
    epochs = sorted({sum(one["recipe"]["epochs"]) for one in records.values()})
    started = _started_from(records)
    scale = (
        " This is laptop scale: a lower score than published says nothing against an architecture."
        if sizes[-1] < published.image_size
        else ""
    )
    ran = f"{epochs[0]} epochs" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]} epochs"
    return (
        f"{listed([f'{size} px' for size in sizes])}; published: {published.image_size} px. {ran}. "
        f"{started[0].upper()}{started[1:]}.{scale}"
    )


def _started_from(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Say what the networks started from, by architecture where that is enough to tell."""
    weights = {name: one["recipe"]["weights"] for name, one in records.items()}
    if set(weights.values()) == {"none"}:
        return "no pretrained weights: every network started from random numbers, whatever it is named after"
    of: dict[str, set[str]] = {}
    for name, one in records.items():
        of.setdefault(one["architecture"], set()).add(weights[name])
    told: dict[str, dict[str, None]] = {}
    for name, one in records.items():
        architecture = one["architecture"]
        told.setdefault(weights[name], {})[architecture if len(of[architecture]) == 1 else name] = None
    return "; ".join(f"{weights_text(kind)}: {listed(list(names))}" for kind, names in sorted(told.items()))


def ties_text(split: str, comparisons: Mapping[str, Comparison], confidence: float) -> str:
    """Say which experiments the scored galaxies leave tied with the reference, and what that means."""
    reference = next(iter(comparisons.values())).reference
    tied = [name for name, one in comparisons.items() if not one.told_apart]
    apart = [name for name, one in comparisons.items() if one.told_apart]
    found = [f"{listed(tied)} {'is' if len(tied) == 1 else 'are'} tied with it"] if tied else []
    found += [f"{listed(apart)} {'is' if len(apart) == 1 else 'are'} told apart"] if apart else []
    meaning = " Tied does not mean equally good: so many galaxies leave open which is better." if tied else ""
    return (
        f"On {split}, every experiment is tested against {reference} on the same galaxies (exact McNemar test, Holm's "
        f"correction, told apart where p is below {1 - confidence:.2g}): {'; '.join(found)}.{meaning}"
    )
