"""The data owner as a process: a CSV file becomes encrypted chunks on a topic.

The file is checked whole before anything leaves. An encrypted chunk is written to the owner's
outbox, durably, before it is published; only those bytes are ever sent under its number.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from crypto.coins import Coins
from crypto.dtpkc import PublicKey
from crypto.errors import SchemaError
from crypto.plaintext_proof import table_bits
from pipeline.errors import PipelineError
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.meter import Meter
from pipeline.outbox import NotPublishedError, Outbox, Run, StoredMessage
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.chunk_encodings import ChunkEncodings
from roles.data_owner import make_chunk
from roles.encoding import EncodedRecords
from roles.tenant import Tenant
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.journal import EVERY_MODEL, Receipt
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

log = get_logger()

TABLE_WINDOW = 6


class NoReceiptError(PipelineError):
    """MU gave no receipt in time."""

    code = ReasonCode.TIMEOUT


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


def prepare_tables(tenant: Tenant, key: PublicKey) -> None:
    """Make the tables of fixed bases that encrypting chunks under a key uses."""
    layouts = ChunkEncodings(tenant).layouts(tenant.configuration.limits.max_chunk_records)
    ciphertexts = sum(layout.ciphertexts for layout in layouts)
    key.prepare(TABLE_WINDOW, table_bits(tenant.parameters.profile, ciphertexts))


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

    async def publish(
        self, batches: Iterable[EncodedRecords], run: Run | None = None
    ) -> AsyncIterator[SentChunk]:
        """Encrypt and publish one chunk per batch; yields each once it is on the topic.

        Args:
            batches: The records, the same in the same order if a run is taken up again.
            run: What the outbox knows of these batches; a batch that it holds is not made again.
        """
        iterator = iter(batches)
        number = 0
        while (batch := await asyncio.to_thread(next, iterator, None)) is not None:
            if run is not None and number in run.stored:
                stored = await asyncio.to_thread(self._outbox.message, run.stored[number])
            else:
                with self._meter.activity("encrypt"):
                    stored = await asyncio.to_thread(self.prepare, batch, run, number)
                await self._send(stored)
                sent = _sent(stored, len(batch))
                log.info("chunk_published", sequence=sent.sequence, records=sent.records, bytes=sent.bytes)
            yield _sent(stored, len(batch))
            number += 1

    def prepare(self, batch: EncodedRecords, run: Run | None = None, number: int = 0) -> StoredMessage:
        """Encrypt a batch into the outbox, durably, and leave it to others to send it."""
        sequence = self._outbox.next_sequence()
        chunk = make_chunk(self._tenant, self._publisher.sender, sequence, batch, Coins.fresh(), self._pool)
        wires = self._publisher.seal(TopicName.CHUNKS, "chunk", sequence, encode(chunk))
        return self._outbox.store(wires, run, number)

    async def begin(self, source: bytes) -> Run:
        """Begin a run, or take up the one of the same source that was not finished."""
        receipts_from = await self.receipts_end()
        return await asyncio.to_thread(self._outbox.begin, source, receipts_from)

    async def finish(self, source: bytes) -> None:
        """End a run; the same source published again is a new one."""
        await asyncio.to_thread(self._outbox.finish, source)

    async def resend(self) -> int:
        """Send what an interrupted process left unsent; return the number of messages.

        What was on its topic all the same is a duplicate, without a second effect.
        """
        unsent = await asyncio.to_thread(self._outbox.unsent)
        for sequence in unsent:
            await self._send(await asyncio.to_thread(self._outbox.message, sequence))
        return len(unsent)

    async def withdraw(self, owner_sequence: int) -> SentChunk:
        """Publish the wish to take one of this owner's chunks out again."""
        body = encode(Withdrawal(owner_sequence))
        wires = self._publisher.seal(TopicName.CHUNKS, "withdrawal", self._outbox.next_sequence(), body)
        stored = await asyncio.to_thread(self._outbox.store, wires)
        await self._send(stored)
        return _sent(stored, 0)

    def sequence_of_chunk(self, chunk_id: str) -> int:
        """Return the owner's number of a chunk by its id in hexadecimal.

        Raises:
            NotPublishedError: The outbox holds no chunk of that id.
        """
        try:
            return self._outbox.sequence_of(bytes.fromhex(chunk_id))
        except ValueError as error:
            raise NotPublishedError("a chunk id has 64 hexadecimal digits") from error

    async def _send(self, stored: StoredMessage) -> None:
        key = self._publisher.sender.encode()
        await self._publisher.append(TopicName.CHUNKS, list(stored.wires), key=key)
        await asyncio.to_thread(self._outbox.mark_sent, stored.sequence)

    async def receipts_end(self) -> int:
        """Return where receipts to come begin; ask before publishing."""
        return await self._transport.end_offset(topic_name(self._tenant.name, TopicName.RECEIPTS), 0)

    async def receipts(
        self, wanted: set[bytes], offset: int, timeout_seconds: float, models: Sequence[str] = ()
    ) -> AsyncIterator[Receipt]:
        """Yield the receipts of messages as MU gives them.

        Args:
            wanted: Ids of the messages.
            offset: Where to begin on the receipts topic.
            timeout_seconds: The longest wait for a further receipt.
            models: Models whose learning is waited for, beside MU's word that it accepts a message.
                Receipts of other models are yielded if they come meanwhile.

        Raises:
            NoReceiptError: No further receipt came in time.
        """
        inbox = Inbox(self._transport, self._tenant, TopicName.RECEIPTS, offset=offset, meter=self._meter)
        missing = {(message, model) for message in wanted for model in ("", *models)}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while missing:
            remaining = deadline - loop.time()
            if remaining <= 0:
                raise _no_receipt(missing, len(wanted), timeout_seconds)
            for arrival in await inbox.receive(min(remaining, 1.0)):
                if not isinstance(arrival, Arrival):
                    continue
                try:
                    receipt = decode(Receipt, arrival.body)
                except SchemaError:
                    continue
                if receipt.message_hash in wanted:
                    missing.discard((receipt.message_hash, receipt.model_id))
                    if receipt.reason and not receipt.model_id:
                        missing -= {(receipt.message_hash, model) for model in models}
                    deadline = loop.time() + timeout_seconds
                    code = receipt.reason or "accepted"
                    log.info("receipt", sequence=receipt.owner_sequence, model=receipt.model_id, code=code)
                    yield receipt


def _no_receipt(missing: set[tuple[bytes, str]], wanted: int, timeout_seconds: float) -> NoReceiptError:
    unheard = sum(not model for _, model in missing)
    if unheard:
        return NoReceiptError(
            f"no receipt for {unheard} of {wanted} chunks within {timeout_seconds:g} s",
            hint="check that `privml mu` is running; then repeat: nothing happens twice",
        )
    models = ", ".join(sorted({model.replace(EVERY_MODEL, "all models") for _, model in missing}))
    return NoReceiptError(
        f"accepted, but not all learnt by {models} within {timeout_seconds:g} s",
        hint="check that `privml su` is running; nothing is lost and nothing need be repeated",
    )


def _sent(stored: StoredMessage, records: int) -> SentChunk:
    size = sum(len(wire) for wire in stored.wires)
    return SentChunk(stored.message_hash, stored.sequence, records, size)
