"""A shard of SU: which partitions of the rounds topics one process serves.

A partition is served by one process at a time. Which one it is may change with a restart: what a
process must know of a partition, it rebuilds from the partition (`pipeline.partition_fold`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.rounds import PARTITIONS

_PATTERN = re.compile(r"\A([1-9][0-9]?)/([1-9][0-9]?)\Z")
LEDGERS = "su*.ledger"
LOCK_FILE = "su.lock"
"""One byte of it stands for each partition, so that shards that overlap exclude each other."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several processes that share the partitions.

    Attributes:
        number: From 1.
        count: How many there are.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NUMBER/COUNT``.

        Raises:
            ValueError: It is not of that form, or there are not so many partitions.
        """
        found = _PATTERN.search(text)
        if found is None:
            raise ValueError("a shard is NUMBER/COUNT, such as 1/2")
        number, count = int(found[1]), int(found[2])
        if not number <= count <= len(PARTITIONS):
            raise ValueError(f"a shard is 1/N to N/N with N at most {len(PARTITIONS)}")
        return cls(number, count)

    @property
    def partitions(self) -> tuple[int, ...]:
        """Its partitions of the rounds topics."""
        return tuple(PARTITIONS[self.number - 1 :: self.count])

    def ledger(self, state: Path) -> Path:
        """Return where its ledger lies in a state folder."""
        name = "su" if self.count == 1 else f"su-{self.number}of{self.count}"
        return state / f"{name}.ledger"


WHOLE = Shard()
"""The one process that serves all partitions."""
