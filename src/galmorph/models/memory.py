"""What is said when memory runs out."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from galmorph.errors import OutOfMemoryError


@contextlib.contextmanager
def named_memory_errors(remedy: str) -> Iterator[None]:
    """Turn "out of memory", the machine's or the GPU's, into an `OutOfMemoryError` with a remedy.

    Parameters
    ----------
    remedy
        What to change, in sentences; see `smaller_batches`.
    """
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise OutOfMemoryError(f"memory ran out. {remedy} Received: {_gist(error):.200}") from error


def smaller_batches(section: str, batch_size: int) -> str:
    """Return the remedy where a section's `batch_size` says how many images are answered at a time."""
    return f"Lower {section}.batch_size (now {batch_size}) and run again, or run it where more memory is free."


def _gist(error: BaseException) -> str:
    """Return the line that says what was asked for; TensorFlow's own begins with the place in the graph."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line.strip() for line in lines if "OOM" in line), lines[0])
