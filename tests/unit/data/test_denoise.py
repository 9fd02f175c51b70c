from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_tv_chambolle, denoise_wavelet

from galmorph.data.denoise import denoise, quality
from galmorph.errors import ImageError, ParamsError
from galmorph.params import (
    BilateralParams,
    DenoiseParams,
    MedianParams,
    NlmParams,
    TvParams,
    WaveletParams,
    read_values,
)

METHODS = {
    "median": MedianParams(kernel=3),
    "median_wide": MedianParams(kernel=7),
    "bilateral": BilateralParams(diameter=9, sigma_colour=40, sigma_space=3),
    "nlm": NlmParams(strength=8, template=7, search=21),
    "tv": TvParams(weight=0.06, tolerance=0.0002, max_iterations=200),
    "wavelet_soft": WaveletParams(wavelet="db2", levels=4, mode="soft", noise="white"),
    "wavelet_hard": WaveletParams(wavelet="sym4", levels=3, mode="hard", noise="correlated"),
}
every_method = pytest.mark.parametrize("params", METHODS.values(), ids=METHODS)


def galaxy(height=96, width=96, noise=8.0, seed=0):
    """Return an exponential disc and the same with Gaussian noise, as (H, W, 3) uint8."""
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot(rows - height / 2, 1.4 * (columns - width / 2))
    truth = np.stack([30 + level * np.exp(-radius / scale) for level, scale in ((200, 9), (160, 11), (90, 14))], -1)
    noisy = truth + np.random.default_rng(seed).normal(0, noise, truth.shape)
    return tuple(np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in (truth, noisy))


@every_method
def test_an_image_comes_out_cleaner_in_its_own_shape_and_is_not_touched(params):
    truth, noisy = galaxy()
    before = noisy.copy()
    found = denoise(noisy, params)
    assert found.shape == noisy.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(noisy, before)
    assert quality(found, truth).psnr > quality(noisy, truth).psnr + 2
    assert quality(found, truth).ssim > quality(noisy, truth).ssim


@every_method
@pytest.mark.parametrize("shape", [(97, 64), (33, 121), (32, 32), (7, 5), (1, 1), (1, 40), (3, 2)])
def test_odd_and_small_shapes(params, shape):
    noisy = galaxy(*shape)[1]
    assert denoise(noisy, params).shape == noisy.shape


@every_method
@pytest.mark.parametrize("value", [0, 1, 3, 128, 254, 255])
def test_a_constant_image_is_unchanged(params, value):
    flat = np.full((41, 50, 3), value, np.uint8)
    np.testing.assert_array_equal(denoise(flat, params), flat)


@every_method
@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("value", [0, 17])
def test_a_blank_channel_stays_blank_while_the_others_are_denoised(params, blank, value):
    truth, noisy = galaxy()
    truth[..., blank] = noisy[..., blank] = value
    found = denoise(noisy, params)
    assert (found[..., blank] == value).all()
    assert quality(found, truth).psnr > quality(noisy, truth).psnr + 1


@every_method
def test_the_mean_of_every_channel_is_kept(params):
    # A truncation instead of a rounding would lower it by 0.5.
    noisy = galaxy(noise=5)[1]
    difference = denoise(noisy, params).mean((0, 1)) - noisy.mean((0, 1))
    assert np.abs(difference).max() < 0.3


@every_method
def test_channels_are_treated_alike_whatever_their_order(params):
    noisy = galaxy()[1]
    np.testing.assert_array_equal(denoise(noisy[..., ::-1], params), denoise(noisy, params)[..., ::-1])


@every_method
def test_a_view_with_strides_gives_what_its_copy_gives(params):
    noisy = galaxy(120, 130)[1][::2, 1::2]
    np.testing.assert_array_equal(denoise(noisy, params), denoise(noisy.copy(), params))


@every_method
def test_the_same_image_gives_the_same_result_on_one_thread_and_on_many(params):
    noisy = galaxy()[1]
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 2):
            cv2.setNumThreads(count)
            found.append(denoise(noisy, params))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(*found)


@every_method
def test_saturated_and_black_regions_stay_within_bounds(params):
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    found = denoise(image, params)
    assert found[:, :20].max() <= 3
    assert found[:, 44:].min() >= 252


@every_method
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
    ids=["grey", "RGBA", "float", "empty"],
)
def test_anything_else_is_refused(params, image):
    with pytest.raises(ImageError, match=r"\(H, W, 3\) uint8 RGB. Received: shape \("):
        denoise(image, params)


def test_median_of_a_known_patch():
    patch = np.zeros((3, 3, 3), np.uint8)
    patch[..., 0] = [[1, 2, 3], [4, 250, 6], [7, 8, 9]]
    assert denoise(patch, MedianParams(kernel=3))[1, 1].tolist() == [6, 0, 0]


def test_bilateral_is_the_weighted_mean_it_says():
    noisy = galaxy(21, 21)[1].astype(float)
    params = BilateralParams(diameter=5, sigma_colour=30, sigma_space=2)
    rows, columns = np.mgrid[-2:3, -2:3]
    distance = np.hypot(rows, columns)
    patch = noisy[8:13, 8:13]
    colour = np.abs(patch - noisy[10, 10]).sum(-1)
    weight = np.exp(-(distance**2) / (2 * 2**2) - colour**2 / (2 * 30**2)) * (distance <= 2)
    expected = (weight[..., None] * patch).sum((0, 1)) / weight.sum()
    found = denoise(noisy.astype(np.uint8), params)[10, 10]
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_nlm_strength_is_the_filter_s_h():
    # Far below the differences between patches nothing is averaged; far above them everything in reach is.
    noisy = galaxy()[1]
    np.testing.assert_array_equal(denoise(noisy, NlmParams(strength=0.1, template=7, search=21)), noisy)
    flat = denoise(noisy, NlmParams(strength=1000, template=3, search=5)).astype(float)
    np.testing.assert_allclose(flat[2:-2, 2:-2], cv2.blur(noisy.astype(float), (5, 5))[2:-2, 2:-2], atol=1)


def test_nlm_finds_structure_in_one_channel_by_another():
    # The edge is visible in the first channel only through the noise of both; weights are shared, so it stays sharp.
    rng = np.random.default_rng(1)
    image = np.full((60, 60, 3), 60.0)
    image[:, 30:, 0] += 12
    image[:, 30:, 1:] += 120
    noisy = np.clip(np.rint(image + rng.normal(0, 10, image.shape)), 0, 255).astype(np.uint8)
    params = NlmParams(strength=12, template=5, search=15)
    together = denoise(noisy, params)[..., 0].astype(float)
    alone = noisy.copy()
    alone[..., 1:] = 0
    separate = denoise(alone, params)[..., 0].astype(float)
    edge = slice(25, 35)
    truth = image[..., 0]
    assert np.abs(together - truth)[:, edge].mean() < np.abs(separate - truth)[:, edge].mean()


@pytest.mark.parametrize("weight", [0.02, 0.1])
def test_tv_equals_scikit_image_to_the_rounding(weight):
    noisy = galaxy(90, 121)[1]
    params = TvParams(weight=weight, tolerance=0.0002, max_iterations=200)
    expected = denoise_tv_chambolle(noisy, weight=weight, eps=0.0002, max_num_iter=200, channel_axis=-1) * 255
    np.testing.assert_allclose(denoise(noisy, params), expected, atol=0.51)


def test_tv_stops_when_it_is_told_to():
    noisy = galaxy()[1]
    few = denoise(noisy, TvParams(weight=0.2, tolerance=1e-9, max_iterations=2))
    many = denoise(noisy, TvParams(weight=0.2, tolerance=1e-9, max_iterations=200))
    loose = denoise(noisy, TvParams(weight=0.2, tolerance=10, max_iterations=200))
    assert (few != many).any()
    np.testing.assert_array_equal(few, loose)


@pytest.mark.parametrize("shape", [(96, 96), (97, 64), (61, 123)])
@pytest.mark.parametrize(("name", "levels", "mode"), [("db2", 4, "soft"), ("haar", 3, "hard"), ("sym4", 2, "soft")])
def test_wavelet_equals_scikit_image_to_the_rounding(shape, name, levels, mode):
    noisy = galaxy(*shape, noise=12)[1]
    levels = min(levels, 3)  # scikit-image warns where the image is too small for more
    expected = denoise_wavelet(
        noisy / 255, wavelet=name, wavelet_levels=levels, mode=mode, method="BayesShrink", channel_axis=-1
    )
    found = denoise(noisy, WaveletParams(wavelet=name, levels=levels, mode=mode, noise="white"))
    np.testing.assert_allclose(found, np.clip(expected * 255, 0, 255), atol=0.51)


def test_wavelet_removes_correlated_noise_where_white_is_assumed_it_does_not():
    # What resampling does: the finest scale loses the noise that the others keep.
    truth, _ = galaxy(160, 160)
    white = np.random.default_rng(2).normal(0, 20, truth.shape)
    noisy = np.clip(np.rint(truth + cv2.GaussianBlur(white, (0, 0), 1)), 0, 255).astype(np.uint8)
    gain = {}
    for noise in ("white", "correlated"):
        params = WaveletParams(wavelet="sym4", levels=4, mode="soft", noise=noise)
        gain[noise] = quality(denoise(noisy, params), truth).psnr - quality(noisy, truth).psnr
    assert gain["white"] < 1
    assert gain["correlated"] > 4


def test_wavelet_noise_is_measured_where_there_was_something_to_observe():
    truth, noisy = galaxy(128, 128)
    for image in (truth, noisy):
        image[:, :80] = 0  # most of the frame was never covered: its zeros must not hide the noise
    found = denoise(noisy, METHODS["wavelet_soft"])
    assert quality(found, truth).psnr > quality(noisy, truth).psnr + 2


@pytest.mark.parametrize("variant", DenoiseParams.model_fields)
def test_the_values_of_params_yaml_help_every_galaxy_of_a_resampled_survey(variant):
    values = read_values(Path(__file__).parents[3] / "params.yaml")["denoise"]
    params = getattr(DenoiseParams.model_validate(values), variant)
    for seed in range(4):
        truth, _ = galaxy(150, 150)
        white = np.random.default_rng(seed).normal(0, 10, truth.shape)
        noisy = np.clip(np.rint(truth + cv2.GaussianBlur(white, (0, 0), 0.6)), 0, 255).astype(np.uint8)
        found, before = quality(denoise(noisy, params), truth), quality(noisy, truth)
        assert found.psnr > before.psnr + 3
        assert found.ssim > before.ssim


def test_an_unknown_wavelet_is_named():
    with pytest.raises(ParamsError, match=r"denoise\.wavelet\.wavelet.*Received: 'db99'$"):
        denoise(galaxy()[1], WaveletParams(wavelet="db99", levels=2, mode="soft", noise="white"))


@pytest.mark.parametrize("shape", [(96, 96), (33, 61), (7, 9)])
@pytest.mark.parametrize("blank", [None, 0, 255])
def test_quality_is_scikit_image_s(shape, blank):
    truth, noisy = galaxy(*shape)
    if blank is not None:
        truth[..., 1] = noisy[..., 1] = blank
    found = quality(noisy, truth)
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(truth, noisy), abs=1e-4)
    assert found.ssim == pytest.approx(structural_similarity(truth, noisy, channel_axis=2), abs=1e-5)


def test_quality_of_equal_images_is_finite():
    truth, _ = galaxy()
    found = quality(truth, truth)
    assert found.psnr == pytest.approx(10 * np.log10(255**2 * 12))
    assert found.ssim == pytest.approx(1)


def test_quality_needs_one_shape():
    with pytest.raises(ImageError, match=r"Received: \(96, 96, 3\) and \(90, 96, 3\)$"):
        quality(galaxy()[0], galaxy(90, 96)[0])
    with pytest.raises(ImageError, match=r"7 pixels a side or more.*Received: \(6, 96, 3\) and \(6, 96, 3\)$"):
        quality(*galaxy(6, 96))
