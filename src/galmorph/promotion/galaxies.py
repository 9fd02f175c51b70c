"""Which galaxies two versions can be compared on, and how they compare there.

A galaxy that the champion learned from is answered too well by it: such galaxies are left out. An image is named by the
SHA-256 of its file, so that two catalogues which number their galaxies alike are never taken for one.
"""

from dataclasses import dataclass

import pandas as pd

from galmorph.errors import InputError

#: Of the tables that a version keeps: what it answered on the scored split, and what it was trained and chosen on.
SCORED = ("CATAID", "label", "p_elliptical", "predicted", "sha256")
TAUGHT = ("CATAID", "split", "sha256")


@dataclass(frozen=True)
class Paired:
    """The candidate and the champion on the same galaxies.

    Attributes
    ----------
    galaxies
        Of the candidate's scored split.
    taught
        Left out, as the champion was trained or chosen on them.
    stored, asked
        Compared: by the champion's stored answers, and by asking its model now.
    unanswered
        Left out, as there is neither a stored answer nor an image.
    b, c
        McNemar's discordant counts: galaxies that the champion alone, and that the candidate alone answered rightly.
    """

    galaxies: int
    taught: int
    stored: int
    asked: int
    unanswered: int
    b: int
    c: int

    @property
    def compared(self) -> int:
        """How many galaxies both have answered."""
        return self.stored + self.asked


def scored_galaxies(predictions: pd.DataFrame, scored_split: str, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return what a version answered on the split that it is scored on.

    Parameters
    ----------
    predictions
        Of every split that was answered.
    scored_split
        `test`, or `validation` where the published split has no other.
    manifest
        Names the raw image of every galaxy.

    Returns
    -------
    pandas.DataFrame
        The columns of `SCORED`, sorted by CATAID.

    Raises
    ------
    InputError
        When a galaxy is not an accepted one of the manifest.
    """
    rows = predictions[predictions["split"] == scored_split]
    return _with_image(rows, manifest)[list(SCORED)].sort_values("CATAID", ignore_index=True)


def taught_galaxies(splits: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the galaxies that a version was trained on, and those that it was chosen and calibrated by.

    Returns
    -------
    pandas.DataFrame
        The columns of `TAUGHT`, sorted by CATAID.

    Raises
    ------
    InputError
        As `scored_galaxies`.
    """
    rows = splits[splits["split"].isin(["train", "validation"])]
    return _with_image(rows, manifest)[list(TAUGHT)].sort_values("CATAID", ignore_index=True)


def _with_image(rows: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    accepted = manifest.loc[manifest["accepted"].to_numpy(bool), ["CATAID", "sha256"]]
    joined = rows.merge(accepted, on="CATAID", how="left", validate="one_to_one")
    if joined["sha256"].isna().any():
        unknown = joined.loc[joined["sha256"].isna(), "CATAID"]
        raise InputError(
            f"manifest: galaxy {unknown.iloc[0]} is not an accepted one of it. Run `dvc repro`, so that splits, "
            f"predictions and manifest belong together. Received: {len(unknown)} such galaxies"
        )
    return joined


def untaught(scored: pd.DataFrame, taught: pd.DataFrame) -> pd.DataFrame:
    """Return the candidate's scored galaxies that the champion was not taught, by id or by image."""
    known = scored["CATAID"].isin(taught["CATAID"]) | scored["sha256"].isin(taught["sha256"])
    return scored[~known.to_numpy(bool)].reset_index(drop=True)


def unanswered(galaxies: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return the galaxies whose image the champion has no stored answer for."""
    return galaxies[~galaxies["sha256"].isin(answers["sha256"])].reset_index(drop=True)


def pair(scored: pd.DataFrame, taught: pd.DataFrame, stored: pd.DataFrame, asked: pd.DataFrame) -> Paired:
    """Compare two versions on the galaxies that are fair to both.

    Parameters
    ----------
    scored
        What the candidate answered; see `scored_galaxies`.
    taught
        What the champion learned from; see `taught_galaxies`.
    stored, asked
        `sha256` and `predicted` of the champion: what it answered when it was scored, and now. An image that is in
        both counts as stored.
    """
    fair = untaught(scored, taught)
    parts = {
        "stored": fair.merge(_answers(stored), on="sha256", suffixes=("", "_champion")),
        "asked": unanswered(fair, stored).merge(_answers(asked), on="sha256", suffixes=("", "_champion")),
    }
    both = pd.concat(parts.values(), ignore_index=True)
    right = (both["predicted"] == both["label"]).to_numpy(bool)
    champion_right = (both["predicted_champion"] == both["label"]).to_numpy(bool)
    return Paired(
        galaxies=len(scored),
        taught=len(scored) - len(fair),
        stored=len(parts["stored"]),
        asked=len(parts["asked"]),
        unanswered=len(fair) - len(both),
        b=int((champion_right & ~right).sum()),
        c=int((right & ~champion_right).sum()),
    )


def _answers(table: pd.DataFrame) -> pd.DataFrame:
    # Exact copies share a file: one answer serves them all.
    return table[["sha256", "predicted"]].drop_duplicates("sha256")
