"""Fill data/raw from source `simulate`."""

from functools import partial
from pathlib import Path

import pandas as pd

from galmorph import storage
from galmorph.parallel import map_ordered
from galmorph.params import AcquireParams, SimulateParams


def fill(folder: Path, params: AcquireParams) -> None:
    """Write `catalogue.csv`, `images/<CATAID>.png` and, where it is kept, `noise_free/<CATAID>.png` into `folder`.

    Galaxies whose images are there are not rendered again. That is safe, because an image is written whole or not at
    all, and each depends on the parameters and its index alone.
    """
    indices = range(params.simulate.galaxies)
    rows = list(map_ordered(partial(_make, folder=folder, params=params.simulate), indices, "simulate"))
    storage.write_table(folder / "catalogue.csv", pd.DataFrame(rows))


def _make(index: int, folder: Path, params: SimulateParams) -> dict[str, object]:
    """Write the images of one galaxy that are missing; return its row of the catalogue."""
    from galmorph.data.galaxy import truth
    from galmorph.data.simulate import draw_galaxy

    galaxy = draw_galaxy(index, params)
    image_path = storage.image_path(folder / "images", galaxy.cataid)
    if not image_path.exists():
        from galmorph.data.render import cutout

        image, noise_free = cutout(galaxy, params)
        if params.keep_noise_free:
            storage.write_image(storage.image_path(folder / "noise_free", galaxy.cataid), noise_free)
        # Last: an image that is there says that the galaxy is done.
        storage.write_image(image_path, image)
    return truth(galaxy)
