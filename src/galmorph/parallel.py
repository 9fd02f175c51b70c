"""One function over many items, on all cores, in order, with progress and flat memory."""

import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TypeVar

from tqdm import tqdm

from galmorph.cpu import core_count
from galmorph.errors import GalmorphError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items in flight per worker: enough to keep it busy, few enough to keep memory flat.
_IN_FLIGHT = 4
#: glibc's names (malloc.h), and the size of arrays up to which a worker keeps what it frees.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 * 2**20


def worker_count() -> int:
    """How many processes to use: `GALMORPH_WORKERS`, else the cores that this process may use."""
    asked = os.environ.get("GALMORPH_WORKERS", "")
    if asked and not (asked.isdigit() and int(asked) > 0):
        raise GalmorphError(f"GALMORPH_WORKERS must be a whole number from 1 up. Received: {asked!r}")
    return int(asked) if asked else core_count()


def progress(items: Iterator[Item], total: int, description: str, unit: str = "galaxies") -> Iterator[Item]:
    """Show progress over `items`: a bar on a terminal, a plain line every ten seconds elsewhere."""
    terminal = sys.stderr.isatty()
    bar = tqdm(
        items,
        total=total,
        desc=description,
        unit=f" {unit}",
        mininterval=0.2 if terminal else 10,
        miniters=None if terminal else 1,
        ascii=not terminal,
        ncols=None if terminal else 0,
        file=_LineWriter() if not terminal else None,
    )
    yield from bar


class _LineWriter:
    """A stream for `tqdm` that ends each report with a new line, where there is no terminal to redraw on."""

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        return sys.stderr.write(line + "\n") if line else 0

    def flush(self) -> None:
        sys.stderr.flush()


def map_ordered(
    function: Callable[[Item], Result], items: Collection[Item], description: str, unit: str = "galaxies"
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of `items`.

    Parameters
    ----------
    function
        A function that can be pickled (module level, or a `functools.partial` of one). Under more than one worker it
        runs in fresh processes, so it must not need anything set up in this one.
    items
        What to call it with.
    description, unit
        What the progress bar says.

    Raises
    ------
    GalmorphError
        When a worker process was killed (most often: out of memory).
    """
    workers = min(worker_count(), len(items))
    if workers <= 1:
        yield from progress(map(function, items), len(items), description, unit)
        return
    # "spawn": forking a process that runs threads (OpenCV, TensorFlow, MLflow) can deadlock the child.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        try:
            yield from progress(_windowed(pool, function, items, workers * _IN_FLIGHT), len(items), description, unit)
        except BrokenProcessPool as error:
            raise GalmorphError(
                f"{description}: a worker process died, most often because memory ran out. What was finished is kept: "
                f"run the same command again with fewer processes, GALMORPH_WORKERS={max(1, workers // 2)}."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _windowed(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Collection[Item], window: int
) -> Iterator[Result]:
    remaining = iter(items)
    running: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(remaining, window))
    while running:
        yield running.popleft().result()
        running.extend(pool.submit(function, item) for item in islice(remaining, 1))


def _start_worker() -> None:
    """Keep libraries to one thread a process, since the processes fill the cores; and end with the parent."""
    import cv2

    cv2.setNumThreads(1)
    _keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _keep_freed_memory() -> None:
    """Let this process reuse the large arrays it frees instead of giving them back at once.

    By default glibc asks the kernel for every array above 128 KiB anew, and the kernel clears each page again: with one
    process a core they wait for each other there (total variation: 1.5 times the speed on two cores, 1.8 so).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)


def _end_with_parent() -> None:
    """Wait for the parent, and end: a killed parent tells its workers nothing, they would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
