"""Reading cutouts and changing them, in processes of their own: nothing here loads TensorFlow."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from galmorph import parallel, storage
from galmorph.params import PreprocessParams


def masked_views(
    images: Path, cataids: Sequence[str], preprocess: PreprocessParams, margin: float, seed: int
) -> Iterator[np.ndarray | None]:
    """Yield what the model sees of each cutout without its galaxy, and of the galaxy without its surroundings.

    Yields
    ------
    numpy.ndarray or None
        `(2, image_size, image_size, 3)` uint8; None where no galaxy is found.
    """
    work = partial(_masked_view, images, preprocess, margin, seed)
    yield from parallel.map_ordered(work, cataids, "masking galaxies")


def _masked_view(
    images: Path, preprocess: PreprocessParams, margin: float, seed: int, cataid: str
) -> np.ndarray | None:
    from galmorph.data.dataset import prepare
    from galmorph.evaluation.masking import masked

    found = masked(storage.read_image(storage.image_path(images, cataid)), margin, seed, cataid)
    if found is None:
        return None
    return np.stack([prepare(image, preprocess) for image in (found.without_galaxy, found.without_surroundings)])
