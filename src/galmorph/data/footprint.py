"""Where on the sky a galaxy may lie."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from galmorph.params import SkyField

#: The equatorial and southern fields of GAMA (Driver et al. 2022, doi:10.1093/mnras/stac472), degrees.
GAMA_FIELDS = {
    "G09": SkyField(ra=(129.0, 141.0), dec=(-2.0, 3.0)),
    "G12": SkyField(ra=(174.0, 186.0), dec=(-3.0, 2.0)),
    "G15": SkyField(ra=(211.5, 223.5), dec=(-2.0, 3.0)),
    "G23": SkyField(ra=(339.0, 351.0), dec=(-35.0, -30.0)),
}

Footprint = Literal["gama", "any"] | Sequence[SkyField]


def position_problems(table: pd.DataFrame, footprint: Footprint) -> list[str]:
    """Say of each galaxy what is wrong with its position.

    Parameters
    ----------
    table
        With columns `RA` and `Dec`, in any case, or without them; degrees, J2000.
    footprint
        `gama`, `any` (every position on the sky), or rectangles. A rectangle from 350 to 10 degrees of RA goes
        through 0.

    Returns
    -------
    list of str
        Empty where the position is good, or where RA or Dec is not given.
    """
    names = {str(name).lower(): name for name in table.columns}
    if "ra" not in names or "dec" not in names:
        return [""] * len(table)
    given = table[[names["ra"], names["dec"]]]
    told = ~(given.isna() | (given == "")).any(axis=1).to_numpy(bool)
    ra, dec = (pd.to_numeric(given[name], errors="coerce").to_numpy(float) for name in given)
    sound = np.isfinite(ra) & (np.abs(dec) <= 90) & (ra >= -360) & (ra <= 360)
    inside = sound & _inside(ra, dec, footprint)
    problems = []
    for row, (right_ascension, declination) in enumerate(given.itertuples(index=False)):
        where = f"RA {right_ascension}, Dec {declination}"
        if not told[row] or inside[row]:
            problems.append("")
        elif sound[row]:
            name = "GAMA's fields" if footprint == "gama" else "the footprint"
            problems.append(f"outside {name} (validate.footprint). Received: {where}")
        else:
            problems.append(f"RA and Dec must be degrees, within 0 to 360 and -90 to 90. Received: {where}")
    return problems


def _inside(ra: np.ndarray, dec: np.ndarray, footprint: Footprint) -> np.ndarray:
    if footprint == "any":
        return np.ones(len(ra), bool)
    fields = tuple(GAMA_FIELDS.values()) if isinstance(footprint, str) else footprint
    inside = np.zeros(len(ra), bool)
    for field in fields:
        west, east = (edge % 360 for edge in field.ra)
        if field.ra[1] - field.ra[0] >= 360:
            within = np.ones(len(ra), bool)
        elif west <= east:
            within = (ra % 360 >= west) & (ra % 360 <= east)
        else:
            within = (ra % 360 >= west) | (ra % 360 <= east)
        inside |= within & (dec >= field.dec[0]) & (dec <= field.dec[1])
    return inside
