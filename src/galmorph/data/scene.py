"""What a simulated cutout holds, as GalSim objects: fluxes, profiles and the point-spread function.

This is the definition of the scene and its reference. Drawn from these objects at GalSim's default accuracy a cutout
takes a tenth of a second and more; `galmorph.data.render` draws the same scene by one Fourier transform a band.
"""

import math

import galsim
import numpy as np

from galmorph.data.disc_structure import disc_structure, has_structure, knot_shares
from galmorph.data.galaxy import BANDS, Companion, Galaxy, band_magnitude, relative_size
from galmorph.params import Band, SimulateParams

#: Fluxes are in nanomaggies: AB magnitude 22.5 is 1.
ZERO_POINT = 22.5
MOFFAT_BETA = 2.5
#: A bulge is redder than its whole galaxy, magnitudes in g−i and in i−H.
_BULGE_REDDER = 0.15


def flux(magnitude: float) -> float:
    """Return the flux of an AB magnitude in nanomaggies; of a surface brightness, in nanomaggies/arcsec²."""
    return float(10 ** (-0.4 * (magnitude - ZERO_POINT)))


def component_fluxes(galaxy: Galaxy, band: Band) -> tuple[float, float]:
    """Return the flux of the spheroid and of the whole disc, nanomaggies."""
    total = flux(band_magnitude(galaxy.magnitude, galaxy.g_i, galaxy.i_h, band))
    if galaxy.label == "Elliptical":
        return total, 0.0
    if galaxy.bulge_fraction == 0:
        return 0.0, total
    redder = _BULGE_REDDER * (1 - galaxy.bulge_fraction)
    magnitude = galaxy.magnitude - 2.5 * math.log10(galaxy.bulge_fraction)
    bulge = flux(band_magnitude(magnitude, galaxy.g_i + redder, galaxy.i_h + redder, band))
    return bulge, total - bulge


def disc_fluxes(galaxy: Galaxy) -> np.ndarray:
    """Return the flux of the whole disc in g, i and H: `(3,)` float64, nanomaggies."""
    return np.array([component_fluxes(galaxy, band)[1] for band in BANDS])


def smooth_disc_flux(galaxy: Galaxy, band: Band) -> float:
    """Return the flux of the disc less its bar and knots, nanomaggies."""
    return component_fluxes(galaxy, band)[1] * (1 - galaxy.bar - float(knot_shares(galaxy)[BANDS.index(band)]))


def companion_flux(companion: Companion, band: Band) -> float:
    """Return the flux of a star or neighbour, nanomaggies."""
    return flux(band_magnitude(companion.magnitude, companion.g_i, companion.i_h, band))


def spheroid_axis_ratio(galaxy: Galaxy) -> float:
    """Return the axis ratio of the spheroid: a bulge is rounder than the disc it sits in."""
    return galaxy.axis_ratio if galaxy.label == "Elliptical" else 0.5 + 0.5 * galaxy.axis_ratio


def psf_width(galaxy: Galaxy, band: Band) -> float:
    """Return the full width at half maximum of the point-spread function, arcsec."""
    return {"g": galaxy.psf_g, "i": galaxy.psf_i, "H": galaxy.psf_h}[band]


def smooth_profile(galaxy: Galaxy, band: Band, accuracy: galsim.GSParams) -> galsim.GSObject:
    """Return the smooth light of a galaxy: an elliptical, or a bulge and a disc less its bar and knots.

    Returns
    -------
    galsim.GSObject
        Of a flux in nanomaggies and a size in arcsec, before the point-spread function.
    """
    bulge_flux, disc_flux = component_fluxes(galaxy, band)
    size = relative_size(galaxy, band)
    angle = galaxy.position_angle * galsim.degrees
    parts = []
    if bulge_flux > 0:
        spheroid = galsim.Sersic(galaxy.sersic_n, half_light_radius=galaxy.bulge_r_e * size, gsparams=accuracy)
        parts.append(spheroid.shear(q=spheroid_axis_ratio(galaxy), beta=angle) * bulge_flux)
    if disc_flux > 0:
        disc = galsim.InclinedExponential(
            galaxy.inclination * galsim.degrees,
            half_light_radius=galaxy.r_e * size,
            scale_h_over_r=galaxy.thickness,
            gsparams=accuracy,
        )
        parts.append(disc.rotate(angle) * smooth_disc_flux(galaxy, band))
    return galsim.Add(parts)


def companion_profile(companion: Companion, band: Band, psf: galsim.GSObject) -> galsim.GSObject:
    """Return a star or neighbour as it is seen through the point-spread function, of a flux in nanomaggies."""
    seen = psf
    if companion.r_e > 0:
        disc = galsim.Exponential(half_light_radius=companion.r_e, gsparams=psf.gsparams)
        angle = companion.position_angle * galsim.degrees
        seen = galsim.Convolve([disc.shear(q=companion.axis_ratio, beta=angle), psf])
    return seen * companion_flux(companion, band)


def draw_with_galsim(galaxy: Galaxy, params: SimulateParams, accuracy: galsim.GSParams) -> np.ndarray:
    """Draw the scene object by object with GalSim, without noise: the reference for `render.draw_bands`.

    Parameters
    ----------
    accuracy
        GalSim's settings; `galsim.GSParams()` are its defaults.

    Returns
    -------
    numpy.ndarray
        `(3, size, size)` float64 surface brightness in g, i and H, nanomaggies/arcsec²; row 0 is the lower edge.
    """
    structure = None
    if has_structure(galaxy):
        structure = disc_structure(galaxy, disc_fluxes(galaxy), params) * params.pixel_scale**2
    bands = []
    for index, band in enumerate(BANDS):
        psf = galsim.Moffat(beta=MOFFAT_BETA, fwhm=psf_width(galaxy, band), gsparams=accuracy)
        light = smooth_profile(galaxy, band, accuracy)
        if structure is not None and structure[index].any():
            light += galsim.InterpolatedImage(
                galsim.Image(structure[index], scale=params.pixel_scale), gsparams=accuracy
            )
        image = galsim.ImageD(params.size, params.size, scale=params.pixel_scale)
        galsim.Convolve([light, psf]).drawImage(image=image)
        for companion in galaxy.companions:
            # As GalSim's own examples do: each on a stamp of the size that it asks for, added where they overlap.
            place = image.true_center + galsim.PositionD(companion.x, companion.y) / params.pixel_scale
            stamp = companion_profile(companion, band, psf).drawImage(scale=params.pixel_scale, center=place)
            overlap = stamp.bounds & image.bounds
            if overlap.isDefined():
                image[overlap] += stamp[overlap]
        bands.append(image.array / params.pixel_scale**2)
    return np.array(bands)
