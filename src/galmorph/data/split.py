"""Which galaxies a model learns from, is chosen by, and is scored on."""

import hashlib
from fractions import Fraction

import numpy as np
import pandas as pd

from galmorph.errors import SplitError
from galmorph.params import Fractions, SplitParams

SPLITS = ("train", "validation", "test")
_LABELS = ("Elliptical", "Other")

#: Share of the catalogue that the published study trained on: its first four fifths, the rest validated. It is what
#: `method: published` means, so it is no parameter. On the published label file (5,900 galaxies) the last fifth holds
#: the 567 Elliptical and 613 Other that the published ResNet50 results were scored on.
PUBLISHED_TRAIN = Fraction(4, 5)


def assign_splits(manifest: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """Assign each accepted galaxy to train, validation or test.

    `stable`: the split of a galaxy depends on nothing but `params` and the id of its near-duplicate group, so that
    images of one galaxy stay together and nothing moves when the catalogue grows or is reordered. (One exception has
    to be: a new galaxy that turns out a near duplicate of older ones, and becomes the name of their group, takes them
    along.) The shares of the splits are `params.fractions` on average, not exactly.

    `published`: the first four fifths of the labelled rows train, the others validate, in the order of the catalogue;
    rows that were rejected are dropped after the cut, so that it falls where the published one fell. There is no test
    split, and `params.fractions`, `params.seed` and groups play no part.

    Parameters
    ----------
    manifest
        One row a galaxy, in the order of the catalogue, with the columns `CATAID` (text), `label` (`Elliptical`,
        `Other` or empty), `accepted` (bool) and, for `stable`, `group` (text).
    params
        Method, seed, shares, and what is checked afterwards.

    Returns
    -------
    pandas.DataFrame
        Columns `CATAID` and `split` (`train`, `validation` or `test`): the accepted galaxies in the order given.

    Raises
    ------
    SplitError
        When no galaxy was accepted, an accepted id is there twice, a split that should hold galaxies holds fewer than
        `params.min_per_class` of a class, or a split's share of Elliptical is further than `params.max_imbalance`
        from the whole set's.
    """
    accepted = manifest["accepted"].to_numpy(bool)
    galaxies = manifest[accepted]
    _check_galaxies(galaxies)
    if params.method == "published":
        wanted: tuple[str, ...] = SPLITS[:2]
        split = _published(manifest["label"].isin(_LABELS).to_numpy(bool))[accepted]
    else:
        wanted = tuple(name for name in SPLITS if getattr(params.fractions, name) > 0)
        split = _stable(galaxies["group"], params.seed, params.fractions)
    splits = pd.DataFrame({"CATAID": galaxies["CATAID"].to_numpy(), "split": split})
    _check_balance(galaxies["label"].to_numpy(), split, wanted, params)
    return splits


def uniform(seed: int, name: str) -> float:
    """Map a name to a number that is uniform on [0, 1) over names, the same on every machine and in every version.

    Parameters
    ----------
    seed
        Another seed gives independent numbers.
    name
        Any text.

    Returns
    -------
    float
        The first 53 bits (all that a float holds, so that 1 is never reached) of the SHA-256 of `"<seed>:<name>"`.
    """
    head = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]
    return (int.from_bytes(head, "big") >> 11) / 2**53


def _stable(groups: pd.Series, seed: int, fractions: Fractions) -> np.ndarray:
    shares = {name: share for name, share in fractions.model_dump().items() if share > 0}
    names = np.array(list(shares), dtype=object)
    # The last split takes what is left: sums like 0.7 + 0.3 may fall short of 1 by a rounding error.
    edges = np.cumsum(list(shares.values()))[:-1]
    positions = [uniform(seed, group) for group in groups]
    return np.asarray(names[np.searchsorted(edges, positions, side="right")])


def _published(labelled: np.ndarray) -> np.ndarray:
    cut = int(labelled.sum() * PUBLISHED_TRAIN)
    return np.where(np.cumsum(labelled) <= cut, "train", "validation").astype(object)


def _check_galaxies(galaxies: pd.DataFrame) -> None:
    if galaxies.empty:
        raise SplitError(
            "No galaxy to split: validation accepted none. The manifest's column `reasons` says why of each row. "
            "Received: 0 accepted galaxies"
        )
    repeated = galaxies["CATAID"][galaxies["CATAID"].duplicated()]
    if len(repeated):
        raise SplitError(
            "An accepted CATAID is in the manifest more than once, so it could be in two splits. Run validate again. "
            f"Received: {', '.join(repeated.unique()[:5])}"
        )
    unlabelled = galaxies["CATAID"][~galaxies["label"].isin(_LABELS)]
    if len(unlabelled):
        raise SplitError(
            f"An accepted galaxy must be labelled {' or '.join(_LABELS)}. Run validate again. "
            f"Received: another label for {', '.join(unlabelled[:5])}"
        )


def _check_balance(labels: np.ndarray, split: np.ndarray, wanted: tuple[str, ...], params: SplitParams) -> None:
    counts = {name: {label: int(((split == name) & (labels == label)).sum()) for label in _LABELS} for name in wanted}
    received = "; ".join(
        f"{name} " + ", ".join(f"{count} {label}" for label, count in of.items()) for name, of in counts.items()
    )
    published = "The published split is the catalogue's order: shuffle it once, or use split.method: stable."
    short = [name for name, of in counts.items() if min(of.values()) < params.min_per_class]
    if short:
        stable = "Add galaxies, give the split a larger share (split.fractions), or lower split.min_per_class."
        raise SplitError(
            f"Too few galaxies: {' and '.join(short)} must hold at least {params.min_per_class} of each class. "
            f"{published if params.method == 'published' else stable} Received: {received}"
        )
    whole = float((labels == "Elliptical").mean())
    uneven = [
        name for name, of in counts.items() if abs(of["Elliptical"] / sum(of.values()) - whole) > params.max_imbalance
    ]
    if uneven:
        stable = "Add galaxies, choose another split.seed, or raise split.max_imbalance."
        raise SplitError(
            f"Uneven classes: the share of Elliptical in {' and '.join(uneven)} is more than {params.max_imbalance:g} "
            f"from the whole set's {whole:.3f}. {published if params.method == 'published' else stable} "
            f"Received: {received}"
        )
