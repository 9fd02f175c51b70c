"""The five denoisers, and how well an image agrees with its noise-free truth."""

from dataclasses import dataclass

import cv2
import numpy as np

from galmorph.errors import ImageError, ParamsError
from galmorph.params import BilateralParams, DenoiserParams, MedianParams, NlmParams, TvParams, WaveletParams

#: Mean squared error of rounding to whole numbers; two equal 8-bit images are known to agree no better than this.
_ROUNDING_ERROR = 1 / 12

#: Third quartile of the unit normal distribution: the median absolute value of Gaussian noise, over σ.
_NORMAL_QUARTILE = 0.6744897501960817

#: Of the structural similarity: side of the squares in pixels, and the constants that keep a flat one's ratio finite.
_SSIM_SIDE = 7
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def denoise(image: np.ndarray, params: DenoiserParams) -> np.ndarray:
    """Denoise a colour image by the method that `params` belong to.

    Every method maps a constant channel to itself, so that a band that was never observed stays blank, and lets no
    band's values flow into another's. (Bilateral and non-local means share their weights between the bands.)

    Parameters
    ----------
    image
        `(H, W, 3)` uint8 RGB. H and W may differ, be odd, and be as small as 1.
    params
        Parameters of one method; their type chooses it: `median`, `bilateral`, `nlm`, `tv` or `wavelet`.

    Returns
    -------
    numpy.ndarray
        `(H, W, 3)` uint8 RGB, rounded to the nearest value, not truncated.

    Raises
    ------
    ImageError
        When `image` is not such an array.
    ParamsError
        When PyWavelets knows no such wavelet.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"An image must be (H, W, 3) uint8 RGB. Received: shape {image.shape}, {image.dtype}")
    image = np.ascontiguousarray(image)
    match params:
        case MedianParams():
            return median(image, params)
        case BilateralParams():
            return bilateral(image, params)
        case NlmParams():
            return nlm(image, params)
        case TvParams():
            return tv(image, params)
        case WaveletParams():
            return wavelet(image, params)


def median(image: np.ndarray, params: MedianParams) -> np.ndarray:
    """Median of each band over a `kernel` × `kernel` square of pixels; the border is repeated outwards."""
    return np.asarray(cv2.medianBlur(image, params.kernel))


def bilateral(image: np.ndarray, params: BilateralParams) -> np.ndarray:
    """Bilateral filter of Tomasi & Manduchi (1998), doi:10.1109/ICCV.1998.710815.

    A mean over a disc `diameter` pixels across, weighted by Gaussians of the distance in pixels (`sigma_space`) and of
    the difference in colour (`sigma_colour`, of 255). OpenCV sums the absolute differences of the three bands, so an
    edge in any band stops the smoothing in all of them.
    """
    return np.asarray(cv2.bilateralFilter(image, params.diameter, params.sigma_colour, params.sigma_space))


def nlm(image: np.ndarray, params: NlmParams) -> np.ndarray:
    """Non-local means of Buades, Coll & Morel (2011), doi:10.5201/ipol.2011.bcm_nlm.

    A mean over a `search` × `search` square of pixels, weighted by how alike their `template` × `template`
    neighbourhoods are in all bands together: exp(−d²/strength²), d² the mean squared difference.

    Of OpenCV's two functions this is the one that keeps to the bands. `fastNlMeansDenoisingColored` goes through
    CIE Lab, made for photographs of what an eye would see: there a blank band takes on values from the other two, the
    bands of a survey share one lightness, and 8-bit Lab rounds once more. On simulated cutouts of 34.4 dB PSNR, each at
    its best strength, this one reached 48.4, band by band 47.8, through Lab 43.2.
    """
    return np.asarray(cv2.fastNlMeansDenoising(image, None, params.strength, params.template, params.search))


def tv(image: np.ndarray, params: TvParams) -> np.ndarray:
    """Total-variation denoising of each band: Chambolle (2004), doi:10.1023/B:JMIV.0000011325.36760.1e.

    `weight` is that of the total variation, for values in [0, 1]; it stops when the energy changes by less than
    `tolerance` of the first step's, or after `max_iterations`.
    """
    # Two seconds of import in every worker, which only this method has to wait for.
    from skimage.restoration import denoise_tv_chambolle

    scaled = image.astype(np.float32) / 255  # float32 moves half the bytes of float64, and 8 bits need no more
    for band in _varying(image):
        scaled[..., band] = denoise_tv_chambolle(
            scaled[..., band], weight=params.weight, eps=params.tolerance, max_num_iter=params.max_iterations
        )
    return _quantised(scaled * 255)


def wavelet(image: np.ndarray, params: WaveletParams) -> np.ndarray:
    """Shrink each band's wavelet coefficients, by BayesShrink: Chang, Yu & Vetterli (2000), doi:10.1109/83.862633.

    With σ the noise, each subband of mean square s² has the threshold σ² / √(s² − σ²). σ is the median absolute value
    of coefficients over 0.6745: for `white` noise those of the finest diagonal subband, as in the paper (and in
    scikit-image); for `correlated` noise each subband's own (Johnstone & Silverman 1997, doi:10.1111/1467-9868.00071).
    Cutouts are resampled, which takes noise out of the finest scale and leaves it in the others: the first then
    finds next to nothing to remove. Exact zeros do not count: they are pixels that were never observed.

    `levels` is lowered where the image is too small for it.
    """
    # Only who denoises by wavelets needs the library.
    import pywt

    if params.wavelet not in pywt.wavelist(kind="discrete"):
        raise ParamsError(
            f"denoise.wavelet.wavelet: must be a discrete wavelet of PyWavelets (haar, db2, sym4, bior4.4, ...). "
            f"Received: {params.wavelet!r}"
        )
    height, width, _ = image.shape
    levels = min(params.levels, pywt.dwt_max_level(min(height, width), params.wavelet))
    restored = image.astype(np.float32)
    for band in _varying(image) if levels else ():
        rough, *subbands = pywt.wavedec2(restored[..., band], params.wavelet, level=levels)
        white = _noise_level(subbands[-1][-1]) if params.noise == "white" else None
        shrunk = [tuple(_shrink(details, white, params.mode) for details in level) for level in subbands]
        restored[..., band] = pywt.waverec2([rough, *shrunk], params.wavelet)[:height, :width]
    return _quantised(restored)


def _noise_level(details: np.ndarray) -> float:
    observed = details[details != 0]
    return float(np.median(np.abs(observed)) / _NORMAL_QUARTILE) if observed.size else 0.0


def _shrink(details: np.ndarray, noise: float | None, mode: str) -> np.ndarray:
    import pywt

    noise = _noise_level(details) if noise is None else noise
    signal = float(np.mean(np.square(details, dtype=np.float64))) - noise**2
    if signal <= 0:  # no more than noise: the threshold would be infinite
        return np.zeros_like(details)
    shrunk: np.ndarray = pywt.threshold(details, noise**2 / np.sqrt(signal), mode)
    return shrunk


def _varying(image: np.ndarray) -> tuple[int, ...]:
    """Return the bands that are not constant: what is constant stays so, to the bit, and costs nothing."""
    return tuple(band for band in range(image.shape[2]) if np.ptp(image[..., band]))


def _quantised(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


@dataclass(frozen=True)
class Quality:
    """How well an image agrees with its noise-free truth.

    Attributes
    ----------
    psnr
        Peak signal-to-noise ratio over all pixels and bands, dB: 10 log₁₀(255² / MSE). The error is taken as no
        smaller than that of rounding to 8 bits, so that equal images score 58.9 dB instead of infinity.
    ssim
        Mean structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861) of the three bands, at most 1, in
        squares of 7 × 7 pixels that lie inside the image; the figure that scikit-image gives.
    """

    psnr: float
    ssim: float


def quality(image: np.ndarray, truth: np.ndarray) -> Quality:
    """Measure how well an image agrees with its noise-free truth.

    Parameters
    ----------
    image, truth
        `(H, W, 3)` uint8 RGB of equal shape, 7 pixels a side or more.

    Returns
    -------
    Quality
        PSNR and SSIM.

    Raises
    ------
    ImageError
        When the shapes differ, or a side is shorter.
    """
    if image.shape != truth.shape or min(image.shape[:2]) < _SSIM_SIDE:
        raise ImageError(
            f"An image and its noise-free truth must have one shape, {_SSIM_SIDE} pixels a side or more. "
            f"Received: {image.shape} and {truth.shape}"
        )
    error = float(np.mean(np.square(image.astype(np.float32) - truth)))
    return Quality(float(10 * np.log10(255**2 / max(error, _ROUNDING_ERROR))), _similarity(image, truth))


def _similarity(image: np.ndarray, truth: np.ndarray) -> float:
    """Mean SSIM as scikit-image defines it by default; a third of its time, which is most of a cheap denoiser's."""
    x, y = image.astype(np.float32), truth.astype(np.float32)
    margin = _SSIM_SIDE // 2
    unbiased = _SSIM_SIDE**2 / (_SSIM_SIDE**2 - 1)

    def local(values: np.ndarray) -> np.ndarray:
        return np.asarray(cv2.blur(values, (_SSIM_SIDE, _SSIM_SIDE))[margin:-margin, margin:-margin])

    mean_x, mean_y = local(x), local(y)
    variances = unbiased * (local(x * x) - mean_x**2 + local(y * y) - mean_y**2)
    covariance = unbiased * (local(x * y) - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    return float(np.mean(luminance * structure, dtype=np.float64))
