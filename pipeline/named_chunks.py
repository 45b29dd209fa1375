"""Chunks that journal entries take out or re-key, fetched for whoever audits the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from crypto.errors import LocalProtocolError
from pipeline.errors import StorageError
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Transport
from roles.auditor import Auditor
from roles.chunk_encodings import Vectors
from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from roles.journal_index import AcceptedChunk
from roles.judging import Judged
from roles.master_unit import MasterUnit
from roles.rekeying import vectors_hash
from schemas.chunks import Withdrawal
from schemas.reasons import ReasonCode
from schemas.snapshots import WaitingChunk

RekeyedHook = Callable[[Link, MasterUnit, WaitingChunk], Awaitable[None]]


@dataclass(slots=True)
class NamedChunks:
    """The ciphertexts of chunks by the entries that name them.

    Attributes:
        transport: Where the topics are; only read.
        findings: Where findings go.
        hook: Called with every ``rekeyed`` entry, the state before it and the chunk that it is about.
    """

    transport: Transport
    findings: Findings
    hook: RekeyedHook | None = None
    _refused: list[tuple[Link, AcceptedChunk]] = field(default_factory=list)

    async def withdrawn(self, auditor: Auditor, link: Link) -> Vectors | None:
        """Return a chunk that goes; None if it is not there, which is reported with what accepted it."""
        known = auditor.withdrawn_chunk(link.entry)
        if known is None:
            return None
        try:
            return await stored_chunk(self.transport, auditor.unit, known)
        except StorageError:
            return None

    def note_refused(self, auditor: Auditor, link: Link, judged: Judged | None) -> None:
        """Remember a withdrawal that is refused because the chunk is not kept, for `check_refused`."""
        if link.entry.reason != ReasonCode.CHUNK_NOT_KEPT or judged is None:
            return
        if isinstance(judged.screened, Withdrawal):
            known = auditor.unit.index.chunk(link.entry.sender, judged.screened.owner_sequence)
            if known is not None:
                self._refused.append((link, known))

    async def check_refused(self, auditor: Auditor) -> None:
        """Report withdrawals that were refused because the chunk is not kept, though it is."""
        refused, self._refused = self._refused, []
        for link, chunk in refused:
            try:
                await stored_chunk(self.transport, auditor.unit, chunk)
            except StorageError:
                continue
            detail = f"entry {link.entry.sequence} says that a chunk is not kept, and it is"
            self.findings.add(FindingCode.WRONG_DECISION, link.place, detail)

    async def rekeyed(self, auditor: Auditor, link: Link) -> Vectors | None:
        """Return a chunk under the service key as MU stored it; report one that is not what MU says."""
        unit, entry = auditor.unit, link.entry
        try:
            (chunk,) = unit.closed_chunks(entry)
        except LocalProtocolError:
            # Reported when the entry is folded.
            return None
        if self.hook is not None:
            await self.hook(link, unit, chunk)
        place = Place(entry.topic, entry.partition, entry.offset)
        try:
            vectors = await stored_chunk(self.transport, unit, chunk)
        except StorageError:
            detail = f"the re-keyed chunk that entry {entry.sequence} names is not there"
            self.findings.add(FindingCode.MESSAGE_MISSING, place, detail)
            return None
        if await asyncio.to_thread(vectors_hash, unit.tenant, vectors) != entry.result:
            detail = f"the re-keyed chunk of entry {entry.sequence} has another hash"
            self.findings.add(FindingCode.WRONG_DECISION, place, detail)
        return vectors
