"""Which partitions a process of SU serves."""

from pathlib import Path

import pytest

from pipeline.rounds import PARTITIONS
from pipeline.shard import WHOLE, Shard


@pytest.mark.parametrize("count", range(1, 17))
def test_shards_share_the_partitions(count: int) -> None:
    shards = [Shard.parse(f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(p for shard in shards for p in shard.partitions) == list(PARTITIONS)
    for shard in shards:
        assert shard.partitions
        assert {partition % count for partition in shard.partitions} == {shard.number - 1}
    assert len({shard.ledger(Path()) for shard in shards}) == count


def test_one_shard_is_the_whole() -> None:
    assert Shard.parse("1/1") == WHOLE
    assert WHOLE.ledger(Path("state")) == Path("state/su.ledger")
    assert Shard(1, 2).ledger(Path("state")) == Path("state/su-1of2.ledger")


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/17", "-1/2", "1/2/3", "1 /2", "1/0", "１/2", "1/2\n"]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a shard is"):
        Shard.parse(text)
