"""Occlusion against maps worked out by hand."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from galmorph.explain.answers import LogitAnswerer
from galmorph.explain.occlusion import Occlusion, squares
from galmorph.models.layers import with_probability
from galmorph.params import OcclusionParams

SIDE = 8


def seeing(weights: np.ndarray) -> keras.Model:
    """A model whose logit is the sum of weight times red."""
    image = keras.Input((SIDE, SIDE, 3), name="image")
    logit = keras.layers.Dense(1, use_bias=False, name="logit")(keras.layers.Flatten()(image))
    made = with_probability(keras.Model(image, logit), 1.0)
    kernel = np.zeros((SIDE, SIDE, 3), np.float32)
    kernel[..., 0] = weights
    made.get_layer("logit").set_weights([kernel.reshape(-1, 1)])
    return made


def occlusion(weights, patch, stride, batch_size=4, hidden="black") -> Occlusion:
    params = OcclusionParams(patch=patch / SIDE, stride=stride / SIDE, hidden=hidden)
    return Occlusion(seeing(weights), params, batch_size)


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(1, 255, (1, SIDE, SIDE, 3)).astype(np.float32)


def test_the_drop_of_a_patchs_mean_is_its_pixels_evidence(image):
    weights = np.zeros((SIDE, SIDE))
    weights[2:4, 4:6] = 1 / 4
    expected = np.zeros((1, SIDE, SIDE))
    expected[0, 2:4, 4:6] = image[0, 2:4, 4:6, 0].mean()
    explainer = occlusion(weights, 2, 2)
    np.testing.assert_allclose(explainer.explain(image, ["Elliptical"]), expected, rtol=1e-5)
    np.testing.assert_allclose(explainer.explain(image, ["Other"]), -expected, rtol=1e-5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 7), (7, 3), (4, 4)])
def test_a_pixel_gets_the_mean_over_the_squares_that_cover_it_at_the_border_too(image, row, column):
    """Evidence in one pixel: its square holds all of it, and a neighbour the share of its squares that cover it."""
    weights = np.zeros((SIDE, SIDE))
    weights[row, column] = 0.1
    drop = image[0, row, column, 0] * 0.1
    expected = np.zeros((SIDE, SIDE))
    for y in range(SIDE):
        for x in range(SIDE):
            over = [
                top <= row < top + 2 and left <= column < left + 2
                for top in range(SIDE - 1)
                for left in range(SIDE - 1)
                if top <= y < top + 2 and left <= x < left + 2
            ]
            expected[y, x] = drop * np.mean(over)
    assert expected[row, column] == pytest.approx(drop)
    made = occlusion(weights, 2, 1).explain(image, ["Elliptical"])[0]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("patch", "stride", "starts"), [(2, 2, [0, 2, 4, 6]), (3, 2, [0, 2, 4, 5]), (8, 8, [0])])
def test_the_last_squares_end_at_the_edge(patch, stride, starts):
    side, corners = squares(SIDE, OcclusionParams(patch=patch / SIDE, stride=stride / SIDE, hidden="black"))
    assert side == patch
    assert corners.tolist() == [[top, left] for top in starts for left in starts]


@pytest.mark.parametrize("side", [1, 7, 64, 101])
def test_every_pixel_is_covered_whatever_the_shares(side):
    rng = np.random.default_rng(side)
    for _ in range(20):
        patch = rng.uniform(0.01, 1)
        pixels, corners = squares(side, OcclusionParams(patch=patch, stride=rng.uniform(0.005, patch), hidden="black"))
        covered = np.zeros((side, side), bool)
        for top, left in corners:
            assert 0 <= top <= side - pixels
            assert 0 <= left <= side - pixels
            covered[top : top + pixels, left : left + pixels] = True
        assert covered.all()


def test_an_image_of_one_colour_has_nothing_to_hide():
    flat = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    assert (
        not occlusion(np.random.default_rng(1).normal(size=(SIDE, SIDE)), 3, 1, hidden="sky")
        .explain(flat, ["Elliptical"])
        .any()
    )


def test_no_more_images_than_a_batch_are_made_at_once(image, monkeypatch):
    lengths = []
    logits = LogitAnswerer.logits

    def counted(self, batches):
        return logits(self, (lengths.append(len(batch)) or batch for batch in batches))

    monkeypatch.setattr(LogitAnswerer, "logits", counted)
    occlusion(np.ones((SIDE, SIDE)), 2, 1, batch_size=10).explain(image, ["Other"])
    assert sum(lengths) == 49 + 1
    assert max(lengths) == 10


def test_an_answer_is_to_the_bit_the_same_alone_and_in_company(image):
    explainer = occlusion(np.random.default_rng(1).normal(size=(SIDE, SIDE)), 3, 2)
    three = np.concatenate([image, image[:, ::-1], image[:, :, ::-1]])
    together = explainer.explain(three, ["Other"] * 3)
    for at in range(3):
        np.testing.assert_array_equal(explainer.explain(three[at : at + 1], ["Other"])[0], together[at])


def test_a_stride_past_the_square_is_refused():
    with pytest.raises(ValidationError, match=r"stride must be at most patch, 0\.2.*Received: 0\.3"):
        OcclusionParams(patch=0.2, stride=0.3, hidden="black")
