"""Tables of shards that do not fit together."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from galmorph.data.identity import ids_digest
from galmorph.data.predictions import Verdict, part_table, rows
from galmorph.data.shard import Shard
from galmorph.edge.predicting import merge
from galmorph.edge.predictions_files import (
    heat_maps_path,
    read_about,
    rejects_path,
    write_heat_maps,
    write_predictions,
)
from galmorph.errors import InputError

IDS = [f"{number:02d}" for number in range(20)]
VERDICT = Verdict(0.5, 0.1, "galmorph/1", "d" * 64)


def write_shard(path, shard, ids=None, rejected=(), **about):
    """The table of a shard, as `predict` writes it: by default of every id that is in it."""
    ids = [one for one in IDS if shard.holds(one)] if ids is None else ids
    nothing = [None] * len(ids)
    part = part_table(
        [("", one, f"{one}.png") for one in ids], nothing, ["0" * 64] * len(ids), [0.7] * len(ids), nothing
    )
    facts = {
        "written_by": "galmorph predict", "galmorph": "0", "model": "galmorph/1", "experiment": "small",
        "model_digest": "m" * 64, "data_digest": "d" * 64, "threshold": 0.5, "near_threshold": 0.1,
        "precision": "f32", "shard": str(shard), "ids": len(IDS), "ids_digest": ids_digest(IDS), **about,
    }  # fmt: skip
    lines = [("", one, f"{one}.png", "torn") for one in rejected]
    write_predictions(path, [rows(part, VERDICT)] if ids else [], facts, {}, lines)
    return path


@pytest.fixture
def two(tmp_path):
    return [write_shard(tmp_path / f"{i}.parquet", Shard(i, 2)) for i in (1, 2)]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "all.parquet"


def refused(parts, output, expected, message):
    with pytest.raises(InputError, match=message):
        merge(parts, output, expected)
    assert not output.exists()


def test_good_shards_are_joined_with_what_they_rejected(tmp_path, output):
    first = [one for one in IDS if Shard(1, 2).holds(one)]
    parts = [
        write_shard(tmp_path / "1.parquet", Shard(1, 2), ids=first[1:], rejected=first[:1]),
        write_shard(tmp_path / "2.parquet", Shard(2, 2)),
    ]
    found = merge(parts, output, IDS)
    assert (found.answered, found.rejected) == (19, 1)
    assert sorted(parquet.read_table(output)["CATAID"].to_pylist()) == sorted({*IDS} - {first[0]})
    assert rejects_path(output).read_text() == f"row,CATAID,file,reason\n,{first[0]},{first[0]}.png,torn\n"
    assert json.loads(parquet.read_schema(output).metadata[b"galmorph"])["shard"] == "1/1"


def test_a_table_that_was_merged_is_whole(two, output, tmp_path):
    merge(two, output, IDS)
    assert merge([output], tmp_path / "again.parquet", IDS).answered == 20


def test_a_missing_shard_is_named(two, output):
    refused(two[:1], output, IDS, r"takes all shards of one n\. Missing: 2/2\. Received: 1/2")


def test_shards_of_another_n_do_not_fit(two, output, tmp_path):
    two.append(write_shard(tmp_path / "3.parquet", Shard(3, 3)))
    refused(two, output, IDS, r"takes all shards of one n")


def test_a_shard_given_twice_is_named(two, output, tmp_path):
    again = write_shard(tmp_path / "again.parquet", Shard(2, 2))
    refused([*two, again], output, IDS, r"again\.parquet and .*2\.parquet are both shard 2/2")


@pytest.mark.parametrize(
    "about", [{"model": "galmorph/2"}, {"model_digest": "n" * 64}, {"ids_digest": "x"}, {"threshold": 0.4}]
)
def test_shards_of_other_work_are_not_joined(about, two, output, tmp_path):
    other = write_shard(tmp_path / "2.parquet", Shard(2, 2), **about)
    refused(
        [two[0], other], output, IDS, rf"2\.parquet: is of other work than .*1\.parquet: {next(iter(about))} differs"
    )


def test_a_doubled_galaxy_is_named(two, output, tmp_path):
    taken = [one for one in IDS if Shard(1, 2).holds(one)][3]
    write_shard(two[1], Shard(2, 2), ids=[*(one for one in IDS if Shard(2, 2).holds(one)), taken])
    refused(two, output, IDS, rf"2\.parquet: galaxy {taken} is doubled, .*1\.parquet has it too")


@pytest.mark.parametrize("expected", [IDS, None])
def test_a_lost_galaxy_is_told(expected, two, output):
    held = [one for one in IDS if Shard(2, 2).holds(one)]
    write_shard(two[1], Shard(2, 2), ids=held[1:])
    message = (
        rf"1 galaxies are lost\..*Received: {held[0]}" if expected else r"do not hold .*\(20\).*Received: 19 galaxies"
    )
    refused(two, output, expected, message)


def test_a_galaxy_that_nobody_expects_is_told(two, output):
    refused(two, output, IDS[:-2], r"2 galaxies are not expected\..*Received: 18, 19")


def test_what_is_no_table_of_predictions_is_refused(two, output, tmp_path):
    parquet.write_table(pa.table({"CATAID": ["1"]}), tmp_path / "mine.parquet")
    refused([two[0], tmp_path / "mine.parquet"], output, IDS, r"mine\.parquet: not a table of `galmorph predict`")
    refused([two[0], tmp_path / "no.parquet"], output, IDS, r"no\.parquet: not a table.*Received: no such file")
    refused([], output, IDS, "takes the tables of all shards. Received: none")
    rejects_path(two[1]).unlink()
    refused(two, output, IDS, r"2\.rejected\.csv: missing")


def test_heat_maps_of_some_shards_only_are_not_joined(two, output):
    heat_maps_path(two[0]).write_bytes(b"")
    refused(two, output, IDS, r"only some shards have heat maps\..*Received: .*1\.heat_maps\.parquet")


def test_heat_maps_of_another_run_are_not_joined(two, output):
    for path, model in zip(two, ("galmorph/1", "galmorph/0"), strict=True):
        write_heat_maps(heat_maps_path(path), [], {**read_about(path), "model": model})
    refused(two, output, IDS, r"2\.heat_maps\.parquet: not of the run of 2\.parquet")


def test_a_shard_is_not_replaced_by_the_whole(two):
    before = two[0].read_bytes()
    with pytest.raises(InputError, match="--output: is one of the tables to merge"):
        merge(two, two[0], IDS)
    assert two[0].read_bytes() == before


def test_the_table_of_somebody_else_is_not_replaced(two, output):
    output.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists, and is not the result"):
        merge(two, output, IDS)
    assert output.read_bytes() == b"mine"
