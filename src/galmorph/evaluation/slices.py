"""Slices: groups of galaxies that are scored by themselves, and a warning where one is answered worse than the rest.

A model can be right on average and wrong about every small or faint galaxy. Each slice is held against all other
scored galaxies by Fisher's exact test, one-sided, and the p-values of all slices together are adjusted by Holm's
method: without that, one slice in twenty would be called worse although none is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from galmorph.errors import InputError, ParamsError
from galmorph.evaluation.bootstrap import wilson_interval
from galmorph.evaluation.mcnemar import holm
from galmorph.evaluation.metrics import CLASSES, rounded
from galmorph.evaluation.significance import worse_than_rest
from galmorph.evaluation.text import slice_name
from galmorph.params import EvaluateParams, SliceParams

#: What `slice_table` gives of each slice.
COLUMNS = (
    "group",
    "slice",
    "range",
    "n",
    *(f"support {label}" for label in CLASSES),
    "accuracy",
    "low",
    "high",
    "promised",
    "difference",
    "p_value",
    "p_holm",
    "warning",
)
#: What the slices that are always there are made of: columns of the manifest.
_NEEDED = (
    "CATAID",
    "accepted",
    "blank_channel",
    "radius_pixels",
    "width",
    "height",
    "galaxy_r",
    "galaxy_g",
    "galaxy_b",
)
NEAR = "near even odds"


@dataclass(frozen=True)
class Slice:
    """Some of the scored galaxies.

    Attributes
    ----------
    group, name
        What galaxies are told apart by, and which of them these are.
    range
        The values that are meant, in words; empty where the name says it.
    members
        `(N,)` bool.
    """

    group: str
    name: str
    range: str
    members: np.ndarray


def slice_table(predictions: pd.DataFrame, manifest: pd.DataFrame, params: EvaluateParams) -> pd.DataFrame:
    """Score each slice of one split.

    Parameters
    ----------
    predictions
        Rows of one split, as `metrics.score` takes them.
    manifest
        What validation measured of every galaxy.
    params
        The slices, and the `confidence` of intervals and warnings.

    Returns
    -------
    pandas.DataFrame
        `group`, `slice`, `range`, `n`, `support <label>`, `accuracy` with its Wilson interval `low` and `high`;
        `promised`: the accuracy that the model's own probabilities promise, the mean of the larger of `p_elliptical`
        and 1 − `p_elliptical`; `difference` of the accuracy to that of all other galaxies; `p_value` of the slice being
        no worse than they are and `p_holm`, adjusted for all slices that were tested (both NaN for one that was not,
        because it or what it leaves outside has fewer than `min_galaxies`); and `warning`: `p_holm` is below
        1 − `confidence`.

    Raises
    ------
    InputError
        When a scored galaxy is not in the manifest.
    ParamsError
        When the manifest has no column of `slices.columns`.
    """
    galaxies = with_manifest(predictions, manifest, params.slices)
    right = (predictions["label"] == predictions["predicted"]).to_numpy(bool)
    p = predictions["p_elliptical"].to_numpy(np.float64)
    elliptical = (predictions["label"] == CLASSES[0]).to_numpy(bool)
    rows = []
    for part in slices(galaxies, p, params.slices):
        inside, outside = right[part.members], right[~part.members]
        n, rest = len(inside), len(outside)
        low, high = wilson_interval(np.array([inside.mean()]), np.array([n]), params.confidence)
        tested = min(n, rest) >= params.slices.min_galaxies
        values = (
            part.group,
            part.name,
            part.range,
            n,
            int(elliptical[part.members].sum()),
            int((~elliptical)[part.members].sum()),
            inside.mean(),
            low[0],
            high[0],
            np.maximum(p, 1 - p)[part.members].mean(),
            inside.mean() - outside.mean() if rest else np.nan,
            worse_than_rest(int(inside.sum()), n, int(outside.sum()), rest) if tested else np.nan,
            np.nan,
            False,
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    known = table["p_value"].notna()
    table.loc[known, "p_holm"] = holm(table.loc[known, "p_value"].tolist())
    table["warning"] = (table["p_holm"] < 1 - params.confidence).to_numpy(bool)
    return table


def with_manifest(predictions: pd.DataFrame, manifest: pd.DataFrame, params: SliceParams) -> pd.DataFrame:
    """Return the manifest's rows of the predicted galaxies, in the order of the predictions."""
    missing = [name for name in _NEEDED if name not in manifest]
    if missing:
        raise InputError(
            f"manifest: the column {missing[0]} is missing. Run validate again (`dvc repro` does). "
            f"Received: {', '.join(map(str, manifest))}"
        )
    known = [str(name) for name in manifest if name not in ("CATAID", "accepted", "reasons")]
    for name in params.columns:
        if name not in known:
            raise ParamsError(
                f"evaluate.slices.columns: the manifest has no column {name}. Known: {', '.join(known)}. "
                f"Received: {', '.join(params.columns)}"
            )
    # An id may be there again among the rows that were quarantined.
    accepted = manifest[manifest["accepted"].to_numpy(bool)].set_index("CATAID")
    unknown = [cataid for cataid in predictions["CATAID"] if cataid not in accepted.index]
    if unknown:
        raise InputError(
            f"manifest: galaxy {unknown[0]} of the predictions is not an accepted one of the manifest. Run "
            f"`dvc repro`, or train and evaluate again. Received: {len(unknown)} such galaxies"
        )
    return accepted.loc[predictions["CATAID"].tolist()]


def slices(galaxies: pd.DataFrame, p_elliptical: np.ndarray, params: SliceParams) -> Iterator[Slice]:
    """Yield the slices that have a galaxy in them.

    Parameters
    ----------
    galaxies
        `(N,)` rows of the manifest.
    p_elliptical
        `(N,)` the model's answers.
    """
    found = [
        Slice("blank channel", "any", "", (galaxies["blank_channel"].fillna("") != "").to_numpy(bool)),
        *_of_numbers("apparent size", _apparent_size(galaxies), params, "no galaxy found"),
        *_of_numbers("brightness", _brightness(galaxies), params, "no galaxy found"),
        Slice(
            NEAR,
            "any",
            f"|p_elliptical - 0.5| < {params.near_threshold:g}",
            np.abs(p_elliptical - 0.5) < params.near_threshold,
        ),
        *(part for name in params.columns for part in _of_column(name, galaxies[name], params)),
    ]
    yield from (part for part in found if part.members.any())


def _apparent_size(galaxies: pd.DataFrame) -> np.ndarray:
    """Return the half-light radius, as a share of the frame's shorter side."""
    side = galaxies[["width", "height"]].astype(float).min(axis=1)
    return (galaxies["radius_pixels"].astype(float) / side).to_numpy(np.float64)


def _brightness(galaxies: pd.DataFrame) -> np.ndarray:
    """Return the mean light of the galaxy's own pixels above the sky, over all channels, of 255."""
    return galaxies[["galaxy_r", "galaxy_g", "galaxy_b"]].astype(float).mean(axis=1).to_numpy(np.float64)


def _of_column(name: str, column: "pd.Series[Any]", params: SliceParams) -> list[Slice]:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    # Codes, such as 1, 2 and 11, are names although they look like numbers.
    if numeric and column.nunique() > params.quantiles:
        return list(_of_numbers(name, column.astype(float).to_numpy(np.float64), params, "missing"))
    return list(_of_names(name, column, params))


def _of_numbers(group: str, values: np.ndarray, params: SliceParams, missing: str) -> Iterator[Slice]:
    """Cut numbers into parts of as many galaxies each; equal numbers stay together."""
    known = np.isfinite(values)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.arange(1, params.quantiles) / params.quantiles))
        part = np.digitize(values, edges)
        for index in range(len(edges) + 1):
            limits = [f"from {edges[index - 1]:.3g}"] if index else []
            limits += [f"below {edges[index]:.3g}"] if index < len(edges) else []
            yield Slice(group, f"{index + 1} of {len(edges) + 1}", " ".join(limits), known & (part == index))
    yield Slice(group, missing, "", ~known)


def _of_names(group: str, column: "pd.Series[Any]", params: SliceParams) -> Iterator[Slice]:
    """Take each value that is there often enough by itself, and all others together."""
    names = np.array(["missing" if pd.isna(value) or value == "" else str(value) for value in column], dtype=object)
    found, counts = np.unique(names.astype(str), return_counts=True)
    often = found[counts >= params.min_galaxies]
    for name in often:
        yield Slice(group, str(name), "", names == name)
    rare = found[counts < params.min_galaxies]
    yield Slice(
        group, "rarer values", ", ".join(map(str, rare[:5])) + ("…" if len(rare) > 5 else ""), ~np.isin(names, often)
    )


def slice_record(table: pd.DataFrame) -> dict[str, Any]:
    """Lay the table out for metrics.json: group, then slice, then its numbers."""
    record: dict[str, Any] = {}
    for row in table.to_dict("records"):
        record.setdefault(str(row["group"]), {})[str(row["slice"])] = {
            "range": row["range"],
            "n": int(row["n"]),
            "support": {label: int(row[f"support {label}"]) for label in CLASSES},
            "accuracy": {"value": rounded(row["accuracy"]), "low": rounded(row["low"]), "high": rounded(row["high"])},
            **{name: rounded(row[name]) for name in ("promised", "difference", "p_value", "p_holm")},
            "warning": bool(row["warning"]),
        }
    return record


def slice_warnings(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each slice that is significantly worse."""
    return [_sentence(row) for row in table[table["warning"].to_numpy(bool)].to_dict("records")]


def _sentence(row: Mapping[Any, Any]) -> str:
    name = slice_name(row["group"], row["slice"], row["range"])
    sentence = (
        f"{name}: accuracy {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}] on {row['n']} "
        f"galaxies, {-100 * row['difference']:.1f} points below all others (p = {row['p_holm']:.2g} after Holm)."
    )
    if row["group"] == NEAR:
        return f"{sentence} The model says so itself: its probabilities promise {row['promised']:.3f} there."
    return sentence
