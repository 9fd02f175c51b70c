"""What an image that carries nothing looks like."""

import numpy as np
import pytest

from galmorph.explain.baselines import baselines

SKY, SIDE = (12.0, 20.0, 31.0), 64


@pytest.fixture
def galaxy():
    """A bright galaxy in the middle of a coloured sky with noise."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    light = 200 * np.exp(-np.hypot(rows, columns) / 4)
    noise = np.random.default_rng(0).normal(0, 1.5, (SIDE, SIDE, 3))
    return np.clip(light[..., None] + SKY + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["black", "sky", "blurred"])
def test_an_image_for_every_image(galaxy, kind):
    for images in (np.stack([galaxy, galaxy]), galaxy[None][:0]):
        made = baselines(images, kind)
        assert (made.shape, made.dtype) == (images.shape, np.float32)
        assert ((made >= 0) & (made <= 255)).all()


def test_black_is_zero(galaxy):
    assert not baselines(galaxy[None], "black").any()


def test_the_sky_is_the_images_own_and_the_galaxy_is_gone(galaxy):
    (made,) = baselines(galaxy[None], "sky")
    assert (made == made[0, 0]).all(), "one colour"
    np.testing.assert_allclose(made[0, 0], SKY, atol=1)
    assert galaxy.mean() > made.mean() + 3, "else the mean would do as well"


def test_every_image_has_its_own_sky(galaxy):
    brighter = np.clip(galaxy.astype(int) + 40, 0, 255).astype(np.uint8)
    made = baselines(np.stack([galaxy, brighter]), "sky")
    np.testing.assert_allclose(made[1] - made[0], 40, atol=1)


def test_blurring_leaves_the_light_and_takes_the_structure(galaxy):
    (made,) = baselines(galaxy[None], "blurred")
    assert made.mean() == pytest.approx(galaxy.mean(), rel=0.02)
    assert made.max() < 0.5 * galaxy.max()
    assert made[SIDE // 2, SIDE // 2].sum() > 1.2 * made[0, 0].sum(), "it is still brighter in the middle"
