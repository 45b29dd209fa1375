"""Journal entries that wait to be folded, while the messages that they decide are judged."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.dtpkc import PublicKey
from pipeline.check_pool import CheckPool
from roles.arrival import Arrival, Refused
from roles.journal_chain import Link
from roles.judging import Judged, claims_of, screen_messages, with_bad_proofs
from roles.master_unit import MasterUnit
from roles.screening import Proven

BATCH_ENTRIES = 128
BATCH_BYTES = 16 << 20
AHEAD = 3
"""Batches that are judged while the one before them is folded."""


@dataclass(frozen=True, slots=True)
class WaitingEntry:
    """An entry and what it decides.

    Attributes:
        link: The entry with its place in the chain.
        message: What it decides; None if there is nothing, or it is not there.
        readable: Whether messages of that topic can be read at all.
    """

    link: Link
    message: Arrival | Refused | None
    readable: bool


@dataclass(slots=True)
class _Batch:
    entries: list[WaitingEntry] = field(default_factory=list)
    bytes: int = 0

    def add(self, item: WaitingEntry) -> None:
        self.entries.append(item)
        self.bytes += len(item.message.body) if isinstance(item.message, Arrival) else 0

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= BATCH_ENTRIES or self.bytes >= BATCH_BYTES // (AHEAD + 1)


class JudgedEntries:
    """Takes entries one by one and gives them back in batches, in order.

    Args:
        impartial: What messages are judged by.
        proofs: Whether their proofs are verified.
        checks: Verifies them.
    """

    def __init__(self, impartial: MasterUnit, checks: CheckPool, *, proofs: bool) -> None:
        self._impartial = impartial
        self._checks = checks
        self._proofs = proofs
        self._filling = _Batch()
        self._judging: deque[tuple[_Batch, asyncio.Future[list[Judged]]]] = deque()

    def add(self, item: WaitingEntry) -> None:
        """Let an entry wait; the messages of a full batch begin to be judged."""
        self._filling.add(item)
        if self._filling.is_full:
            self.close_batch()

    def close_batch(self) -> None:
        """Begin to judge what waits."""
        batch, self._filling = self._filling, _Batch()
        if batch.entries:
            self._judging.append((batch, asyncio.ensure_future(self._judged(batch))))

    async def next(self, ahead: int = AHEAD) -> tuple[Sequence[WaitingEntry], Sequence[Judged]] | None:
        """Return the next batch and what is to be said of its messages.

        None while so many batches or less are judged, unless they hold more than `BATCH_BYTES`.
        """
        held = sum(batch.bytes for batch, _ in self._judging)
        if len(self._judging) <= ahead and held <= BATCH_BYTES:
            return None
        batch, judging = self._judging.popleft()
        return batch.entries, await judging

    async def _judged(self, batch: _Batch) -> list[Judged]:
        messages = [item.message for item in batch.entries if item.message is not None]
        judged = await asyncio.to_thread(screen_messages, self._impartial, messages)
        if not self._proofs:
            return judged
        return with_bad_proofs(judged, await self._failing(claims_of(judged)))

    async def _failing(self, claims: Sequence[Proven]) -> set[int]:
        """Return whose proofs do not verify; all under one key are checked together."""
        places: dict[PublicKey, list[int]] = {}
        for place, (key, _) in enumerate(claims):
            places.setdefault(key, []).append(place)
        failing: set[int] = set()
        for key, under in places.items():
            bad = await self._checks.failing(key, [claims[place][1] for place in under])
            failing |= {under[number] for number in bad}
        return failing
