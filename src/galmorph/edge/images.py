"""Reading a split's images as one array, prepared for a model."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from galmorph.data.dataset import prepare
from galmorph.parallel import progress, worker_count
from galmorph.params import PreprocessParams
from galmorph.storage import image_path, read_image


def prepared_images(folder: Path, cataids: Iterable[str], params: PreprocessParams, description: str) -> np.ndarray:
    """Read, crop and resize the images of some galaxies, decoded once.

    Returns
    -------
    numpy.ndarray
        `(N, image_size, image_size, 3)` uint8, in the order of `cataids`.

    Raises
    ------
    InputError, ImageError
        When an image is missing or broken; the message names the file.
    """
    paths = [image_path(folder, cataid) for cataid in cataids]
    images = np.empty((len(paths), params.image_size, params.image_size, 3), np.uint8)
    # Threads: decoding and resizing run outside Python's lock, and the array need not travel between processes.
    with ThreadPoolExecutor(worker_count()) as pool:
        prepared = pool.map(lambda path: prepare(read_image(path), params), paths)
        for index, image in enumerate(progress(prepared, len(paths), description)):
            images[index] = image
    return images
