"""What is measured of every image."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from galmorph.data.duplicates import perceptual_hash
from galmorph.data.images import decode_image
from galmorph.data.segment import segment, shape, sky_level
from galmorph.errors import ImageError
from galmorph.params import ValidateParams

CHANNELS = ("r", "g", "b")
#: What validation adds to the facts.
_RESULTS = ("accepted", "reasons", "flags", "group", "contrast", "position", "galaxy", "copy")


@dataclass(frozen=True)
class Facts:
    """What is known of one image file: the columns it adds to the manifest, but for `problem`.

    Attributes
    ----------
    problem
        Why it cannot be read; empty when it can. Of one that cannot, nothing else is known.
    sha256
        Of the file, hexadecimal.
    format, mode
        Of the file, as `galmorph.data.images` names them: `PNG`, `RGB`.
    width, height
        Pixels.
    mean_r, mean_g, mean_b, contrast_r, contrast_g, contrast_b
        Mean and standard deviation of each channel over the frame, of 255.
    blank_channel
        The letters of the channels whose contrast is below `blank_contrast`.
    saturated
        Share of pixels with a channel at 255.
    galaxy_r, galaxy_g, galaxy_b
        Mean light of the galaxy's own pixels above the sky, of 255; NaN when no galaxy was found.
    axis_ratio_measured, radius_pixels
        The galaxy's shape (`galmorph.data.segment.Shape`); NaN when no galaxy was found.
    phash
        `galmorph.data.duplicates.perceptual_hash`: 16 hexadecimal digits, or empty.
    """

    problem: str = ""
    sha256: str = ""
    format: str = ""
    mode: str = ""
    width: int | None = None
    height: int | None = None
    mean_r: float = np.nan
    mean_g: float = np.nan
    mean_b: float = np.nan
    contrast_r: float = np.nan
    contrast_g: float = np.nan
    contrast_b: float = np.nan
    blank_channel: str = ""
    saturated: float = np.nan
    galaxy_r: float = np.nan
    galaxy_g: float = np.nan
    galaxy_b: float = np.nan
    axis_ratio_measured: float = np.nan
    radius_pixels: float = np.nan
    phash: str = ""


def measure(content: bytes, name: str, params: ValidateParams) -> Facts:
    """Measure one image file.

    Parameters
    ----------
    content
        The whole file.
    name
        Its name, for the message.
    params
        The limits.

    Returns
    -------
    Facts
        With a `problem`, and no error raised, for a file that is no image, damaged or too large.
    """
    digest = hashlib.sha256(content).hexdigest()
    try:
        decoded = decode_image(content, name, params.max_pixels)
    except ImageError as error:
        return Facts(problem=str(error), sha256=digest)
    image = decoded.pixels
    height, width = image.shape[:2]
    mean, contrast = image.mean((0, 1)), image.std((0, 1))
    segments = segment(image)
    own = shape(image, segments.galaxy)
    light = np.full(3, np.nan)
    if segments.galaxy.any():
        sky = [sky_level(image[..., k][segments.sky])[0] for k in range(3)]
        light = image[segments.galaxy].mean(0) - sky
    numbers: dict[str, Any] = {
        f"{name}_{channel}": float(values[k])
        for name, values in (("mean", mean), ("contrast", contrast), ("galaxy", light))
        for k, channel in enumerate(CHANNELS)
    }
    return Facts(
        sha256=digest,
        format=decoded.format,
        mode=decoded.mode,
        width=width,
        height=height,
        **numbers,
        blank_channel=blank_channels(image, params.blank_contrast),
        saturated=float((image == 255).any(-1).mean()),
        axis_ratio_measured=own.axis_ratio,
        radius_pixels=own.radius_pixels,
        phash=perceptual_hash(image),
    )


def blank_channels(image: np.ndarray, blank_contrast: float) -> str:
    """Return the letters of the channels of an `(H, W, 3)` image whose standard deviation is below `blank_contrast`."""
    contrast = image.std((0, 1))
    return "".join(channel for at, channel in enumerate(CHANNELS) if contrast[at] < blank_contrast)


def facts_table(catalogue: pd.DataFrame, facts: Sequence[Facts]) -> pd.DataFrame:
    """Lay what was measured beside the catalogue, row by row.

    Parameters
    ----------
    catalogue
        One row a galaxy.
    facts
        Of each row's image.

    Returns
    -------
    pandas.DataFrame
        A new table with a fresh index. Text columns hold text throughout, empty where there is none. A column of the
        catalogue that has the name of a fact is called `<name>_catalogue`.
    """
    names = [field.name for field in dataclasses.fields(Facts)]
    taken = {name: f"{name}_catalogue" for name in (*names, *_RESULTS) if name in catalogue}
    table = catalogue.rename(columns=taken).reset_index(drop=True)
    for name in table:
        if not (pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_datetime64_any_dtype(table[name])):
            table[name] = [str(value) if pd.notna(value) else "" for value in table[name]]
    for name in ("label", "rejected"):  # a column that is empty throughout is read as numbers
        if pd.api.types.is_numeric_dtype(table[name]):
            table[name] = ["" if pd.isna(value) else str(value) for value in table[name]]
    for name in names:
        values = [getattr(fact, name) for fact in facts]
        table[name] = pd.array(values, "Int64") if name in ("width", "height") else values
    return table
