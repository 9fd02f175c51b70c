"""Answers of a model to cutouts as they come."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from galmorph.data.dataset import POSITIVE, prepare
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
    denoiser = loaded.facts.denoiser

    def prepared(cutout: np.ndarray) -> np.ndarray:
        if denoiser is None:
            return prepare(cutout, loaded.facts.preprocess)
        from galmorph.data.denoise import denoise

        return prepare(denoise(cutout, denoiser), loaded.facts.preprocess)

    def batches() -> Iterator[np.ndarray]:
        left = iter(cutouts)
        while batch := [prepared(cutout) for cutout in islice(left, batch_size)]:
            yield np.stack(batch)

    answers = [p for _, p_elliptical in predict_batches(loaded.model, batches()) for p in p_elliptical]
    return [POSITIVE if p >= 0.5 else "Other" for p in answers]
