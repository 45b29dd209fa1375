"""MU's re-keying sessions run again, each result compared with what the journal says."""

import asyncio
from dataclasses import dataclass

from msgspec import structs

from pipeline.errors import StorageError
from pipeline.recorded_exchange import NotRecordedError
from pipeline.sessions import UNANSWERABLE, Sessions
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Transport
from roles.chunk_encodings import Vectors
from roles.findings import FindingCode, Findings
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.rekeying import vectors_hash
from schemas.snapshots import NOT_REKEYED, WaitingChunk


@dataclass(slots=True)
class RekeyingAudit:
    """Re-keys chunks again on what SU replied then.

    Attributes:
        transport: Where the topics are; only read.
        sessions: On recorded rounds.
        findings: Where findings go.
        left_out: Whether a session could not be run because its rounds are not kept.
    """

    transport: Transport
    sessions: Sessions
    findings: Findings
    left_out: bool = False

    async def rekeyed(self, link: Link, unit: MasterUnit, chunk: WaitingChunk) -> None:
        """Run the session of a ``rekeyed`` entry and compare its result."""
        try:
            vectors = await self._run(unit, chunk)
        except NotRecordedError:
            self.left_out = True
            return
        except StorageError:
            # Reported with the entry that accepted the chunk.
            return
        except UNANSWERABLE as error:
            detail = f"the session of entry {link.entry.sequence}, run again, fails ({error.code!s})"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)
            return
        if await asyncio.to_thread(vectors_hash, unit.tenant, vectors) != link.entry.result:
            detail = f"the chunk of entry {link.entry.sequence}, re-keyed again, has another hash"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)

    async def begin_next(self, unit: MasterUnit) -> None:
        """Run the session that was begun and not journaled, as far as its rounds go."""
        if unit.rekeying.chunks:
            try:
                await self._run(unit, unit.rekeying.chunks[0])
            except (StorageError, *UNANSWERABLE):
                return

    async def _run(self, unit: MasterUnit, chunk: WaitingChunk) -> Vectors:
        as_sent = structs.replace(chunk, rekeyed=NOT_REKEYED)
        return await self.sessions.rekey(as_sent, await stored_chunk(self.transport, unit, as_sent))
