"""Which galaxies are explained."""

import numpy as np
import pandas as pd

from galmorph.errors import InputError
from galmorph.params import SampleParams


def choose_sample(predictions: pd.DataFrame, params: SampleParams, seed: int) -> pd.DataFrame:
    """Choose galaxies worth looking at, each once, for the first reason that names it.

    Parameters
    ----------
    predictions
        `CATAID`, `label`, `p_elliptical`, `predicted` of one split.
    params
        Ids and places, and how many of each kind: most confident and right, most confident and wrong, nearest to even
        odds, and random.
    seed
        Of the random ones.

    Returns
    -------
    pandas.DataFrame
        The chosen rows with a column `chosen_as`, in the order named, indexed, most_wrong, borderline, most_confident,
        random. Fewer than asked for when there are no more.

    Raises
    ------
    InputError
        When an id or a place is not in the table, or no galaxy is asked for.
    """
    chosen = _asked_for(predictions, params)
    confidence = (predictions["p_elliptical"] - 0.5).abs()
    right = predictions["label"] == predictions["predicted"]
    # A stable sort with the id as the second key: ties do not depend on the order of the table.
    by_confidence = predictions.assign(confidence=confidence).sort_values(
        ["confidence", "CATAID"], ascending=[False, True]
    )
    shuffled = predictions.sort_values("CATAID").sample(frac=1, random_state=np.random.default_rng(seed))
    kinds = {
        "most_wrong": by_confidence[~right.loc[by_confidence.index]],
        "borderline": by_confidence.iloc[::-1],
        "most_confident": by_confidence[right.loc[by_confidence.index]],
        "random": shuffled,
    }
    for kind, rows in kinds.items():
        fresh = [cataid for cataid in rows["CATAID"] if cataid not in chosen]
        chosen.update(dict.fromkeys(fresh[: getattr(params, kind)], kind))
    if not chosen:
        raise InputError(
            "explain.sample asks for no galaxy: name one, or give at least one kind a number above 0. Received: "
            f"{params.model_dump()}, and {len(predictions)} galaxies"
        )
    picked = predictions.set_index("CATAID", drop=False).loc[list(chosen)].reset_index(drop=True)
    return picked.assign(chosen_as=list(chosen.values()))


def _asked_for(predictions: pd.DataFrame, params: SampleParams) -> dict[str, str]:
    """Return why each galaxy was chosen that is asked for by its id or its place."""
    in_order = sorted(predictions["CATAID"])
    if unknown := sorted(set(params.cataids) - set(in_order)):
        raise InputError(
            f"explain.sample.cataids: every id must be one of the {len(in_order)} galaxies of the split that is "
            f"explained (explain.split). Received: {', '.join(map(repr, unknown))}"
        )
    if beyond := [index for index in params.indices if index >= len(in_order)]:
        raise InputError(
            f"explain.sample.indices: the split that is explained has {len(in_order)} galaxies, counted from 0. "
            f"Received: {', '.join(map(str, beyond))}"
        )
    places = {in_order[index]: "indexed" for index in params.indices}
    return {
        **dict.fromkeys(params.cataids, "named"),
        **{id_: why for id_, why in places.items() if id_ not in params.cataids},
    }
