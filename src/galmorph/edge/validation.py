"""Measure the images of data/raw, find those that are there twice, and write the data report."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from galmorph import parallel, storage
from galmorph.data.identity import data_digest
from galmorph.errors import CatalogueError, DataValidationError
from galmorph.params import ValidateParams

if TYPE_CHECKING:  # these load OpenCV, matplotlib and more: where they are used, and in the workers
    from galmorph.data.duplicates import Pair
    from galmorph.data.facts import Facts
    from galmorph.data.montage import Tile

#: What this stage reads of a catalogue.
_NEEDED = ("CATAID", "label", "row", "rejected")
_PAIRS_SHOWN = 24


@dataclass(frozen=True)
class Twin:
    """Two galaxies whose images are proven to be nearly the same: positions in the catalogue, and the correlation."""

    first: int
    second: int
    orientation: int
    correlation: float


def validate_raw(raw: Path, report: Path, params: ValidateParams) -> pd.DataFrame:
    """Measure and judge every galaxy, and write the data report.

    Parameters
    ----------
    raw
        Folder with `catalogue.csv` and `images`.
    report
        Folder for the report; what it held is replaced, also when the data are not fit.
    params
        The limits.

    Returns
    -------
    pandas.DataFrame
        The manifest: a row for each of the catalogue's, in its order.

    Raises
    ------
    CatalogueError
        When the catalogue lacks a column.
    DataValidationError
        When the data as a whole are not fit; the report has been written by then.
    """
    from galmorph.data import validate as core
    from galmorph.data.duplicates import candidates, groups
    from galmorph.data.expectations import examine
    from galmorph.data.facts import facts_table
    from galmorph.data.validation_report import tally, verdict

    path = raw / "catalogue.csv"
    catalogue = storage.read_table(path)
    if missing := [name for name in _NEEDED if name not in catalogue]:
        raise CatalogueError(
            f"{path}: column {', '.join(missing)} is missing. Run acquire again (`dvc repro` does). "
            f"Received: {', '.join(map(str, catalogue.columns))}"
        )
    table = facts_table(catalogue, measure_all(raw / "images", catalogue, params))
    view = core.prepared(table, params)
    cataids = table["CATAID"].tolist()
    broken = core.broken(view, core.rules(params))

    sound = [k for k, found in enumerate(broken) if not found]
    same = core.exact_copies(*(table[name].iloc[sound].tolist() for name in ("CATAID", "label", "sha256")))
    view["copy"] = pd.Series(dict(zip(sound, same, strict=True)), dtype=object).reindex(view.index).replace("", None)
    for k, found in zip(sound, core.broken(view.iloc[sound], [core.copy_rule()]), strict=True):
        broken[k] += found

    hashes = [text if not found else "" for text, found in zip(table["phash"], broken, strict=True)]
    near = candidates(hashes, params.hash_distance)
    twins = [twin for twin in prove(raw / "images", cataids, near) if twin.correlation >= params.duplicate_correlation]
    view["group"] = groups(cataids, [(twin.first, twin.second) for twin in twins])
    view["accepted"] = np.array([not found for found in broken], bool)

    marked = core.broken(view, core.flags(params))
    marked = [marks if accepted else [] for marks, accepted in zip(marked, view["accepted"], strict=True)]
    table["group"] = view["group"].tolist()
    table["accepted"] = view["accepted"].to_numpy()
    table["reasons"] = ["; ".join(reason for _, reason in found) for found in broken]
    table["flags"] = ["; ".join(reason for _, reason in marks) for marks in marked]
    manifest = table.drop(columns="problem")

    examination = examine(view, params)
    reasons, marks = tally(cataids, broken), tally(cataids, marked)
    problem = verdict(manifest, examination.results, reasons, str(path), str(report / "index.html"))
    _write_report(report, raw, manifest, examination, reasons, marks, near, twins, params, problem)
    if problem:
        raise DataValidationError(problem)
    return manifest


def card(manifest: pd.DataFrame) -> dict[str, Any]:
    """Describe the variant `raw`: how many galaxies were accepted, and the digest of their labels and images."""
    galaxies = manifest[manifest["accepted"]]
    digest = data_digest(galaxies["CATAID"], galaxies["label"], galaxies["sha256"])
    return {"variant": "raw", "images": len(galaxies), "digest": digest}


def measure_all(images: Path, catalogue: pd.DataFrame, params: ValidateParams) -> "list[Facts]":
    """Measure the image of each galaxy that acquire did not reject, in the order of the catalogue."""
    wanted = [
        "" if pd.notna(rejected) and rejected != "" else str(cataid)
        for cataid, rejected in zip(catalogue["CATAID"], catalogue["rejected"], strict=True)
    ]
    return list(parallel.map_ordered(partial(_measure_one, images, params), wanted, "measure"))


def _measure_one(images: Path, params: ValidateParams, cataid: str) -> "Facts":
    from galmorph.data.facts import Facts, measure
    from galmorph.data.images import max_bytes

    if not cataid:
        return Facts()
    path = storage.image_path(images, cataid)
    name = f"images/{path.name}"
    if not path.exists():
        return Facts(problem=f"{name}: the file is not there. Run acquire again.")
    if path.stat().st_size > max_bytes(params.max_pixels):
        return Facts(
            problem=f"{name}: larger than any image of {params.max_pixels:,} pixels (validate.max_pixels), so it was "
            f"not read. Received: {path.stat().st_size:,} bytes"
        )
    return measure(path.read_bytes(), name, params)


def prove(images: Path, cataids: Sequence[str], pairs: "Sequence[Pair]") -> list[Twin]:
    """Correlate the pixels of each candidate pair, in their order."""
    work = [
        (cataids[first], [(cataids[pair.second], pair.orientation) for pair in same])
        for first, same in ((first, list(same)) for first, same in groupby(pairs, key=lambda pair: pair.first))
    ]
    if not work:
        return []
    found = parallel.map_ordered(partial(_correlate, images), work, "compare", "galaxies with a look-alike")
    correlations = (value for values in found for value in values)
    return [
        Twin(pair.first, pair.second, pair.orientation, value) for pair, value in zip(pairs, correlations, strict=True)
    ]


def _correlate(images: Path, work: tuple[str, list[tuple[str, int]]]) -> list[float]:
    from galmorph.data.duplicates import correlation, texture, turned

    first, others = work
    own = texture(storage.read_image(storage.image_path(images, first)))
    seconds = ((storage.read_image(storage.image_path(images, cataid)), orientation) for cataid, orientation in others)
    return [correlation(own, texture(turned(image, orientation))) for image, orientation in seconds]


def _write_report(
    report: Path,
    raw: Path,
    manifest: pd.DataFrame,
    examination: Any,
    reasons: Sequence[Any],
    marks: Sequence[Any],
    near: "Sequence[Pair]",
    twins: Sequence[Twin],
    params: ValidateParams,
    problem: str,
) -> None:
    from galmorph.data.montage import pair_sheet, sheet
    from galmorph.data.shortcuts import shortcuts
    from galmorph.data.validate import LABELS
    from galmorph.data.validation_report import EXPECTATIONS, NEAR_DUPLICATES, QUARANTINED, render

    galaxies = manifest[manifest["accepted"]]
    sheets = {}
    for label in LABELS:
        chosen = _spread(galaxies[galaxies["label"] == label], params.montage)
        text = f"{len(chosen)} of them, evenly spread over the catalogue; each with its CATAID and measured axis ratio."
        sheets[label] = (text, sheet(list(_tiles(raw, chosen)), columns=6))
    if twins:
        shown = sorted(twins, key=lambda twin: twin.correlation)[:_PAIRS_SHOWN]
        text = (
            f"{len(shown)} of {len(twins)} proven pairs, those that correlate least first: here a mistake would show."
        )
        sheets["Pairs of near duplicates"] = (text, pair_sheet(list(_pair_tiles(raw, manifest, shown))))
    sizes = galaxies["group"].value_counts()
    counts = {
        "candidates": len(near),
        "proven": len(twins),
        "groups": int((sizes > 1).sum()),
        "largest": int(sizes.max()) if len(sizes) else 0,
    }
    page = render(manifest, examination.results, reasons, marks, shortcuts(galaxies), sheets, counts, params, problem)
    with storage.output_folder(report) as folder:
        for name, content in examination.pages.items():
            storage.write_text(folder / EXPECTATIONS / name, content)
        if twins:
            storage.write_table(folder / NEAR_DUPLICATES, _pairs_table(manifest, twins))
        if reasons:
            lost = manifest.loc[~manifest["accepted"], ["CATAID", "row", "label", "reasons"]]
            storage.write_table(folder / QUARANTINED, lost)
        storage.write_text(folder / "index.html", page)


def _spread(galaxies: pd.DataFrame, count: int) -> pd.DataFrame:
    places = np.unique(np.linspace(0, len(galaxies) - 1, min(count, len(galaxies))).astype(int))
    return galaxies.iloc[places]


def _tiles(raw: Path, galaxies: pd.DataFrame) -> "Iterator[Tile]":
    from galmorph.data.montage import Tile

    for cataid, ratio in zip(galaxies["CATAID"], galaxies["axis_ratio_measured"], strict=True):
        shape = "" if np.isnan(ratio) else f"\nb/a {ratio:.2f}"
        yield Tile(storage.read_image(storage.image_path(raw / "images", cataid)), f"{cataid}{shape}")


def _pair_tiles(raw: Path, manifest: pd.DataFrame, twins: Sequence[Twin]) -> "Iterator[tuple[Tile, Tile]]":
    from galmorph.data.montage import Tile

    for twin in twins:
        tiles = []
        for position, note in ((twin.first, f"correlation {twin.correlation:.2f}"), (twin.second, "")):
            cataid, label = manifest.loc[position, ["CATAID", "label"]]
            image = storage.read_image(storage.image_path(raw / "images", str(cataid)))
            tiles.append(Tile(image, f"{cataid}\n{label}" + (f", {note}" if note else "")))
        yield tiles[0], tiles[1]


def _pairs_table(manifest: pd.DataFrame, twins: Sequence[Twin]) -> pd.DataFrame:
    names = manifest["CATAID"].tolist()
    rows = [{**asdict(twin), "first": names[twin.first], "second": names[twin.second]} for twin in twins]
    return pd.DataFrame(rows)
