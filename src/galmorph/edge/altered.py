"""Reading cutouts and changing them, in processes of their own: nothing here loads TensorFlow."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from galmorph import parallel, storage
from galmorph.params import DenoiserParams, PreprocessParams

if TYPE_CHECKING:  # loaded in the workers, and where they are used
    from galmorph.evaluation.degrade import Setting


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


def degraded_views(
    raw: Path,
    cataids: Sequence[str],
    settings: "Sequence[Setting]",
    denoiser: DenoiserParams | None,
    preprocess: PreprocessParams,
    seed: int,
) -> Iterator[np.ndarray]:
    """Yield what the model sees of each cutout in each setting, and first of the cutout as it is.

    A denoiser comes after the change, as it would come after any telescope.

    Parameters
    ----------
    raw
        The folder of the raw images.
    denoiser
        Of the model's variant; None for `raw`.

    Yields
    ------
    numpy.ndarray
        `(1 + len(settings), image_size, image_size, 3)` uint8.
    """
    work = partial(_degraded_view, raw, tuple(settings), denoiser, preprocess, seed)
    yield from parallel.map_ordered(work, cataids, "degrading cutouts")


def _degraded_view(
    raw: Path,
    settings: "tuple[Setting, ...]",
    denoiser: DenoiserParams | None,
    preprocess: PreprocessParams,
    seed: int,
    cataid: str,
) -> np.ndarray:
    from galmorph.data.dataset import prepare
    from galmorph.evaluation.degrade import degrade, view

    def denoised(image: np.ndarray) -> np.ndarray:
        if denoiser is None:
            return image
        from galmorph.data.denoise import denoise

        return denoise(image, denoiser)

    image = storage.read_image(storage.image_path(raw, cataid))
    asis = denoised(image)
    views = [prepare(asis, preprocess)]
    for setting in settings:
        changed = degrade(image, setting, seed, cataid)
        # What is left as it is (a zoom looks at the frame, and does not change it) need not be denoised again.
        views.append(view(asis if changed is image else denoised(changed), setting, preprocess))
    return np.stack(views)
