"""Attention rollout against attention worked out by hand."""

import numpy as np
import pytest

from galmorph.errors import ModelError
from galmorph.explain.attention_rollout import AttentionRollout, rollout


def test_rollout_against_two_blocks_worked_out_by_hand():
    """Two heads, one patch: the class token keeps a half of itself in each block, and takes what attention gives it."""
    first = np.array(
        [[[0.2, 0.8], [0.0, 1.0]], [[0.6, 0.4], [0.0, 1.0]]]
    )  # the mean of the heads gives 0.6 to the patch
    second = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])  # and 0.5
    weights = np.stack([first, second])[None]
    # block 1: class ← 0.7 class + 0.3 patch; block 2: class ← 0.75 class + 0.25 patch
    expected = 0.75 * 0.3 + 0.25 * 1.0
    assert rollout(weights)[0, 0, 0] == pytest.approx(expected)


def test_rollout_looks_where_attention_was():
    """All attention on one patch of four: it alone has a share, in its place."""
    weights = np.tile(np.eye(5), (1, 1, 1, 1, 1))
    weights[..., 0, :] = [0, 0, 0, 1, 0]
    np.testing.assert_allclose(rollout(weights)[0], [[0, 0], [0.5, 0]])


def test_a_model_without_attention_has_no_rollout(model, galaxies):
    with pytest.raises(ModelError, match="no attention"):
        AttentionRollout(model, 4).explain(galaxies, ["Other"] * 5)
