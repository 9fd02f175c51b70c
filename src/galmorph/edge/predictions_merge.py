"""The tables of all shards, joined into one when nothing is lost or doubled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from galmorph.data.identity import ids_digest
from galmorph.data.shard import WHOLE, Shard
from galmorph.edge.predictions_export import votable_header
from galmorph.edge.predictions_files import (
    Counts,
    heat_maps_path,
    read_about,
    read_pieces,
    read_rejects,
    rejects_path,
    write_heat_maps,
    write_predictions,
)
from galmorph.errors import InputError

_SHOWN = 5


def merged(parts: Sequence[Path], output: Path, expected: Sequence[str] | None) -> Counts:
    """Check the tables of all shards, and write one; see `galmorph.edge.predicting.merge`."""
    if not parts:
        raise InputError("merge: takes the tables of all shards. Received: none")
    about = {path: read_about(path) for path in parts}
    ordered = _in_order(about)
    _check_ids(ordered, about[ordered[0]], expected)
    whole = {**about[ordered[0]], "shard": str(WHOLE)}
    _merge_heat_maps(ordered, about, output, whole)
    rejected = (row for path in ordered for row in read_rejects(rejects_path(path)))
    return write_predictions(output, _pieces(ordered), whole, votable_header(whole), rejected)


def _merge_heat_maps(
    ordered: Sequence[Path], about: Mapping[Path, Mapping[str, Any]], output: Path, whole: Mapping[str, Any]
) -> None:
    maps = {path: heat_maps_path(path) for path in ordered if heat_maps_path(path).exists()}
    if not maps:
        heat_maps_path(output).unlink(missing_ok=True)  # an earlier merge's
        return
    if len(maps) < len(ordered):
        raise InputError(
            f"merge: only some shards have heat maps. Predict the others with --heat-maps, too. "
            f"Received: {_listed(maps.values())}"
        )
    for path, beside in maps.items():
        if read_about(beside) != about[path]:
            raise InputError(
                f"{beside}: not of the run of {path.name}. Predict this shard again. Received: another run's"
            )
    write_heat_maps(heat_maps_path(output), _pieces(maps.values()), whole)


def _pieces(paths: Iterable[Path]) -> Iterator[pa.Table]:
    return (piece for path in paths for piece in read_pieces(path))


def _in_order(about: Mapping[Path, Mapping[str, Any]]) -> list[Path]:
    """Return the tables by shard, after checking that they are the shards of one piece of work."""
    first, *others = about
    known = {key: value for key, value in about[first].items() if key != "shard"}
    for path in others:
        if differing := [key for key in known if about[path].get(key) != known[key]]:
            key = differing[0]
            raise InputError(
                f"{path}: is of other work than {first}: {key} differs. Give the shards of one model and one "
                f"set of galaxies. Received: {about[path].get(key)!r} and {known[key]!r}"
            )
    shards: dict[Shard, Path] = {}
    for path in about:
        shard = Shard.parse(about[path]["shard"])
        if shard in shards:
            raise InputError(f"{path} and {shards[shard]} are both shard {shard}. Give each once. Received: two of it")
        shards[shard] = path
    n = next(iter(shards)).n
    missing = [str(Shard(i, n)) for i in range(1, n + 1) if Shard(i, n) not in shards]
    if missing or len(shards) != n:
        raise InputError(
            f"merge: takes all shards of one n. Missing: {', '.join(missing[:_SHOWN]) or 'none'}. "
            f"Received: {_listed(shards)}"
        )
    return [shards[shard] for shard in sorted(shards, key=lambda one: one.i)]


def _check_ids(paths: Sequence[Path], about: Mapping[str, Any], expected: Sequence[str] | None) -> None:
    answered: dict[str, Path] = {}
    for path in paths:
        for piece in read_pieces(path):
            for cataid in piece["CATAID"].to_pylist():
                if cataid in answered:
                    raise InputError(
                        f"{path}: galaxy {cataid} is doubled, {answered[cataid]} has it too. Predict both again. "
                        f"Received: two rows of {cataid}"
                    )
                answered[cataid] = path
        if not rejects_path(path).is_file():
            raise InputError(
                f"{rejects_path(path)}: missing. Keep it beside its table. Received: {path.name} without it"
            )
    refused = {cataid for path in paths for _, cataid, _, _ in read_rejects(rejects_path(path)) if cataid}
    found = refused | set(answered)
    if expected is None:
        if ids_digest(found) != about["ids_digest"]:
            raise InputError(
                f"merge: the shards do not hold the galaxies that they had together ({about['ids']:,}). Predict them "
                f"again, from one catalogue and one set of images. Received: {len(found):,} galaxies"
            )
        return
    wanted = set(expected)
    for name, ids in (("lost", wanted - found), ("not expected", found - wanted)):
        if ids:
            raise InputError(
                f"merge: {len(ids):,} galaxies are {name}. Predict the shards again, from the catalogue that is "
                f"expected. Received: {_listed(sorted(ids))}"
            )


def _listed(names: Iterable[object]) -> str:
    named = [str(name) for name in names]
    return ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else "")
