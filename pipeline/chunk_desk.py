"""Where MU takes chunks in: batches are screened, their proofs checked together, decisions journaled."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from crypto.errors import PrivMLError
from pipeline.errors import StorageError
from pipeline.journal import Journal
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.notices import Notices
from pipeline.stored_chunks import has_forgotten, stored_chunk
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.chunk_encodings import Vectors
from roles.entry_content import NOTHING, EntryContent
from roles.refusal import refusal_reason
from roles.screening import ScreenedChunk, failing_proofs
from schemas.chunks import Withdrawal
from schemas.journal import EntryKind, JournalEntry
from schemas.reasons import ReasonCode

Screened = ScreenedChunk | tuple[Arrival, Withdrawal] | Refused

WAIT_SECONDS = 5.0
CHUNKS_AT_ONCE = 128
HELD_BYTES = 64 << 20


@dataclass(slots=True)
class HeldChunks:
    """Ciphertexts of the latest chunks, so that whoever learns them need not read them again.

    Attributes:
        limit: Bytes of ciphertexts held, about; the oldest go first.
    """

    limit: int = HELD_BYTES
    _vectors: dict[bytes, tuple[Vectors, int]] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def put(self, message_hash: bytes, vectors: Vectors, size: int) -> None:
        """Hold a chunk's ciphertexts."""
        if message_hash in self._vectors:
            return
        self._vectors[message_hash] = vectors, size
        self._bytes += size
        while self._bytes > self.limit and len(self._vectors) > 1:
            oldest = next(iter(self._vectors))
            self._bytes -= self._vectors.pop(oldest)[1]

    def replace(self, message_hash: bytes, vectors: Vectors) -> None:
        """Hold another form of a chunk, of the same size, if it is held."""
        if message_hash in self._vectors:
            self._vectors[message_hash] = vectors, self._vectors[message_hash][1]

    def get(self, message_hash: bytes) -> Vectors | None:
        """Return a chunk's ciphertexts, None if they are not held any more."""
        held = self._vectors.get(message_hash)
        return None if held is None else held[0]


class ChunkDesk:
    """MU's loop over the chunks topic.

    Args:
        transport: Where the topics are.
        journal: MU's.
        notices: Who tells others.
        meter: Counts CPU and operations.
        held: Where accepted chunks are held for lessons.
        accepted: Called after a batch whose decisions are durable.
        room: Set whenever a model has caught up a bit.
    """

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        notices: Notices,
        meter: Meter,
        held: HeldChunks,
        accepted: Callable[[], None],
        room: asyncio.Event,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._notices = notices
        self._meter = meter
        self._held = held
        self._accepted = accepted
        self._room = room

    async def run(self, inbox: Inbox) -> None:
        """Work until cancelled."""
        while True:
            while not self._journal.unit.has_room:
                self._room.clear()
                await self._room.wait()
            arrivals = await inbox.receive(WAIT_SECONDS, max_messages=CHUNKS_AT_ONCE)
            if arrivals:
                with self._meter.activity("chunk", times=len(arrivals)):
                    screened, failing = await asyncio.to_thread(self._screen, arrivals)
                    await self._decide_all(screened, failing)
                self._accepted()

    def _screen(self, arrivals: list[Arrival | Refused]) -> tuple[list[Screened], frozenset[int]]:
        """Screen what came and check all proofs together; failing are positions in the list."""
        screened: list[Screened] = []
        for arrival in arrivals:
            if isinstance(arrival, Refused):
                screened.append(arrival)
                continue
            try:
                result = self._journal.unit.screen_chunk(arrival)
            except PrivMLError as error:
                screened.append(Refused(arrival, refusal_reason(error)))
            else:
                screened.append((arrival, result) if isinstance(result, Withdrawal) else result)
        proofs = [i for i, item in enumerate(screened) if isinstance(item, ScreenedChunk)]
        failing = failing_proofs([item.proven for item in screened if isinstance(item, ScreenedChunk)])
        return screened, frozenset(proofs[i] for i in failing)

    async def _decide_all(self, screened: list[Screened], failing: frozenset[int]) -> None:
        """Journal a batch of decisions together, then act on them.

        What others can see, receipts and dead letters, waits until all of them are durable.
        """
        journal = self._journal
        decided: list[tuple[Arrival, JournalEntry, bytes]] = []
        async with journal.turn:
            for position, item in enumerate(screened):
                arrival, entry, content = await self._decide(item, failed=position in failing)
                entry_id = await asyncio.to_thread(journal.stage, entry, content)
                decided.append((arrival, entry, entry_id))
                if entry.kind == EntryKind.ACCEPT:
                    self._held.put(arrival.message_hash, content.vectors, len(arrival.body))
            await journal.commit()
        async with asyncio.TaskGroup() as group:
            for arrival, entry, entry_id in decided:
                group.create_task(self._tell(arrival, entry, entry_id))

    async def _tell(self, arrival: Arrival, entry: JournalEntry, entry_id: bytes) -> None:
        await self._notices.decided(arrival, entry, entry_id)
        self._journal.told(entry.sequence)

    async def _decide(self, item: Screened, *, failed: bool) -> tuple[Arrival, JournalEntry, EntryContent]:
        """Return the message, its journal entry, and what the entry names."""
        unit = self._journal.unit
        if isinstance(item, ScreenedChunk):
            if failed:
                return item.arrival, unit.decide_reject(item.arrival, ReasonCode.BAD_PROOF), NOTHING
            return item.arrival, unit.decide_chunk(item), EntryContent(item.vectors)
        if isinstance(item, Refused):
            return item.arrival, unit.decide_reject(item.arrival, ReasonCode(item.reason)), NOTHING
        arrival, withdrawal = item
        entry = unit.decide_withdrawal(arrival, withdrawal)
        known = unit.index.chunk(arrival.sender, withdrawal.owner_sequence)
        if entry.kind != EntryKind.WITHDRAW or known is None:
            return arrival, entry, NOTHING
        try:
            vectors = await stored_chunk(self._transport, unit, known)
        except StorageError:
            if not await has_forgotten(self._transport, unit.tenant, known):
                raise
            return arrival, unit.decide_reject(arrival, ReasonCode.CHUNK_NOT_KEPT), NOTHING
        return arrival, entry, EntryContent(vectors)
