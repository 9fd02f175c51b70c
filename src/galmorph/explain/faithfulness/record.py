"""faithfulness.json: every score with its interval, the verdicts, and the galaxies to look at.

Its layout::

    {
      "model_digest": "…", "scored_split": "test", "galaxies": 16, "no_galaxy_found": 0, "seed": 5,
      "parameters": {…},                        explain.faithfulness
      "methods": {name: {
          "title": "Grad-CAM",
          "empty_maps": 0,
          "scores": {score: {"value", "low", "high", "n", "left_out": {why: count}}},
          "verdicts": {check: {"verdict": "passed" | "failed" | "undecided", "reason": "…"}}
      }},
      "agreement": {"methods": [name], "matrix": [[…]], "low": [[…]], "high": [[…]], "n": [[…]]},
      "on_galaxy": {
          "uniform": {"value", "low", "high", "n"},
          "area": {"galaxy" | "neighbours" | "sky" | "rest": {"value", "low", "high", "n"}},
          "explained_by_neighbours": {method: count},
          "neighbours": [{"CATAID", "method", "galaxy_share", "neighbour_share"}],
          "with_blank_channel": 2, "blank_channel_flips": 1, "blank_channel_change": {"value", "low", "high", "n"},
          "blank_channel": [{"CATAID", "channels", "p_elliptical", "filled"}]
      },
      "randomisation": {method: [{"layers", "of", "correlation": {"value", "low", "high", "n"},
                                  "signed": {"value", "low", "high", "n"}, "empty", "maps"}]}
    }

Scores are `measure.SCORES`; checks are `randomisation`, `deletion`, `insertion` and `on_galaxy`. A number that is not
known is null. `low` and `high` are null where the galaxies cannot tell: fewer than two have the score, or all the same.

- deletion, insertion: areas in [0, 1], of the target's calibrated probability (`deletion`).
- deletion_against_random, insertion_against_random: less the area of the displaced map; good below, above 0.
- mu_fidelity, noise_stability, turn_stability: correlations. The latter two on `stability_galaxies` galaxies.
- uniform: the galaxy's share of a map without preference, its share of the crop's area; area: that of every region.
- agreement: mean rank correlation of two methods' maps, its interval, and the galaxies that have one.
- sparsity: Gini index. galaxy_share, neighbour_share, sky_share: of the energy in the crop.
- galaxy_share_over_uniform: the galaxy's share less that of a uniform map. pointing: share of galaxies.
- neighbours: galaxies of which the neighbours hold more than the galaxy itself, by how much more; at most `max_listed`.
- blank_channel: galaxies whose answer flips when the blank channel is filled; at most `max_listed`.
- blank_channel_change: how far filling it moves the log-odds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from galmorph.evaluation.metrics import rounded, with_interval
from galmorph.explain.base import Explainer
from galmorph.explain.faithfulness.measure import SCORES, Measurements
from galmorph.explain.faithfulness.on_galaxy import REGIONS
from galmorph.explain.faithfulness.randomisation import Stage
from galmorph.explain.faithfulness.verdicts import (
    Estimate,
    Verdict,
    estimate,
    on_deletion,
    on_galaxy,
    on_insertion,
    on_randomisation,
)
from galmorph.params import FaithfulnessParams

Array = NDArray[np.float64]

#: Scores that need a galaxy in the crop, and those that only some galaxies are asked for.
_OF_REGIONS = frozenset(SCORES[8:])
_OF_SOME = frozenset({"noise_stability", "turn_stability"})


def faithfulness_record(
    measured: Measurements,
    explainers: Mapping[str, Explainer],
    model_digest: str,
    split: str,
    params: FaithfulnessParams,
    seed: int,
) -> dict[str, Any]:
    """Make faithfulness.json of what was measured; see the module for its layout.

    Parameters
    ----------
    measured
        As `galmorph.explain.faithfulness.measure.measure` returns it.
    explainers
        By name, for their titles.
    model_digest
        Of the file of the model that is explained, so that nobody takes the record for another one's.
    split
        That the galaxies are of.
    params, seed
        With which they were measured.
    """
    return {
        "model_digest": model_digest,
        "scored_split": split,
        "galaxies": len(measured.cataids),
        "no_galaxy_found": int((~measured.found).sum()),
        "seed": seed,
        "parameters": params.model_dump(mode="json"),
        "methods": {
            name: {
                "title": explainers[name].title,
                "empty_maps": int(measured.empty[name].sum()),
                "scores": {
                    score: _laid_out(estimate(measured.scores[name][score], params, seed))
                    | {"left_out": left_out(measured, name, score)}
                    for score in SCORES
                },
                "verdicts": {
                    check: {"verdict": found.verdict, "reason": found.reason}
                    for check, found in verdicts(measured, name, params, seed).items()
                },
            }
            for name in measured.scores
        },
        "agreement": _agreement(measured, params, seed),
        "on_galaxy": _on_galaxy(measured, params, seed),
        "randomisation": {
            name: [_stage(stage, params, seed) for stage in stages] for name, stages in measured.randomisation.items()
        },
    }


def shares_table(measured: Measurements) -> pd.DataFrame:
    """Lay out where every map's energy lies, for pictures of the distribution.

    Returns
    -------
    pandas.DataFrame
        A row a method and galaxy: `CATAID`, `method`, and the shares `galaxy`, `neighbours`, `sky`, `uniform` in
        [0, 1], NaN where no galaxy is found or the map is empty; `uniform` is the galaxy's share of the crop.
    """
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "CATAID": measured.cataids,
                    "method": name,
                    "galaxy": scores["galaxy_share"],
                    "neighbours": scores["neighbour_share"],
                    "sky": scores["sky_share"],
                    "uniform": measured.uniform[:, REGIONS.index("galaxy")],
                }
            )
            for name, scores in measured.scores.items()
        ],
        ignore_index=True,
    )


def verdicts(measured: Measurements, name: str, params: FaithfulnessParams, seed: int) -> dict[str, Verdict]:
    """Judge a method by every check."""
    scores, random = measured.scores[name], measured.randomisation[name][-1]
    return {
        "randomisation": on_randomisation(
            estimate(random.absolute, params, seed),
            estimate(random.signed, params, seed),
            params.randomisation.max_correlation,
        ),
        "deletion": on_deletion(estimate(scores["deletion_against_random"], params, seed), params.negligible),
        "insertion": on_insertion(estimate(scores["insertion_against_random"], params, seed), params.negligible),
        "on_galaxy": on_galaxy(estimate(scores["galaxy_share_over_uniform"], params, seed), params.negligible),
    }


def left_out(measured: Measurements, name: str, score: str) -> dict[str, int]:
    """Count the galaxies that have no such score, by the first reason that holds."""
    reasons = {
        "not among those explained again": ~measured.stable if score in _OF_SOME else np.zeros_like(measured.stable),
        "no galaxy found": ~measured.found if score in _OF_REGIONS else np.zeros_like(measured.found),
        "empty map": measured.empty[name],
        "the answer stays the same": np.ones_like(measured.found),
    }
    missing = np.isnan(measured.scores[name][score])
    counts: dict[str, int] = {}
    for why, holds in reasons.items():
        if (missing & holds).any():
            counts[why] = int((missing & holds).sum())
        missing &= ~holds
    return counts


def _laid_out(found: Estimate) -> dict[str, Any]:
    return {**with_interval(found.value, (found.low, found.high)), "n": found.n}


def _agreement(measured: Measurements, params: FaithfulnessParams, seed: int) -> dict[str, Any]:
    methods = list(measured.scores)
    size = range(len(methods))
    half = {(a, b): estimate(measured.agreement[:, a, b], params, seed) for a in size for b in size if a <= b}
    pairs = [[_laid_out(half[min(a, b), max(a, b)]) for b in size] for a in size]
    names = {"matrix": "value", "low": "low", "high": "high", "n": "n"}
    return {"methods": methods, **{to: [[pair[name] for pair in row] for row in pairs] for to, name in names.items()}}


def _on_galaxy(measured: Measurements, params: FaithfulnessParams, seed: int) -> dict[str, Any]:
    area = {region: _laid_out(estimate(measured.uniform[:, at], params, seed)) for at, region in enumerate(REGIONS)}
    flipped = [filled for filled in measured.filled if filled.flips]
    neighbours = _explained_by_neighbours(measured)
    return {
        "uniform": area["galaxy"],
        "area": area,
        "explained_by_neighbours": {
            name: sum(entry["method"] == name for entry in neighbours) for name in measured.scores
        },
        "neighbours": neighbours[: params.max_listed],
        "with_blank_channel": len(measured.filled),
        "blank_channel_flips": len(flipped),
        "blank_channel_change": _laid_out(
            estimate(np.array([filled.change for filled in measured.filled]), params, seed)
        ),
        "blank_channel": [
            {
                "CATAID": filled.cataid,
                "channels": filled.channels,
                "p_elliptical": rounded(filled.p_elliptical),
                "filled": rounded(filled.filled),
            }
            for filled in flipped[: params.max_listed]
        ],
    }


def _explained_by_neighbours(measured: Measurements) -> list[dict[str, Any]]:
    """Galaxies of which the neighbours hold more than they do themselves, the clearest first."""
    found = [
        {
            "CATAID": measured.cataids[at],
            "method": name,
            "galaxy_share": rounded(scores["galaxy_share"][at]),
            "neighbour_share": rounded(scores["neighbour_share"][at]),
        }
        for name, scores in measured.scores.items()
        for at in np.flatnonzero(scores["neighbour_share"] > scores["galaxy_share"])
    ]
    return sorted(found, key=lambda entry: (entry["galaxy_share"] - entry["neighbour_share"], entry["CATAID"]))


def _stage(stage: Stage, params: FaithfulnessParams, seed: int) -> dict[str, Any]:
    return {
        "layers": stage.layers,
        "of": stage.of,
        "correlation": _laid_out(estimate(stage.absolute, params, seed)),
        "signed": _laid_out(estimate(stage.signed, params, seed)),
        "empty": stage.empty,
        "maps": stage.maps,
    }
