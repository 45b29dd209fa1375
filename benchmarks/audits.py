"""How fast `privml audit` goes through a log of some thousand chunks, its start included.

The log is made cheaply: the owner encrypts one batch of records once, and proves and signs it anew for
every chunk; no check of an audit is shorter for that. Journal and receipts are MU's own.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Row
from benchmarks.stream import CHUNK_RECORDS, Stream
from crypto.coins import Coins
from crypto.dtpkc import draw_exponent
from crypto.plaintext_proof import prove_plaintexts
from pipeline.configurations import fetch_tenant
from pipeline.mailbox import Publisher
from pipeline.owner_service import prepare_tables
from pipeline.parties import open_identity
from pipeline.settings import load_settings
from pipeline.topic_urls import open_transport
from pipeline.transport import Transport
from roles.chunk_encodings import ChunkEncodings
from roles.encoding import EncodedRecords
from roles.tenant import Tenant, statement_context
from roles.vectors import encode_vectors
from schemas.chunks import Chunk
from schemas.codec import encode
from schemas.topics import Role, TopicName, topic_name

CHUNKS = 4000
TOGETHER = 64
PATIENCE = 600.0


class AuditedLog(Stream):
    """A tenant whose one owner has published the same records again and again."""

    def rows(self, *, timing: bool = True) -> Iterator[Row]:
        """Write the log and audit it with and without proofs."""
        asyncio.run(self._write(CHUNKS if timing else 100))
        what = f"{self._data.name}, chunks of {CHUNK_RECORDS} records"
        for name, options in (("audit", ()), ("audit_without_proofs", ("--skip-proofs",))):
            yield self.audit(f"pipeline.{name}", options, what)

    async def _write(self, chunks: int) -> None:
        settings = load_settings(self._folder / "tenant" / "privml.toml")
        async with open_transport(settings.transport) as transport:
            tenant = await fetch_tenant(settings, transport)
            identity = open_identity(settings, tenant, "a", Role.OWNER)
            await self._publish_all(identity.publisher(tenant, transport), tenant, chunks)
            with self.unit("mu"):
                async with asyncio.timeout(PATIENCE):
                    await _await_receipts(transport, tenant, chunks)

    async def _publish_all(self, publisher: Publisher, tenant: Tenant, chunks: int) -> None:
        prepare_tables(tenant, tenant.service_key)
        owner = RepeatingOwner(tenant, "a", self._data.batch(CHUNK_RECORDS))
        for first in range(0, chunks, TOGETHER):
            async with asyncio.TaskGroup() as group:
                for sequence in range(first, min(first + TOGETHER, chunks)):
                    body = encode(owner.chunk(sequence))
                    wires = publisher.seal(TopicName.CHUNKS, "chunk", sequence, body)
                    group.create_task(publisher.append(TopicName.CHUNKS, wires, key=b"a"))


class RepeatingOwner:
    """Publishes one batch of records under many numbers, encrypted once.

    Security:
        Whoever sees two of these chunks knows that they are the same: for benchmarks alone.
    """

    def __init__(self, tenant: Tenant, name: str, records: EncodedRecords) -> None:
        self._tenant = tenant
        self._name = name
        encodings = ChunkEncodings(tenant)
        self._records = len(records)
        self._layouts = encodings.layouts(len(records))
        plaintexts = encodings.plaintexts(records)
        self._plaintexts = [plaintext for packed in plaintexts.values() for plaintext in packed]
        self._randomness = [draw_exponent(tenant.parameters, Coins.fresh()) for _ in self._plaintexts]
        self._ciphertexts = tenant.service_key.encrypt_many_with(self._plaintexts, self._randomness)
        following = iter(self._ciphertexts)
        self._vectors = {name: [next(following) for _ in packed] for name, packed in plaintexts.items()}

    def chunk(self, sequence: int) -> Chunk:
        """Return the chunk of that number with a proof of its own."""
        tenant = self._tenant
        place = TopicName.CHUNKS, sequence, self._layouts
        proof = prove_plaintexts(
            *(tenant.service_key, self._ciphertexts, self._plaintexts, self._randomness),
            context=statement_context(tenant, "owner", self._name, *place),
            coins=Coins.fresh(),
        )
        encoded = proof.encode(tenant.parameters, len(self._ciphertexts))
        return Chunk(tenant.schema.digest, self._records, encode_vectors(tenant, self._vectors), encoded)


async def _await_receipts(transport: Transport, tenant: Tenant, chunks: int) -> None:
    name, end = topic_name(tenant.name, TopicName.RECEIPTS), 0
    while end < chunks:
        await transport.read(name, 0, end, max_messages=1, wait_seconds=0.5)
        end = await transport.end_offset(name, 0)


def audit_rows(profile: str, *, quick: bool = False) -> list[Row]:
    """Write a log in a temporary folder, audit it and return the rows.

    Raises:
        RuntimeError, PipelineError: Something failed.
    """
    with tempfile.TemporaryDirectory(prefix="privml-audit-") as folder:
        return list(AuditedLog(Path(folder), profile).rows(timing=not quick))
