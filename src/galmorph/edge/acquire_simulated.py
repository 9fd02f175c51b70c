"""Fill data/raw from source `simulate`."""

from pathlib import Path

from galmorph.params import AcquireParams


def fill(folder: Path, params: AcquireParams) -> None:
    """Write `catalogue.csv` and `images/<CATAID>.png` into `folder`, going on with what is there."""
