"""Fill data/raw from source `cutouts`: a catalogue with positions, images from a cutout service."""

import contextlib
import csv
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from galmorph import storage
from galmorph.errors import CatalogueError, DownloadError, ImageError
from galmorph.parallel import progress
from galmorph.params import AcquireParams, Band, CutoutsParams

if TYPE_CHECKING:
    from astropy.table import Table

    from galmorph.edge.hips2fits import Hips2Fits

log = logging.getLogger(__name__)

#: What a catalogue's file name may end with, and the format that astropy calls it by.
_FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv",
    ".fits": "fits", ".fit": "fits", ".fits.gz": "fits",
    ".vot": "votable", ".votable": "votable", ".xml": "votable",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
_DELIMITERS = ",;\t|"


class _Galaxy(NamedTuple):
    cataid: str
    ra: str
    dec: str


class _Outcome(NamedTuple):
    bands_missing: str
    rejected: str


def fill(folder: Path, params: AcquireParams) -> None:
    """Write `catalogue.csv` and `images/<CATAID>.png` into `folder`, going on with what is there.

    What goes on is the fetching: bands are kept in `.cutouts` beside the output, and no band that is there is asked
    for again, by whatever run. Images are made anew from them, so that a changed catalogue or colour stretch leaves
    none behind. `excluded.csv` lists the rows of Hubble types that are left out, if there are any.

    Raises
    ------
    CatalogueError
        When the catalogue cannot be read or used.
    DownloadError
        When the service could not be used at all, or so many galaxies in a row failed that it must be down.
    """
    from galmorph.data.cutouts import labelled_rows

    table, lines = read_catalogue(params.path, params.cutouts)
    galaxies, excluded = labelled_rows(table, lines, str(params.path), params.cutouts)
    images = folder / "images"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    usable = galaxies["rejected"] == ""
    outcomes = _fetch_all(galaxies[usable], images, BandCache(folder.parent / ".cutouts"), params.cutouts)
    galaxies["bands_missing"] = ""
    galaxies.loc[usable, "bands_missing"] = [outcome.bands_missing for outcome in outcomes]
    galaxies.loc[usable, "rejected"] = [outcome.rejected for outcome in outcomes]
    made = galaxies["rejected"] == ""
    galaxies["source_format"] = np.where(made, "FITS", "")
    galaxies["source_mode"] = np.where(made, "g, i, H flux", "")
    galaxies["conversion"] = np.where(made, "Lupton colour image, 8-bit RGB", "")
    storage.write_table(folder / "catalogue.csv", galaxies)
    (folder / "excluded.csv").unlink(missing_ok=True)
    if len(excluded):
        storage.write_table(folder / "excluded.csv", excluded)
    _report(galaxies, excluded, params.cutouts)


def _fetch_all(rows: pd.DataFrame, images: Path, cache: "BandCache", params: CutoutsParams) -> list[_Outcome]:
    from galmorph.edge.hips2fits import Hips2Fits

    # Seven decimals are 0.4 milliarcseconds; as text, the request and the cache's key are the same everywhere.
    galaxies = [
        _Galaxy(cataid, f"{ra:.7f}", f"{dec:.7f}")
        for cataid, ra, dec in zip(rows["CATAID"], rows["RA"], rows["Dec"], strict=True)
    ]
    client = Hips2Fits(params)
    make = partial(_make_image, images=images, cache=cache, client=client, params=params)
    # Threads, not processes: the time goes into waiting. One request a thread keeps to the service's limit.
    with ThreadPoolExecutor(params.parallel, thread_name_prefix="cutouts") as pool:
        try:
            outcomes = list(progress(pool.map(make, galaxies), len(galaxies), "cutouts"))
        except BaseException:
            client.stop("interrupted")
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    failures = [outcome.rejected for outcome in outcomes if outcome.rejected]
    if len(failures) == len(outcomes):
        raise DownloadError(
            f"{params.service}: not one of {len(outcomes)} galaxies could be fetched. Check the network, the positions "
            f"and acquire.cutouts.surveys, and run the same command again. Received: {failures[0]}"
        )
    return outcomes


def _make_image(
    galaxy: _Galaxy, images: Path, cache: "BandCache", client: "Hips2Fits", params: CutoutsParams
) -> _Outcome:
    """Fetch the bands that are not in the cache and write the colour image; a failure is an outcome."""
    from galmorph.data.bands import CHANNELS, colour_image
    from galmorph.edge.hips2fits import NoCutoutError

    bands: dict[Band, np.ndarray | None] = {}
    asked = False
    for band in reversed(CHANNELS):
        survey = params.surveys[band]
        kept = cache.path(survey, galaxy.ra, galaxy.dec, params)
        with contextlib.suppress(LookupError):
            bands[band] = cache.read(kept, params.size)
            continue
        asked = True
        try:
            content = client.fetch(survey, galaxy.ra, galaxy.dec)
        except NoCutoutError as error:
            client.failed(str(error))
            return _Outcome("", f"no cutout: {error}")
        storage.write_bytes(kept, content)
        bands[band] = cache.read(kept, params.size)
    if asked:
        client.succeeded()
    missing = "".join(band for band in CHANNELS if bands[band] is None)
    if len(missing) == len(CHANNELS):
        return _Outcome(missing, "no cutout: outside every survey")
    storage.write_image(storage.image_path(images, galaxy.cataid), colour_image(bands, params))
    return _Outcome(missing, "")


class BandCache:
    """Bands as they came from the service, one file each, whole or not there.

    Parameters
    ----------
    folder
        Where they are kept. It may be deleted at any time: what is missing is fetched again.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        for leftover in folder.glob("*/.*.partial.fits"):  # of a run that was killed while it wrote
            leftover.unlink()

    def path(self, survey: str, ra: str, dec: str, params: CutoutsParams) -> Path:
        """Where a band is kept, by survey, position, size and scale."""
        key = storage.fingerprint(survey, ra, dec, params.size, params.pixel_scale)
        return self._folder / key[:2] / f"{key[2:34]}.fits"

    def read(self, path: Path, size: int) -> np.ndarray | None:
        """Read a band as `decode_band` returns it.

        Raises
        ------
        LookupError
            When it is not there, or a disk has spoilt it.
        """
        from galmorph.data.bands import decode_band

        try:
            return decode_band(path.read_bytes(), size)
        except (FileNotFoundError, ImageError) as error:
            raise LookupError(str(path)) from error


def read_catalogue(path: Path, params: CutoutsParams) -> "tuple[Table, list[int]]":
    """Read a catalogue, and of each row its line, counting the header as line 1.

    Parameters
    ----------
    path
        CSV (comma, semicolon, tab or bar; a byte order mark and CRLF are fine), FITS (the first table), VOTable or
        Parquet, told by the end of the name.
    params
        `columns` names those that are text even where they look like numbers.

    Raises
    ------
    CatalogueError
        When there is no such file, its kind is not known, or it cannot be read.
    """
    from astropy.table import Table

    kind = next((kind for end, kind in _FORMATS.items() if path.name.lower().endswith(end)), None)
    if not path.is_file():
        raise CatalogueError(f"{path}: no such file. Set acquire.path to a catalogue.")
    if kind is None:
        raise CatalogueError(
            f"{path}: not a kind of catalogue that is known. Give one that ends in {', '.join(_FORMATS)}. "
            f"Received: {path.name!r}"
        )
    try:
        with warnings.catch_warnings():
            # VOTables and FITS tables of the archives are full of small departures from their standards.
            warnings.simplefilter("ignore")
            if kind == "csv":
                return _read_csv(path, params)
            if kind == "parquet":
                # astropy's own reader fails on a missing value in a column of text.
                table = Table.from_pandas(pd.read_parquet(path, dtype_backend="numpy_nullable"))
            else:
                table = Table.read(path, format=kind)
    except CatalogueError:
        raise
    except Exception as error:  # each reader has its own family of errors, some of them bare IndexErrors
        raise CatalogueError(
            f"{path}: cannot be read as {kind}. Check that it is whole, and that its name ends as its content is. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return table, list(range(2, len(table) + 2))


def _read_csv(path: Path, params: CutoutsParams) -> "tuple[Table, list[int]]":
    from astropy.table import Table

    text = path.read_bytes().decode("utf-8-sig")
    records = list(_records(text))
    if not records:
        raise CatalogueError(f"{path}: is empty. Give a catalogue with a header and a row for each galaxy.")
    header = records[0][1]
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
    roles = {name.casefold() for name in params.columns.model_dump().values()}
    table = Table.read(
        "\n".join(record for _, record in records) + "\n",
        format="ascii.csv",
        delimiter=delimiter,
        guess=False,
        # Ids keep their leading zeros; positions and codes are read where a bad one can be named with its row.
        converters={name: str for name in names if name.casefold() in roles},
    )
    return table, [line for line, _ in records[1:]]


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Yield the records of a CSV file with the line each starts at; blank lines and lines of `#` are passed over."""
    start, pending = 0, ""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not pending and (not line.strip() or line.startswith("#")):
            continue
        start = start if pending else number
        pending += line
        # An odd number of quotes: the record goes on, with a line break inside a field.
        if pending.count('"') % 2 == 0:
            yield start, pending.rstrip("\n")
            pending = ""
    if pending:
        yield start, pending.rstrip("\n")


def _report(galaxies: pd.DataFrame, excluded: pd.DataFrame, params: CutoutsParams) -> None:
    failed = int(galaxies["rejected"].str.startswith("no cutout").sum())
    unusable = int((galaxies["rejected"] != "").sum()) - failed
    if failed:
        log.warning("%d of %d galaxies have no cutout; run acquire again to try those again", failed, len(galaxies))
    if unusable:
        log.warning("%d of %d rows cannot be used; catalogue.csv says why", unusable, len(galaxies))
    if len(excluded):
        log.warning("%d rows excluded by their type; excluded.csv lists them", len(excluded))
    made = galaxies[galaxies["rejected"] == ""]
    for band, survey in params.surveys.items():
        if made["bands_missing"].str.contains(band, regex=False).all():
            log.warning("no galaxy was observed in band %s: is %s the right survey?", band, survey)
