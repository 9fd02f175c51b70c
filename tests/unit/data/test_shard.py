import hashlib

import pytest

from galmorph.data.shard import WHOLE, Shard
from galmorph.errors import InputError

IDS = [f"{number:06d}" for number in range(20_000)]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_every_id_is_in_exactly_one_shard_and_they_are_nearly_equal(n):
    shards = [[one for one in IDS if Shard(i, n).holds(one)] for i in range(1, n + 1)]
    assert sorted(one for shard in shards for one in shard) == IDS
    # Six standard deviations of a fair draw.
    assert all(abs(len(shard) - len(IDS) / n) <= 6 * (len(IDS) / n) ** 0.5 for shard in shards)


def test_a_shard_is_told_by_the_id_alone_and_stays_so():
    """The rule itself: machines with other versions of galmorph must not disagree."""
    digest = hashlib.sha256(b"6802").digest()
    assert [i for i in range(1, 6) if Shard(i, 5).holds("6802")] == [int.from_bytes(digest[:8], "big") % 5 + 1]


def test_a_file_name_that_is_no_text_has_a_shard():
    assert sum(Shard(i, 3).holds("a\udcff.png") for i in (1, 2, 3)) == 1


def test_it_is_written_as_it_is_read():
    assert Shard.parse("3/10") == Shard(3, 10)
    assert str(Shard.parse("3/10")) == "3/10"
    assert Shard.parse("1/1") == WHOLE


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "-1/3", "a/b", "1/3/5", "", "1 /3", "²/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match=r"--shard: takes i/n with i from 1 to n.*Received: "):
        Shard.parse(text)
