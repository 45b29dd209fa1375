"""Where MU has chunks re-keyed: one session with SU for each, in the journal's order."""

import asyncio
from collections.abc import Callable

from crypto.errors import PrivMLError
from pipeline.chunk_desk import HeldChunks
from pipeline.journal import Journal
from pipeline.log_setup import get_logger
from pipeline.mailbox import Publisher
from pipeline.notices import Decided, Notices
from pipeline.rounds import SecondaryRefusedError
from pipeline.session_gate import SessionGate
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.stored_chunks import store_rekeyed, stored_chunk
from pipeline.transport import Transport
from roles.entry_content import EntryContent
from roles.refusal import refusal_reason
from schemas.snapshots import WaitingChunk

log = get_logger()

LONGEST_WAIT_SECONDS = 30.0


class Rekeying:
    """MU's loop over accepted chunks under owners' keys.

    Their proofs were verified, so that nothing an owner writes makes a session fail. If one fails all
    the same, between the units, it is run again later; no chunk is passed over.

    Args:
        transport: Where the topics are.
        journal: MU's.
        notices: Who tells others.
        publisher: MU's.
        held: Where accepted chunks are held.
        rekeyed: Called after every chunk that models can learn now.
        gate: Through which whoever runs sessions goes.
    """

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        notices: Notices,
        publisher: Publisher,
        held: HeldChunks,
        rekeyed: Callable[[], None],
        gate: SessionGate,
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._notices = notices
        self._publisher = publisher
        self._held = held
        self._rekeyed = rekeyed
        self._gate = gate
        self._wake = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Look again whether there is something to re-key."""
        self._wake.set()

    async def run(self, sessions: Sessions) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            seconds = None
            async with self._gate.inside():
                waiting = self._journal.unit.rekeying.chunks
                if waiting:
                    seconds = await self._rekey(waiting[0], sessions)
            if seconds is None:
                await self._wake.wait()
            else:
                await asyncio.sleep(seconds)

    async def _rekey(self, chunk: WaitingChunk, sessions: Sessions) -> float:
        """Have a chunk re-keyed; return how long to wait before the next one, or the same again."""
        unit = self._journal.unit
        vectors = self._held.get(chunk.message_hash)
        if vectors is None:
            vectors = await stored_chunk(self._transport, unit, chunk)
        try:
            rekeyed = await sessions.rekey(chunk, vectors)
        except UNANSWERABLE as error:
            return self._failed(chunk, error)
        self._failures = 0
        # Before any model can look for it.
        self._held.replace(chunk.message_hash, rekeyed)
        # Stored before the entry that names it: whatever an entry names is there.
        place = await store_rekeyed(self._publisher, unit.tenant, chunk, rekeyed)
        async with self._journal.turn:
            entry = unit.decide_rekeyed(place)
            closed = unit.closed_chunks(entry)
            entry_id = await asyncio.to_thread(self._journal.stage, entry, EntryContent(rekeyed))
            await self._journal.commit()
        await self._notices.rekeyed(Decided(entry, entry_id, closed))
        self._journal.told(entry.sequence)
        self._rekeyed()
        return 0.0

    def _failed(self, chunk: WaitingChunk, error: PrivMLError) -> float:
        reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
        self._failures += 1
        seconds = min(LONGEST_WAIT_SECONDS, 2.0 ** (self._failures - 1))
        log.error(
            "rekeying_failed",
            code=reason.value,
            sequence=chunk.sequence,
            attempt=self._failures,
            seconds=seconds,
        )
        return seconds
