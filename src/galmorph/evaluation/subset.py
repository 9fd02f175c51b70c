"""Taking fewer galaxies than there are, the same ones each time."""

import numpy as np
import pandas as pd

from galmorph.data.split import uniform


def stratified(galaxies: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Take at most `most` galaxies, of each class as large a share as it has.

    Which ones depends on the seed and their ids alone: not on the order of the rows, and a galaxy that is left out of
    many is not taken because others left.

    Parameters
    ----------
    galaxies
        `CATAID`, `label` and any further columns.
    most
        How many at most.
    seed
        Another seed takes others.

    Returns
    -------
    pandas.DataFrame
        Rows of `galaxies`, in its order; all of them where they are few enough.
    """
    if len(galaxies) <= most:
        return galaxies
    draw = pd.Series([uniform(seed, str(cataid)) for cataid in galaxies["CATAID"]], index=galaxies.index)
    # Rank within the class over its size: the first `most` by it hold each class in its share.
    place = draw.groupby(galaxies["label"]).rank() / draw.groupby(galaxies["label"]).transform("size")
    return galaxies.iloc[np.sort(np.argsort(place.to_numpy(), kind="stable")[:most])]
