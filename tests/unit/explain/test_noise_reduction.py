"""Smoothing of signed maps, by each of the six ways."""

import numpy as np
import pytest

from galmorph.explain.noise_reduction import reduce_noise

METHODS = ("gaussian", "median", "bilateral", "nlm", "tv", "wavelet")
#: What one level of a map's grey picture is worth, of its largest value.
LEVEL = 1 / 127


@pytest.fixture
def by(params):
    """The values of params.yaml, by method."""
    values = params.explain.integrated_gradients.noise_reduction
    return lambda method: values.model_copy(update={"method": method})


def blobs() -> np.ndarray:
    """Evidence for the class on the left, half as much against it on the right, `(1, 32, 32)`."""
    rows, columns = np.mgrid[:32, :32]
    spot = [np.exp(-((rows - 16) ** 2 + (columns - at) ** 2) / 18) for at in (8, 24)]
    return (spot[0] - 0.5 * spot[1])[None].astype(np.float32)


@pytest.fixture
def noisy():
    return blobs() + np.random.default_rng(6).normal(0, 0.08, (1, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_it_comes_nearer_to_the_map_without_noise(self, by, method, noisy):
        smooth = reduce_noise(noisy, by(method))
        assert smooth.dtype == np.float32
        assert np.std(smooth - blobs()) < 0.75 * np.std(noisy - blobs())

    def test_signs_stay(self, by, method, noisy):
        smooth = reduce_noise(noisy, by(method))[0]
        assert smooth[16, 8] > 0.6
        assert smooth[16, 24] < -0.25

    def test_the_opposite_gives_the_opposite(self, by, method, noisy):
        one, other = (reduce_noise(sign * noisy, by(method)) for sign in (1, -1))
        np.testing.assert_allclose(one, -other, atol=1.01 * LEVEL * np.abs(noisy).max())

    @pytest.mark.parametrize("unit", [1e-30, 1e-6, 1e6])
    def test_units_do_not_matter(self, by, method, noisy, unit):
        scaled = reduce_noise(noisy * np.float32(unit), by(method))
        expected = reduce_noise(noisy, by(method)) * np.float32(unit)
        np.testing.assert_allclose(scaled, expected, rtol=1e-3, atol=1.01 * LEVEL * unit)

    def test_an_empty_map_stays_empty(self, by, method):
        assert not reduce_noise(np.zeros((2, 32, 32), np.float32), by(method)).any()

    def test_a_level_map_stays_level(self, by, method):
        level = np.full((1, 32, 32), -0.3, np.float32)
        np.testing.assert_allclose(reduce_noise(level, by(method)), level, rtol=1e-5)

    def test_what_is_given_is_not_changed(self, by, method, noisy):
        before = noisy.copy()
        reduce_noise(noisy, by(method))
        np.testing.assert_array_equal(noisy, before)

    def test_maps_do_not_meet(self, by, method, noisy):
        together = reduce_noise(np.concatenate([noisy, 5 * blobs()]), by(method))
        np.testing.assert_array_equal(together[:1], reduce_noise(noisy, by(method)))

    def test_the_sum_is_kept_within_rounding_where_there_is_little_to_smooth(self, by, method):
        """Half a level for each pixel is what rounding alone may cost."""
        smooth = reduce_noise(blobs(), by(method))
        allowed = 1e-3 if method == "gaussian" else 0.5 * LEVEL * blobs().size
        assert float(smooth.sum()) == pytest.approx(float(blobs().sum()), abs=allowed)

    def test_no_map_gives_no_map(self, by, method):
        assert reduce_noise(np.empty((0, 8, 8), np.float32), by(method)).shape == (0, 8, 8)


def test_a_gaussian_keeps_the_sum_up_to_the_border(by):
    """A peak in the corner: what would leave is mirrored back."""
    corner = np.zeros((1, 16, 16), np.float32)
    corner[0, 0, 0], corner[0, 5, 15] = 3, -1
    smooth = reduce_noise(corner, by("gaussian"))
    assert float(smooth.sum()) == pytest.approx(2, abs=1e-4)
    assert smooth[0, 1, 1] > 0.1


def test_a_gaussian_is_as_wide_as_it_says(by):
    peak = np.zeros((1, 31, 31), np.float32)
    peak[0, 15, 15] = 1
    smooth = reduce_noise(peak, by("gaussian").model_copy(update={"sigma": 2.0}))[0]
    assert float((smooth.sum(0) * (np.arange(31) - 15) ** 2).sum()) == pytest.approx(4, rel=0.03)
