"""The chosen experiment's most confident mistakes, and how many of the other experiments make them too.

A galaxy that nearly all experiments answer against its label, and surely, is worth a look at the label.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from galmorph.data.montage import Tile, sheet


def confident_mistakes(predictions: Mapping[str, pd.DataFrame], chosen: str, most: int) -> pd.DataFrame:
    """Find the galaxies that the chosen experiment answers most surely and wrongly.

    Parameters
    ----------
    predictions
        Experiment to the predictions of one split, the same galaxies in each.
    chosen
        One of them.
    most
        How many galaxies are wanted.

    Returns
    -------
    pandas.DataFrame
        `CATAID`, `label`, `predicted`, `p_elliptical`; `wrong` (how many experiments, this one included, answer
        against the label), `of` (how many there are), and `also_wrong` (the names of the others, joined by `, `). The
        surest mistake comes first; of equally sure ones, the first by CATAID.
    """
    own = predictions[chosen]
    sure = np.maximum(own["p_elliptical"], 1 - own["p_elliptical"])  # what it gives the class that it answers
    wrong = own.assign(sure=sure)[own["predicted"] != own["label"]]
    found = wrong.sort_values(["sure", "CATAID"], ascending=[False, True], ignore_index=True).head(most)
    others = {
        name: set(table.loc[table["predicted"] != table["label"], "CATAID"])
        for name, table in predictions.items()
        if name != chosen
    }
    also = [[name for name, missed in others.items() if cataid in missed] for cataid in found["CATAID"]]
    return found[["CATAID", "label", "predicted", "p_elliptical"]].assign(
        wrong=[1 + len(names) for names in also],
        of=len(predictions),
        also_wrong=[", ".join(names) for names in also],
    )


def mistakes_figure(mistakes: pd.DataFrame, images: list[np.ndarray], title: str) -> Figure:
    """Draw the mistakes as a sheet.

    Parameters
    ----------
    mistakes
        What `confident_mistakes` gave.
    images
        `(H, W, 3)` uint8 RGB of each.
    title
        Stands above them.
    """
    tiles = [
        Tile(
            image,
            f"{row['CATAID']}\nlabel {row['label']}\np(Elliptical) = {row['p_elliptical']:.3f}\n"
            f"{row['wrong']} of {row['of']} wrong",
        )
        for row, image in zip(mistakes.to_dict("records"), images, strict=True)
    ]
    return sheet(tiles, title)
