"""An answer's heat map and reasons, from what the runtime gave."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galmorph.data.dataset import crop_box, to_frame, without_evidence
from galmorph.explain.class_map import class_map
from galmorph.explain.faithfulness.maps import TURNS, rank_correlations, turned_back
from galmorph.explain.faithfulness.maps import turned as turned_once
from galmorph.explain.faithfulness.on_galaxy import points_at, regions_of
from galmorph.explain.reason import Evidence, Numbers, Turns
from galmorph.params import Label, PreprocessParams
from galmorph.serving.runtime import sign

METHOD = "Grad-CAM"


@dataclass(frozen=True)
class HeatMap:
    """Where a picture speaks for a class.

    Attributes
    ----------
    frame
        `(H, W)` float32, at least 0, over the whole cutout; 0 where the model does not look.
    empty
        Whether it is zero everywhere: nothing in the picture speaks for the class.
    galaxy, neighbours, sky
        Shares of the map, in [0, 1]; None where the map is empty, and `galaxy` where no galaxy was found.
    uniform
        The galaxy's share of what the model sees; None where no galaxy was found.
    pointing
        Whether the map's strongest place lies on the galaxy; None as for `galaxy`.
    galaxy_found
        Whether a galaxy stands out at the centre of the cutout, within what the model sees.
    stability
        Mean rank correlation with the maps of the turned and mirrored picture, turned back, as the report has it; a map
        that turning empties counts as 0. None where the map is the same all over: it has no ranks.
    """

    frame: np.ndarray
    empty: bool
    galaxy: float | None
    neighbours: float | None
    sky: float | None
    uniform: float | None
    pointing: bool | None
    galaxy_found: bool
    stability: float | None


def turned(prepared: np.ndarray) -> np.ndarray:
    """Turn and mirror a prepared image in every way: `(8, S, S, 3)`, the image itself first."""
    return np.concatenate([turned_once(prepared[None], turn) for turn in TURNS])


def turns(p_elliptical: np.ndarray, threshold: float) -> Turns:
    """Say how the answers for `turned` images agree with the first of them; `(8,)` probabilities."""
    elliptical = p_elliptical >= threshold
    kept = int((elliptical == elliptical[0]).sum())
    return Turns(kept, len(elliptical), float(p_elliptical.min()), float(p_elliptical.max()))


def heat_map(cutout: np.ndarray, coarse: np.ndarray, label: Label, preprocess: PreprocessParams) -> HeatMap:
    """Make the heat map of a class, and find what it lies on.

    Parameters
    ----------
    cutout
        `(H, W, 3)` uint8, as it was sent.
    coarse
        `(8, h, w)` float32, as `Answers.maps` has them for `turned`.
    label
        What is explained.
    preprocess
        Of the model.
    """
    height, width = cutout.shape[:2]
    maps = class_map(coarse, np.full(len(coarse), sign(label)), preprocess.image_size)
    frame = to_frame(maps[0], height, width, preprocess)
    # As the checks of explanations count, so that both say the same of a map.
    regions = regions_of(cutout, preprocess)
    top, left, side = crop_box(height, width, preprocess)
    seen = frame[top : top + side, left : left + side]
    found = bool(regions[0].any())
    empty = bool(without_evidence(frame[None])[0])
    total = seen.sum(dtype=np.float64)
    galaxy, neighbours, sky = (
        None if empty else min(1.0, float(seen[region].sum(dtype=np.float64) / total)) for region in regions[:3]
    )
    return HeatMap(
        frame=frame,
        empty=empty,
        galaxy=galaxy if found else None,
        neighbours=neighbours,
        sky=sky,
        uniform=float(regions[0].mean()) if found else None,
        pointing=points_at(seen, regions[0]) if found and not empty else None,
        galaxy_found=found,
        stability=_stability(maps),
    )


def _stability(maps: np.ndarray) -> float | None:
    """Compare the first of `(8, S, S)` maps of `turned` images with the others."""
    if np.ptp(maps[0]) == 0:
        return None
    back = np.concatenate([turned_back(maps[turn : turn + 1], turn) for turn in TURNS[1:]])
    found = np.nan_to_num(rank_correlations(np.broadcast_to(maps[0], back.shape), back)).mean()
    return float(np.clip(found, -1, 1))  # rounding can leave the range


def numbers(
    p_elliptical: np.ndarray,
    threshold: float,
    label: Label,
    drawn: HeatMap | None,
    blank_channels: int,
    accuracy: float | None,
    verdicts: Mapping[str, str],
) -> Numbers:
    """Put together what is known of an answer.

    Parameters
    ----------
    p_elliptical
        `(8,)` for `turned`; the first is the answer's.
    threshold
        Of the model.
    label
        The answer's.
    drawn
        Its heat map for that label; None: not measured.
    blank_channels, accuracy, verdicts
        As `Numbers` has them.
    """
    evidence = None
    if drawn is not None:
        shares = (drawn.galaxy, drawn.neighbours, drawn.sky, drawn.uniform)
        evidence = Evidence(METHOD, drawn.empty, *shares, drawn.pointing)
    return Numbers(
        predicted=label,
        p_elliptical=float(p_elliptical[0]),
        threshold=threshold,
        label=None,
        accuracy=accuracy,
        evidence=evidence,
        galaxy_found=drawn.galaxy_found if drawn else None,
        blank_channels=blank_channels,
        turns=turns(p_elliptical, threshold),
        map_stability=drawn.stability if drawn else None,
        agreement=None,
        verdicts=verdicts,
    )
