"""The data owner as a process: a CSV file becomes encrypted chunks on a topic.

The file is checked whole before anything leaves. An encrypted chunk is written to the owner's
outbox, durably, before it is published; only those bytes are ever sent under its number.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crypto.coins import Coins
from crypto.errors import SchemaError
from pipeline.errors import PipelineError, StorageError
from pipeline.mailbox import Inbox, Publisher
from pipeline.meter import Meter
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords, count_table
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.journal import Receipt
from schemas.parts import whole_id
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name


class NoReceiptError(PipelineError):
    """MU gave no receipt in time."""

    code = ReasonCode.TIMEOUT


class NotPublishedError(PipelineError):
    """The owner has no such chunk."""

    code = ReasonCode.NOT_WITHDRAWABLE


@dataclass(frozen=True, slots=True)
class SentChunk:
    """A chunk that is on its topic.

    Attributes:
        chunk_id: SHA-256 of its signed bytes.
        sequence: The owner's number for it.
        records: Records in it.
        bytes: Size on the topic.
    """

    chunk_id: bytes
    sequence: int
    records: int
    bytes: int


class Outbox:
    """The owner's chunks as they were published, one file each, by sequence.

    Security:
        A second encryption under a used number would be an equivocation; so a number is taken by
        creating its file, and the file is durable before its content leaves.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = [int(path.stem) for path in folder.glob("*.chunk") if path.stem.isdigit()]
        except OSError as error:
            raise StorageError("the outbox cannot be opened", file=folder) from error
        self._next = max(taken, default=-1) + 1

    def next_sequence(self) -> int:
        """Return the next unused number."""
        return self._next

    def sequence_of(self, chunk_id: bytes) -> int:
        """Return the number under which a chunk was published.

        Raises:
            NotPublishedError: This outbox holds no chunk of that id.
        """
        for path in sorted(self._folder.glob("*.chunk")):
            if whole_id([message_id(wire) for wire in _wires(path)]) == chunk_id:
                return int(path.stem)
        raise NotPublishedError(
            "this owner has published no chunk of that id",
            hint="chunk ids are printed by `privml owner publish`",
            file=self._folder,
        )

    def store(self, sequence: int, wires: Iterable[bytes]) -> None:
        """Write a message's wire forms; durable when it returns.

        Raises:
            StorageError: The number is taken, or the file cannot be written.
        """
        path = self._folder / f"{sequence:012d}.chunk"
        try:
            with path.open("xb") as file:
                for wire in wires:
                    file.write(len(wire).to_bytes(8, "big") + wire)
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageError("the outbox cannot be written", file=path) from error
        self._next = sequence + 1


def _wires(path: Path) -> list[bytes]:
    """Return the wire forms in an outbox file."""
    data, wires = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "big")
        wires.append(data[8 : 8 + size])
        data = data[8 + size :]
    return wires


class OwnerService:
    """One owner's publishing and its receipts."""

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        publisher: Publisher,
        outbox: Outbox,
        meter: Meter,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._outbox = outbox
        self._meter = meter
        self._pool = pool

    async def publish(self, batches: Iterable[EncodedRecords]) -> AsyncIterator[SentChunk]:
        """Encrypt and publish one chunk per batch; yields each once it is on the topic."""
        iterator = iter(batches)
        while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
            sequence = self._outbox.next_sequence()
            with self._meter.activity("encrypt"):
                wires = await asyncio.to_thread(self._seal, sequence, batch)
            yield await self._send(sequence, len(batch), wires)

    async def withdraw(self, owner_sequence: int) -> SentChunk:
        """Publish the wish to take one of this owner's chunks out again."""
        sequence = self._outbox.next_sequence()
        wires = self._publisher.seal(
            TopicName.CHUNKS, "withdrawal", sequence, encode(Withdrawal(owner_sequence))
        )
        await asyncio.to_thread(self._outbox.store, sequence, wires)
        return await self._send(sequence, 0, wires)

    def sequence_of_chunk(self, chunk_id: str) -> int:
        """Return the owner's number of a chunk by its id in hexadecimal.

        Raises:
            NotPublishedError: The outbox holds no chunk of that id.
        """
        try:
            return self._outbox.sequence_of(bytes.fromhex(chunk_id))
        except ValueError as error:
            raise NotPublishedError("a chunk id has 64 hexadecimal digits") from error

    def _seal(self, sequence: int, batch: EncodedRecords) -> list[bytes]:
        counts = count_table(self._tenant.schema, batch)
        chunk = make_chunk(self._tenant, self._publisher.sender, sequence, counts, Coins.fresh(), self._pool)
        wires = self._publisher.seal(TopicName.CHUNKS, "chunk", sequence, encode(chunk))
        self._outbox.store(sequence, wires)
        return wires

    async def _send(self, sequence: int, records: int, wires: list[bytes]) -> SentChunk:
        await self._publisher.append(TopicName.CHUNKS, wires, key=self._publisher.sender.encode())
        chunk_id = whole_id([message_id(wire) for wire in wires])
        return SentChunk(chunk_id, sequence, records, sum(len(wire) for wire in wires))

    async def receipts_end(self) -> int:
        """Return where receipts to come begin; ask before publishing."""
        return await self._transport.end_offset(topic_name(self._tenant.name, TopicName.RECEIPTS), 0)

    async def receipts(
        self, wanted: set[bytes], offset: int, timeout_seconds: float
    ) -> AsyncIterator[tuple[bytes, Receipt]]:
        """Yield (chunk id, receipt) of the wanted chunks as MU gives them.

        Raises:
            NoReceiptError: No further receipt came for `timeout_seconds`.
        """
        inbox = Inbox(self._transport, self._tenant, TopicName.RECEIPTS, offset=offset, meter=self._meter)
        missing = set(wanted)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while missing:
            remaining = deadline - loop.time()
            if remaining <= 0:
                raise NoReceiptError(
                    f"no receipt for {len(missing)} of {len(wanted)} chunks within {timeout_seconds:g} s",
                    hint="check that `privml mu` is running; what is in the outbox is on the topic already",
                )
            for arrival in await inbox.receive(min(remaining, 1.0)):
                if not isinstance(arrival, Arrival):
                    continue
                try:
                    receipt = decode(Receipt, arrival.body)
                except SchemaError:
                    continue
                if receipt.message_hash in missing:
                    missing.discard(receipt.message_hash)
                    deadline = loop.time() + timeout_seconds
                    yield receipt.message_hash, receipt
