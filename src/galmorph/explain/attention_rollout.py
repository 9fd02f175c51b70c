"""Attention rollout: which patches a transformer's answer drew on."""

import cv2
import keras
import numpy as np

from galmorph.explain.base import Attributions, Explainer
from galmorph.models.vit import Attention


class AttentionRollout(Explainer):
    """Attention, followed from the class token back through all blocks.

    In each block the heads are averaged, and half of the identity is added for the skip connection; the product over
    the blocks says how much of each patch is in the class token at the end. It is the same for either class: it tells
    where the model looked, not what spoke for the answer. Departures from the paper: none. The map of patches is
    enlarged to the image bilinearly.

    Parameters
    ----------
    model
        A galmorph `vit`.
    batch_size
        Images at a time.

    Raises
    ------
    ModelError
        When the model has no attention.

    References
    ----------
    Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers", ACL, arXiv:2005.00928.
    """

    name = "attention_rollout"
    title = "Attention rollout"
    meaning = "the share of the answer's token that comes from the patch around a pixel"
    classless = True

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        super().__init__(model, batch_size)
        self._attention = Attention(model)

    def _attribute(
        self,
        images: np.ndarray,
        signs: np.ndarray,  # noqa: ARG002 - attention is the same for either class
    ) -> Attributions:
        maps = np.empty(images.shape[:3], np.float32)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            for at, patches in enumerate(rollout(self._attention(images[part], self.batch_size)), start):
                maps[at] = cv2.resize(patches, maps.shape[1:], interpolation=cv2.INTER_LINEAR)
        return Attributions(maps)


def rollout(weights: np.ndarray) -> np.ndarray:
    """Follow attention from the class token back to the patches.

    Parameters
    ----------
    weights
        `(N, depth, heads, T, T)`, rows sum to 1, T - 1 a square number; token 0 is the class token.

    Returns
    -------
    numpy.ndarray
        `(N, side, side)` float32; with the class token's own share each adds up to 1.
    """
    tokens = weights.shape[-1]
    mixed = 0.5 * weights.mean(2) + 0.5 * np.eye(tokens, dtype=weights.dtype)  # (N, depth, T, T)
    flow = mixed[:, 0, :, :]
    for block in range(1, mixed.shape[1]):
        flow = mixed[:, block] @ flow
    side = round((tokens - 1) ** 0.5)
    return np.asarray(flow[:, 0, 1:].reshape(-1, side, side), np.float32)
