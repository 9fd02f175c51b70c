"""From a survey's bands, as FITS, to the colour image of a galaxy."""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from astropy.visualization import make_lupton_rgb

from galmorph.errors import ImageError
from galmorph.params import Band, CutoutsParams, SkyParams

#: The band of each channel, in the order red, green, blue: GAMA's giH images.
CHANNELS: tuple[Band, ...] = ("H", "i", "g")

#: FITS files come in blocks of this many bytes (FITS standard 4.0, section 3.1).
_BLOCK = 2880


def decode_band(content: bytes, size: int) -> np.ndarray | None:
    """Read one band from the bytes of a FITS file.

    Parameters
    ----------
    content
        The whole file; the image is its primary array.
    size
        Side that the image must have, in pixels.

    Returns
    -------
    numpy.ndarray or None
        `(size, size)` float32 in the survey's unit, first row southernmost; pixels without a value are NaN. None when
        the survey did not observe this place: no array, no finite pixel, or one value everywhere.

    Raises
    ------
    ImageError
        When `content` is not a whole FITS image of the shape asked for.
    """
    _check_whole(content)
    try:
        with fits.open(BytesIO(content), memmap=False, do_not_scale_image_data=True) as file:
            data = _scaled(file[0].data, file[0].header)
    except (OSError, TypeError, ValueError, fits.VerifyError) as error:
        raise ImageError(f"FITS image cannot be read. Received: {error}") from error
    if data is None:
        return None
    # A survey served as a cube of one plane has a leading axis of length one.
    band = data[0] if data.ndim == 3 and data.shape[0] == 1 else data
    if band.shape != (size, size):
        raise ImageError(f"FITS image must be {size}x{size} pixels. Received: shape {band.shape}")
    finite = np.isfinite(band)
    if not finite.any() or np.ptp(band[finite]) == 0:
        return None
    return np.where(finite, band, np.nan)


def _scaled(data: np.ndarray | None, header: fits.Header) -> np.ndarray | None:
    """Apply BSCALE, BZERO and BLANK, as float32; astropy does not see a BLANK of 0."""
    if data is None:
        return None
    values = data * header.get("BSCALE", 1.0) + header.get("BZERO", 0.0)
    if data.dtype.kind in "iu" and "BLANK" in header:
        values = np.where(data == header["BLANK"], np.nan, values)
    return np.asarray(values, dtype=np.float32)


def _check_whole(content: bytes) -> None:
    """Compare the length with what the header announces: astropy only warns about a file that was cut off."""
    if not content.startswith(b"SIMPLE"):
        raise ImageError(f"not a FITS file. Received: {content[:60]!r}")
    if not content[:_BLOCK].isascii():
        raise ImageError(f"FITS header is not text. Received: {content[:60]!r}")
    stream = BytesIO(content)
    try:
        header = fits.Header.fromfile(stream)
        values = (
            int(np.prod([header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)])) if header["NAXIS"] else 0
        )
        announced = stream.tell() + values * abs(header["BITPIX"]) // 8
    except (OSError, KeyError, TypeError, ValueError, fits.VerifyError) as error:
        raise ImageError(f"FITS header cannot be read, the file may be cut off. Received: {error}") from error
    if len(content) < announced:
        raise ImageError(f"FITS file is cut off: {announced} bytes announced. Received: {len(content)} bytes")


def calibrated(band: np.ndarray, unit: float | None, noise: float, sky: SkyParams) -> np.ndarray:
    """Subtract the sky level, bring a band to nanomaggies/arcsec², and lay the pedestal under it.

    Surveys have units of their own, and a cutout says nothing of them. SDSS images hold nanomaggies a pixel with the
    sky taken off: `unit` is then 1 / 0.396². VIKING images hold counts, on a sky that is not nothing. What is known of
    VIKING is its depth, 5 sigma at H = 21.5 (AB) in a 2″ aperture (Edge et al. 2013, 2013Msngr.154...32E): a noise of
    0.84 nanomaggies/arcsec² between pixels of 0.339″, or about 0.57 once they are interpolated to finer ones. A band
    without a unit is therefore multiplied so that its own sky noise is `noise`. As a survey is about as deep in one
    place as in another, that is nearly the same factor for every galaxy and colours keep their meaning; and the image
    does not depend on the unit or on a constant sky at all.

    Parameters
    ----------
    band
        `(N, N)` float, NaN where there is no value.
    unit
        Nanomaggies/arcsec² that a value of 1 stands for. None: found from the sky noise.
    noise
        What the standard deviation of the sky is taken to be where there is no unit, in nanomaggies/arcsec².
    sky
        `border` is the share of the side, at each edge, that counts as sky; `pedestal` is in sky noises.

    Returns
    -------
    numpy.ndarray
        `(N, N)` float32, nanomaggies/arcsec²; a place without a value is as bright as the sky.
    """
    edge = max(1, round(sky.border * band.shape[0]))
    frame = np.ones(band.shape, dtype=bool)
    frame[edge:-edge, edge:-edge] = False
    values = band[frame & np.isfinite(band)]
    if values.size == 0:
        values = band[np.isfinite(band)]
    # Clipping leaves the stars and neighbours on the border out of both figures.
    _, level, deviation = sigma_clipped_stats(values, sigma=3, maxiters=5)
    factor = unit if unit is not None else noise / deviation if deviation > 0 else 1.0
    flux = np.nan_to_num(band - level, nan=0.0) + sky.pedestal * deviation
    return np.asarray(flux * factor, dtype=np.float32)


def colour_image(bands: Mapping[Band, np.ndarray | None], params: CutoutsParams) -> np.ndarray:
    """Make the colour image of Lupton et al. (2004, doi:10.1086/382245): R=H, G=i, B=g.

    Each band is calibrated and multiplied by its `scale`, which balances the colours: a galaxy is several times
    brighter in H than in g, and would come out red whatever it is.

    Parameters
    ----------
    bands
        `(N, N)` float of each band as `decode_band` returns it; None for a band that is not there, whose channel
        stays blank. At least one is there.
    params
        `lupton`, `scale`, `unit` and `sky` are used.

    Returns
    -------
    numpy.ndarray
        `(N, N, 3)` uint8 RGB, north up and east left.

    Raises
    ------
    ValueError
        When no band is there.
    """
    shape = next((band.shape for band in bands.values() if band is not None), None)
    if shape is None:
        raise ValueError("colour_image needs at least one band. Received: none")
    channels = []
    for name in CHANNELS:
        band = bands[name]
        if band is None:
            channels.append(np.zeros(shape, np.float32))
        else:
            flux = calibrated(band, params.unit[name], params.sky.noise[name], params.sky)
            channels.append(flux * np.float32(params.scale[name]))
    image: np.ndarray = make_lupton_rgb(*channels, stretch=params.lupton.stretch, Q=params.lupton.q)
    # FITS counts rows from the south, images from the top.
    return np.ascontiguousarray(image[::-1])
