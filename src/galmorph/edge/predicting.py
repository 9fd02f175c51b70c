"""`galmorph predict`: images in a folder, tar or zip to a table of answers keyed by CATAID."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from galmorph.data.shard import WHOLE, Shard
from galmorph.params import PredictParams


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes
    ----------
    model
        An exported folder, `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
    images
        A folder, tar or zip.
    output
        The table, `.parquet`. What lies beside it: `<stem>.rejected.csv`, and `<stem>.heat_maps.parquet` if asked for.
    catalogue
        CSV, FITS, VOTable or Parquet with a column of ids; None: every image.
    shard
        Which share of the galaxies.
    heat_maps
        Whether heat maps are wanted.
    exports
        Further files of the same table: FITS or VOTable, told by the suffix.
    denoised
        Whether the images went through the denoiser of the model's variant already.
    """

    model: str
    images: Path
    output: Path
    catalogue: Path | None = None
    shard: Shard = WHOLE
    heat_maps: bool = False
    exports: tuple[Path, ...] = ()
    denoised: bool = False


@dataclass(frozen=True)
class Summary:
    """What became of it.

    Attributes
    ----------
    answered, rejected
        Galaxies with an answer; rows of the catalogue and files without one.
    near_threshold
        Answers that a person should look at.
    labels
        Answers of each label.
    output, rejects
        The table, and the list of what was rejected.
    """

    answered: int
    rejected: int
    near_threshold: int
    labels: dict[str, int]
    output: Path
    rejects: Path


def predict(asked: Asked, params: PredictParams) -> Summary:
    """Answer the images, and leave the table, what was rejected, and what else was asked for."""
    raise NotImplementedError


def merge(parts: Sequence[Path], output: Path, expected: Sequence[str] | None) -> Summary:
    """Join the tables of all shards into one, after checking that no galaxy is lost or doubled."""
    raise NotImplementedError
