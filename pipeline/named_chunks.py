"""Chunks that journal entries take out or re-key, fetched for whoever audits the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crypto.errors import LocalProtocolError
from pipeline.errors import StorageError
from pipeline.stored_chunks import stored_chunk
from pipeline.transport import Transport
from roles.auditor import Auditor
from roles.chunk_encodings import Vectors
from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import Link
from roles.master_unit import MasterUnit
from roles.rekeying import vectors_hash
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

    async def withdrawn(self, auditor: Auditor, link: Link) -> Vectors | None:
        """Return a chunk that goes; None if it is not there, which is reported with what accepted it."""
        known = auditor.withdrawn_chunk(link.entry)
        if known is None:
            return None
        try:
            return await stored_chunk(self.transport, auditor.unit, known)
        except StorageError:
            return None

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
