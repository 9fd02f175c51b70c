"""Profiles in Fourier space: a scene is the sum of its parts there, and one transform makes the image.

Transforms are in units of the profile's flux, so each is 1 at k = 0. Wave numbers are in radians per arcsec. Single
precision is enough: its errors stay a thousandth of the sky noise beside all but the brightest stars.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import galsim
import numpy as np
from scipy.fft import ifft, irfft, next_fast_len, rfft2

#: The point-spread function has fallen to this where the scene's spectrum is cut off.
_NEGLIGIBLE = 2e-3
#: Frames are transformed with this many empty pixels, so that what leaves one side is not seen at the other.
_PADDING = 40
#: Half-light radii at which the Sérsic profiles end.
_TRUNCATION = 12.0
_TABLE_SIZE = 1024
_TABLE_END = 16.0  # of log(1 + k² r_e²)


@dataclass(frozen=True)
class Grid:
    """The wave numbers at which a frame's spectrum is evaluated: those that pass the point-spread function.

    Attributes
    ----------
    size, pixel_scale
        Of the frame: pixels a side, and arcsec per pixel.
    transformed
        Pixels a side of the padded frame.
    x, y
        Wave numbers, `(1, X)` from 0 up and `(Y, 1)` in FFT order, float32.
    """

    size: int
    pixel_scale: float
    transformed: int
    x: np.ndarray
    y: np.ndarray

    def phase(self, x: float, y: float) -> np.ndarray:
        """Return the factor that moves a profile to (x, y), arcsec from the frame's centre: `(Y, X)` complex64."""
        centre = (self.size - 1) / 2 * self.pixel_scale
        # Phases grow to hundreds of radians: they need double precision, their cosines do not.
        along_y = np.exp(-1j * (y + centre) * self.y.astype(float)).astype(np.complex64)
        along_x = np.exp(-1j * (x + centre) * self.x.astype(float)).astype(np.complex64)
        return np.asarray(along_y * along_x)

    def spectrum(self, image: np.ndarray) -> np.ndarray:
        """Return the spectrum of samples at the centre of the frame.

        Parameters
        ----------
        image
            `(N, N)` surface brightness, N ≤ size, of the same parity.
        """
        padded = np.zeros((self.transformed, self.transformed), np.float32)
        margin = (self.size - image.shape[0]) // 2
        padded[margin : margin + image.shape[0], margin : margin + image.shape[1]] = image
        half = self.x.size
        whole = rfft2(padded)[:, :half]
        return np.asarray(
            np.concatenate([whole[:half], whole[self.transformed - half + 1 :]]) * np.float32(self.pixel_scale**2)
        )

    def image(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the surface brightness that a spectrum `(Y, X)` of fluxes stands for: `(size, size)` float32."""
        half = self.x.size
        columns = np.zeros((self.transformed, half), np.complex64)
        columns[:half] = spectrum[:half]
        columns[self.transformed - half + 1 :] = spectrum[half:]
        # The empty columns on the right need no transform, and rows of the padding none along x.
        rows = ifft(columns, axis=0)[: self.size]
        return np.asarray(irfft(rows, n=self.transformed, axis=1)[:, : self.size]) / np.float32(self.pixel_scale**2)


def grid_for(size: int, pixel_scale: float, sharpest: float, reach: float) -> Grid:
    """Return the wave numbers for a frame.

    Parameters
    ----------
    size, pixel_scale
        Of the frame.
    sharpest
        Smallest full width at half maximum of the point-spread functions, arcsec.
    reach
        How far from the centre there is light to be reckoned with, arcsec.
    """
    reached = math.ceil(2 * reach / pixel_scale)
    transformed = next_fast_len(max(size + _PADDING, reached), real=True)
    transformed += transformed % 2
    cut_off = 0.5 * math.pi / pixel_scale
    step = math.pi / pixel_scale
    while step > 0.01:
        step /= 2
        cut_off += step if moffat(np.array(cut_off), sharpest) > _NEGLIGIBLE else -step
    spacing = 2 * math.pi / (transformed * pixel_scale)
    half = min(math.ceil(cut_off / spacing) + 1, transformed // 2)
    x = (spacing * np.arange(half)).astype(np.float32)
    return Grid(size, pixel_scale, transformed, x[None, :], np.concatenate([x, -x[:0:-1]])[:, None])


def moffat(k: np.ndarray, fwhm: float) -> np.ndarray:
    """Return the transform of a Moffat profile with β = 2.5, whose closed form is (1 + αk) exp(−αk)."""
    scaled = k * (fwhm / (2 * math.sqrt(2**0.4 - 1)))
    return np.asarray((1 + scaled) * np.exp(-scaled))


def pixel(grid: Grid) -> np.ndarray:
    """Return the transform of a square pixel."""
    return np.asarray(
        np.sinc(grid.x * grid.pixel_scale / (2 * math.pi)) * np.sinc(grid.y * grid.pixel_scale / (2 * math.pi))
    )


def squared_radius(grid: Grid, major: float, minor: float, angle: float) -> np.ndarray:
    """Return k² in the frame of a profile of scales `major` and `minor` (arcsec) turned by `angle` (degrees)."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    xx = (major * cosine) ** 2 + (minor * sine) ** 2
    yy = (major * sine) ** 2 + (minor * cosine) ** 2
    xy = 2 * (major**2 - minor**2) * cosine * sine
    return np.asarray(xx * grid.x**2 + yy * grid.y**2 + (xy * grid.x) * grid.y)


def exponential(squared: np.ndarray) -> np.ndarray:
    """Return the transform of an exponential disc; `squared` is (k · scale length)²."""
    base = 1 + squared
    return np.asarray(1 / (base * np.sqrt(base)))


def inclined_disc(grid: Grid, scale_length: float, thickness: float, inclination: float, angle: float) -> np.ndarray:
    """Return the transform of an exponential disc with a sech² layer, tilted by `inclination` degrees.

    `thickness` is scale height over scale length, `angle` the direction of the major axis in degrees.
    """
    tilt = math.radians(inclination)
    thin = exponential(squared_radius(grid, scale_length, scale_length * math.cos(tilt), angle))
    turn = math.radians(angle)
    across = grid.y * math.cos(turn) - grid.x * math.sin(turn)
    layer = np.abs(across) * (0.5 * math.pi * scale_length * thickness * math.sin(tilt)) + 1e-9
    return np.asarray(thin * layer / np.sinh(layer))


def sersic(squared: np.ndarray, index: float) -> np.ndarray:
    """Return the transform of a Sérsic profile that ends at 12 half-light radii; `squared` is (k · r_e)²."""
    position = np.log1p(squared) * ((_TABLE_SIZE - 1) / _TABLE_END)
    below = np.minimum(position.astype(np.intp), _TABLE_SIZE - 2)
    position -= below
    table, slope = _sersic_table(index)  # float32, as `squared` is
    return np.asarray(table[below] + slope[below] * position)


@lru_cache(maxsize=256)
def _sersic_table(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Return GalSim's transform at equal steps of log(1 + k² r_e²), and the differences from step to step."""
    accuracy = galsim.GSParams(kvalue_accuracy=1e-4)
    profile = galsim.Sersic(index, half_light_radius=1, trunc=_TRUNCATION, flux_untruncated=True, gsparams=accuracy)
    wave_numbers = np.sqrt(np.expm1(np.linspace(0, _TABLE_END, _TABLE_SIZE)))
    table = np.array([profile.kValue(wave_number, 0).real for wave_number in wave_numbers])
    return table.astype(np.float32), np.append(np.diff(table), 0).astype(np.float32)
