"""Images of simulated galaxies: light, sky noise, and the survey's colours."""

import math
from functools import cache

import numpy as np
from astropy.visualization import make_lupton_rgb
from scipy.ndimage import gaussian_filter

from galmorph.data import fourier
from galmorph.data.disc_structure import HALF_LIGHT, disc_structure, has_structure
from galmorph.data.galaxy import BANDS, Galaxy, Stream, random_stream, relative_size
from galmorph.data.scene import (
    companion_flux,
    component_fluxes,
    disc_fluxes,
    flux,
    psf_width,
    smooth_disc_flux,
    spheroid_axis_ratio,
)
from galmorph.params import Band, SimulateParams

#: Light of a spheroid further out than this many half-light radii may come back on the frame's other side.
_SPHEROID_REACH = 6.0
#: Dark sky, AB mag/arcsec²: its photons are the sky noise, so a galaxy as bright as the sky adds as much again.
_SKY_BRIGHTNESS: dict[Band, float] = {"g": 22.0, "i": 20.3, "H": 15.5}
#: Pixels; survey images are interpolated to 0.2″ from coarser pixels, which spreads their noise.
_NOISE_WIDTH = 0.8


def cutout(galaxy: Galaxy, params: SimulateParams) -> tuple[np.ndarray, np.ndarray]:
    """Render a galaxy as the survey would show it.

    Returns
    -------
    image, noise_free : numpy.ndarray
        Each `(size, size, 3)` uint8 RGB with R=H, G=i, B=g; the second has no sky noise. Both have a black red channel
        where the H band was not observed.
    """
    bands = draw_bands(galaxy, params)
    left_over = (galaxy.sky_g, galaxy.sky_i, galaxy.sky_h)
    bands += np.reshape(
        [level * flux(params.sky_noise[band]) for band, level in zip(BANDS, left_over, strict=True)], (3, 1, 1)
    )
    return (
        colour_image(add_sky(bands, galaxy, params), galaxy.blank_h, params),
        colour_image(bands, galaxy.blank_h, params),
    )


def draw_bands(galaxy: Galaxy, params: SimulateParams) -> np.ndarray:
    """Draw a galaxy and what else is in its frame, without noise.

    The parts are summed in Fourier space, where most have a closed form, and each band is transformed once.
    `scene.draw_with_galsim` draws the same object by object.

    Returns
    -------
    numpy.ndarray
        `(3, size, size)` float32 surface brightness in g, i and H, nanomaggies/arcsec²; row 0 is the lower edge.
    """
    widths = {band: psf_width(galaxy, band) for band in BANDS}
    reach = galaxy.r_e * _SPHEROID_REACH if galaxy.label == "Elliptical" else 0.0
    grid = fourier.grid_for(params.size, params.pixel_scale, min(widths.values()), reach)
    structure = disc_structure(galaxy, disc_fluxes(galaxy), params) if has_structure(galaxy) else None
    companions = _companions(galaxy, grid)
    centred = grid.phase(0, 0)
    wave_number = np.sqrt(grid.x**2 + grid.y**2)
    pixel = fourier.pixel(grid)
    bands = np.empty((len(BANDS), params.size, params.size), np.float32)
    for index, band in enumerate(BANDS):
        spectrum = centred * _smooth_light(galaxy, band, grid) + companions[index]
        if structure is not None:
            spectrum += grid.spectrum(structure[index])
        bands[index] = grid.image(spectrum * (fourier.moffat(wave_number, widths[band]) * pixel))
    return bands


def _smooth_light(galaxy: Galaxy, band: Band, grid: fourier.Grid) -> np.ndarray:
    """Return the spectrum of an elliptical, or of a bulge and a disc less its bar and knots, at the origin."""
    bulge_flux, disc_flux = component_fluxes(galaxy, band)
    size = relative_size(galaxy, band)
    spectrum = np.zeros((grid.y.size, grid.x.size), np.float32)
    if bulge_flux > 0:
        # The half-light radius is that of the circle of equal area.
        stretch = math.sqrt(spheroid_axis_ratio(galaxy))
        radius = galaxy.bulge_r_e * size
        squared = fourier.squared_radius(grid, radius / stretch, radius * stretch, galaxy.position_angle)
        spectrum += bulge_flux * fourier.sersic(squared, galaxy.sersic_n)
    if disc_flux > 0:
        scale_length = galaxy.r_e * size / HALF_LIGHT
        disc = fourier.inclined_disc(grid, scale_length, galaxy.thickness, galaxy.inclination, galaxy.position_angle)
        spectrum += smooth_disc_flux(galaxy, band) * disc
    return spectrum


def _companions(galaxy: Galaxy, grid: fourier.Grid) -> np.ndarray:
    """Return the spectrum of stars and neighbours in each band: `(3, Y, X)` complex64."""
    spectra = np.zeros((len(BANDS), grid.y.size, grid.x.size), np.complex64)
    for companion in galaxy.companions:
        spectrum = grid.phase(companion.x, companion.y)
        if companion.r_e > 0:
            stretch = math.sqrt(companion.axis_ratio)
            length = companion.r_e / HALF_LIGHT
            squared = fourier.squared_radius(grid, length / stretch, length * stretch, companion.position_angle)
            spectrum *= fourier.exponential(squared)
        for index, band in enumerate(BANDS):
            spectra[index] += companion_flux(companion, band) * spectrum
    return spectra


def sky_noise(galaxy: Galaxy, params: SimulateParams) -> np.ndarray:
    """Return the standard deviation of the sky between pixels in g, i and H: `(3,)`, nanomaggies/arcsec²."""
    return galaxy.noise * np.array([flux(params.sky_noise[band]) for band in BANDS])


def add_sky(bands: np.ndarray, galaxy: Galaxy, params: SimulateParams) -> np.ndarray:
    """Add the noise of sky and galaxy photons, correlated between neighbouring pixels as in interpolated images.

    Parameters
    ----------
    bands
        `(3, size, size)` as `draw_bands` returns it.

    Returns
    -------
    numpy.ndarray
        The same shape and unit. The noise depends on the galaxy's seed and index alone.
    """
    rng = random_stream(galaxy.seed, galaxy.index, Stream.SKY)
    white = rng.standard_normal(bands.shape, np.float32)
    noise = gaussian_filter(white, (0, _NOISE_WIDTH, _NOISE_WIDTH), mode="wrap") / _smoothed_deviation()
    sky = np.array([flux(_SKY_BRIGHTNESS[band]) for band in BANDS], np.float32)[:, None, None]
    deviation = sky_noise(galaxy, params).astype(np.float32)[:, None, None] * np.sqrt(1 + np.maximum(bands, 0) / sky)
    return np.asarray(bands + deviation * noise)


@cache
def _smoothed_deviation() -> float:
    """Return the standard deviation that smoothing leaves of white noise of deviation 1."""
    impulse = np.zeros((33, 33))
    impulse[16, 16] = 1
    return float(np.linalg.norm(gaussian_filter(impulse, _NOISE_WIDTH)))


def colour_image(bands: np.ndarray, blank_h: bool, params: SimulateParams) -> np.ndarray:
    """Make the colour image of Lupton et al. (2004, doi:10.1086/382245): R=H, G=i, B=g.

    Parameters
    ----------
    bands
        `(3, N, N)` surface brightness in g, i and H, nanomaggies/arcsec²; row 0 is the lower edge.
    blank_h
        Leave the red channel black.
    params
        `scale` and `pedestal` bring surface brightness to what `lupton` stretches.

    Returns
    -------
    numpy.ndarray
        `(N, N, 3)` uint8 RGB; row 0 is the upper edge.
    """
    g, i, h = (
        params.scale[band] * (values + params.pedestal * flux(params.sky_noise[band]))
        for band, values in zip(BANDS, bands, strict=True)
    )
    h = np.zeros_like(h) if blank_h else h
    image: np.ndarray = make_lupton_rgb(h, i, g, stretch=params.lupton.stretch, Q=params.lupton.q)
    return np.ascontiguousarray(image[::-1])
