"""Reading a split's images as one array, prepared for a model; in memory, or in a file where that is too small.

A cache file holds nothing but the array, under a name that says what was prepared from what. It is written under a
temporary name and renamed: there is no half of one, and a later process of the same work takes it as it is.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from galmorph.data.dataset import context_size, prepare
from galmorph.edge.memory import free_memory
from galmorph.parallel import progress, worker_count
from galmorph.params import Fill, PreprocessParams
from galmorph.storage import fingerprint, image_path, read_image, replacing

#: Images that are decoded ahead of the writer: enough for every core, few enough for flat memory.
_AHEAD = 256


def prepared_images(
    folder: Path,
    cataids: Iterable[str],
    params: PreprocessParams,
    description: str,
    *,
    context: float = 1.0,
    fill: Fill = "black",
    cache: Path | None = None,
) -> np.ndarray:
    """Read, crop and resize the images of some galaxies, decoded once.

    Parameters
    ----------
    folder, cataids
        Where the images lie, and whose are wanted.
    params, context, fill
        See `galmorph.data.dataset.prepare`.
    description
        What the progress bar says.
    cache
        A folder for a file that holds the array, when it shall not be in memory; see `cache_for`. The folder is the
        caller's, to be given again after an interruption and removed when the array is no longer needed
        (`remove_cache`).

    Returns
    -------
    numpy.ndarray
        `(N, S, S, 3)` uint8, in the order of `cataids`, S = `context_size(image_size, context)`. With `cache` it is
        a read-only memory map.

    Raises
    ------
    InputError, ImageError
        When an image is missing or broken; the message names the file.
    StorageError
        When the cache does not fit on the disk.
    """
    paths = [image_path(folder, cataid) for cataid in cataids]
    size = context_size(params.image_size, context)
    shape = (len(paths), size, size, 3)

    def read(path: Path) -> np.ndarray:
        return prepare(read_image(path), params, context=context, fill=fill)

    decoded = progress(_in_threads(read, paths), len(paths), description)
    if cache is None:
        images = np.empty(shape, np.uint8)
        for index, image in enumerate(decoded):
            images[index] = image
        return images
    work = fingerprint([_identity(path) for path in paths], params.model_dump(), context, fill)
    file = cache / f"images-{work[:16]}.npy"
    if not file.exists():
        for half_written in cache.glob(f".{file.stem}.*.partial*"):
            half_written.unlink()
        _write_array(file, shape, decoded)
    return np.load(file, mmap_mode="r") if len(paths) else np.empty(shape, np.uint8)


def _in_threads(read: Callable[[Path], np.ndarray], paths: list[Path]) -> Iterator[np.ndarray]:
    """Read in threads, not processes: decoding and resizing run outside Python's lock, and arrays need not travel."""
    with ThreadPoolExecutor(worker_count()) as pool:
        for start in range(0, len(paths), _AHEAD):
            yield from pool.map(read, paths[start : start + _AHEAD])


def _identity(path: Path) -> tuple[str, int, int] | None:
    """Name, size and time of a file; None for one that is missing, which is an error when it is read."""
    status = path.stat() if path.exists() else None
    return status and (path.name, status.st_size, status.st_mtime_ns)


def _write_array(file: Path, shape: tuple[int, ...], images: Iterable[np.ndarray]) -> None:
    """Write images one after the other as one `.npy` array.

    Not through a memory map: on a full disk that would end the process with a bus error.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    with replacing(file) as temporary, temporary.open("wb") as content:
        np.lib.format.write_array_header_2_0(content, header)
        for image in images:
            content.write(image.tobytes())


def cache_for(folder: Path, count: int, params: PreprocessParams, context: float, memory_share: float) -> Path | None:
    """Say where prepared images shall be held: in memory, or in a file.

    Parameters
    ----------
    folder
        A working folder of the caller's.
    count, params, context
        How many images, and of what size.
    memory_share
        Of the memory that is free now, that they may take.

    Returns
    -------
    Path or None
        `folder` when they need more; None, which stands for memory, when they do not.
    """
    size = context_size(params.image_size, context)
    return folder if count * size * size * 3 > memory_share * free_memory() else None


def remove_cache(folder: Path) -> None:
    """Remove the cached arrays from a working folder, whole ones and what an interrupted run left."""
    for file in [*folder.glob("images-*.npy"), *folder.glob(".images-*.partial*")]:
        file.unlink(missing_ok=True)
