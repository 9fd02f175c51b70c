"""Answers of a model to cutouts as they come."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from galmorph.data.dataset import classes_of, prepare_raw
from galmorph.edge.model_source import load_source
from galmorph.models.predict import predict_batches


def answer_cutouts(source: str, cutouts: Iterable[np.ndarray], batch_size: int) -> list[str]:
    """Let a model answer raw cutouts, a batch in memory at a time.

    Parameters
    ----------
    source
        The model; see `model_source.load_source`.
    cutouts
        `(H, W, 3)` uint8 RGB each.

    Returns
    -------
    list of str
        `Elliptical` or `Other`, in their order.
    """
    loaded = load_source(source)
    facts = loaded.facts

    def batches() -> Iterator[np.ndarray]:
        left = iter(cutouts)
        while batch := [prepare_raw(cutout, facts.preprocess, facts.denoiser) for cutout in islice(left, batch_size)]:
            yield np.stack(batch)

    return [label for _, p in predict_batches(loaded.model, batches()) for label in classes_of(p).tolist()]
