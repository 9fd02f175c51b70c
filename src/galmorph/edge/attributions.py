"""Attributions of many galaxies on disk, made a batch at a time: memory does not grow, an interrupted run goes on."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from galmorph.explain.base import Attributions, Explainer, attribute_after
from galmorph.parallel import progress
from galmorph.storage import replacing, write_table

#: The table of the galaxies, in the order of every method's maps.
GALAXIES_FILE = "galaxies.csv"
#: What a fact is called in a batch's file, beside the maps.
_FACT = "fact_"


def write_attributions(
    folder: Path,
    explainers: Mapping[str, Explainer],
    galaxies: pd.DataFrame,
    images: Callable[[Sequence[str]], np.ndarray],
    batch_size: int,
) -> None:
    """Explain galaxies by every method, into `<method>.npy`, `<method>.csv` and `galaxies.csv`.

    A batch is written as soon as it is made, under a name of its own; the batches that an interrupted run left in
    `folder` are not made again. So `folder` must belong to the same work (see `storage.output_folder`).

    Parameters
    ----------
    folder
        Where to write.
    explainers
        By name.
    galaxies
        `CATAID` and `target` (the class that is explained), in order.
    images
        Gives the prepared images of some ids, `(n, S, S, 3)` uint8.
    batch_size
        Galaxies at a time.
    """
    write_table(folder / GALAXIES_FILE, galaxies[["CATAID", "target"]])
    starts = range(0, len(galaxies), batch_size)
    todo = [
        (name, start)
        for start in starts
        for name in explainers
        if not _whole(folder, name).exists() and not _part(folder, name, start).exists()
    ]
    at, seen, made = -1, np.empty(0, np.uint8), dict[str, Attributions]()
    for name, start in progress(iter(todo), len(todo), "explaining", "batches"):
        rows = galaxies.iloc[start : start + batch_size]
        if start != at:  # a batch is read once, for all methods
            at, seen, made = start, images(rows["CATAID"].tolist()), {}
        made[name] = attribute_after(made, explainers[name], seen, rows["target"].tolist())
        with replacing(_part(folder, name, start)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, maps=made[name].maps, **_prefixed(made[name].facts))
    for name in explainers:
        if not _whole(folder, name).exists():
            _join(folder, name, galaxies["CATAID"].tolist(), [_part(folder, name, start) for start in starts])
        # Also what is left where an earlier run ended between joining and this.
        shutil.rmtree(_part(folder, name, 0).parent, ignore_errors=True)


def read_attributions(folder: Path, name: str) -> np.ndarray:
    """Return a method's maps, `(N, S, S)` float32, mapped from the disk and read as they are used."""
    maps: np.ndarray = np.load(_whole(folder, name), mmap_mode="r")
    return maps


def read_facts(folder: Path, name: str) -> pd.DataFrame:
    """Return what a method measured of each galaxy: `CATAID`, and a column for each fact."""
    return pd.read_csv(folder / f"{name}.csv", dtype={"CATAID": str}, keep_default_na=False, na_values={})


def _join(folder: Path, name: str, cataids: list[str], parts: Sequence[Path]) -> None:
    """Put a method's batches together, one after the other."""

    def opened() -> Iterator[Mapping[str, np.ndarray]]:
        for part in parts:
            with np.load(part) as batch:
                yield dict(batch)

    batches = opened()
    first = next(batches)
    facts = []
    with replacing(_whole(folder, name)) as temporary:
        whole = open_memmap(temporary, "w+", np.float32, (len(cataids), *first["maps"].shape[1:]))
        at = 0
        for batch in chain([first], batches):
            whole[at : at + len(batch["maps"])] = batch["maps"]
            at += len(batch["maps"])
            facts.append(pd.DataFrame({key.removeprefix(_FACT): batch[key] for key in batch if key != "maps"}))
        whole.flush()
        measured = pd.concat(facts, ignore_index=True)
        measured.insert(0, "CATAID", cataids)
        # Before the maps get their name: whoever sees those finds the facts too.
        write_table(folder / f"{name}.csv", measured)


def _prefixed(facts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {f"{_FACT}{name}": values for name, values in facts.items()}


def _whole(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _part(folder: Path, name: str, start: int) -> Path:
    return folder / f".{name}.batches" / f"{start:07d}.npz"
