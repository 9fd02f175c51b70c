"""Which galaxies are explained."""

import numpy as np
import pandas as pd

from galmorph.params import SampleParams


def choose_sample(predictions: pd.DataFrame, params: SampleParams, seed: int) -> pd.DataFrame:
    """Choose galaxies worth looking at, each once, for the first reason that names it.

    Parameters
    ----------
    predictions
        `CATAID`, `label`, `p_elliptical`, `predicted` of one split.
    params
        How many of each kind: most confident and right, most confident and wrong, nearest to even odds, and random.
    seed
        Of the random ones.

    Returns
    -------
    pandas.DataFrame
        The chosen rows with a column `chosen_as`, in the order most_wrong, borderline, most_confident, random. Fewer
        than asked for when there are no more.
    """
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
    chosen: dict[str, str] = {}
    for kind, rows in kinds.items():
        fresh = [cataid for cataid in rows["CATAID"] if cataid not in chosen]
        chosen.update(dict.fromkeys(fresh[: getattr(params, kind)], kind))
    picked = predictions.set_index("CATAID", drop=False).loc[list(chosen)].reset_index(drop=True)
    return picked.assign(chosen_as=list(chosen.values()))
