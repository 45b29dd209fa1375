"""An owner's history, read back from the topics: which of its chunks count, and what they hold.

What it published lies on `chunks`; which of it counts is in MU's receipts. The owner's own key opens
its own chunks and nobody else's.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from pipeline.errors import PipelineError, StorageError
from pipeline.mailbox import Inbox
from pipeline.stored_chunks import named_message
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.tenant import Tenant
from schemas.chunks import Chunk, Withdrawal
from schemas.codec import decode
from schemas.journal import Receipt
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

UNDECIDED = "undecided"
ACCEPTED = "accepted"
WITHDRAWN = "withdrawn"
REJECTED = "rejected"


class NoOwnKeyError(PipelineError):
    """Owners of this tenant have no keys of their own."""

    code = ReasonCode.USAGE


@dataclass(slots=True)
class OwnChunk:
    """A chunk that an owner published.

    Attributes:
        sequence: The owner's number for it.
        message_hash: Its id.
        partition: Where it lies, with `offset`.
        offset: See `partition`.
        records: Its records.
        state: ``accepted``, ``withdrawn``, ``rejected`` or ``undecided``.
    """

    sequence: int
    message_hash: bytes
    partition: int
    offset: int
    records: int
    state: str = UNDECIDED


@dataclass(slots=True)
class _Published:
    chunks: dict[bytes, OwnChunk] = field(default_factory=dict)
    withdrawals: dict[bytes, int] = field(default_factory=dict)


async def own_history(transport: Transport, tenant: Tenant, owner: str) -> list[OwnChunk]:
    """Return what an owner published, in the order of its numbers, with what became of it.

    Raises:
        NoOwnKeyError: Owners have no keys of their own here, so that none of it could be opened.
        BrokerRefusedError: This login may not read the chunks.
    """
    if owner not in tenant.owner_keys:
        raise NoOwnKeyError(
            "owners of this tenant encrypt under the service key, which nobody can open alone",
            hint="a tenant that is made with `privml authority init --owner-keys` keeps histories open",
        )
    published = _Published()
    async for arrival in _all(transport, tenant, TopicName.CHUNKS):
        if arrival.sender == owner:
            _note(published, arrival)
    accepted: set[bytes] = set()
    refused: set[bytes] = set()
    async for arrival in _all(transport, tenant, TopicName.RECEIPTS):
        try:
            receipt = decode(Receipt, arrival.body)
        except SchemaError:
            continue
        if not receipt.model_id:
            (refused if receipt.reason else accepted).add(receipt.message_hash)
    gone = {number for message, number in published.withdrawals.items() if message in accepted}
    for message, chunk in published.chunks.items():
        if message in accepted:
            chunk.state = WITHDRAWN if chunk.sequence in gone else ACCEPTED
        elif message in refused:
            chunk.state = REJECTED
    return sorted(published.chunks.values(), key=lambda chunk: chunk.sequence)


async def own_message(transport: Transport, tenant: Tenant, chunk: OwnChunk) -> Chunk:
    """Return a chunk's message again.

    Raises:
        StorageError: It is gone meanwhile.
    """
    place = chunk.partition, chunk.offset, chunk.message_hash
    arrival = await named_message(transport, tenant, TopicName.CHUNKS, *place)
    try:
        return await asyncio.to_thread(decode, Chunk, arrival.body, len(arrival.body))
    except SchemaError as error:
        raise StorageError("an accepted chunk is none") from error


def _note(published: _Published, arrival: Arrival) -> None:
    try:
        if arrival.kind == "withdrawal":
            withdrawal = decode(Withdrawal, arrival.body)
            published.withdrawals[arrival.message_hash] = withdrawal.owner_sequence
        elif arrival.message_hash not in published.chunks:
            records = decode(Chunk, arrival.body, len(arrival.body)).records
            place = arrival.partition, arrival.offset
            chunk = OwnChunk(arrival.sequence, arrival.message_hash, *place, records)
            published.chunks[arrival.message_hash] = chunk
    except SchemaError:
        return


async def _all(transport: Transport, tenant: Tenant, topic: TopicName) -> AsyncIterator[Arrival]:
    """Yield the verified messages of a topic up to where it ends now."""
    name = topic_name(tenant.name, topic)
    end = await transport.end_offset(name, 0)
    inbox = Inbox(transport, tenant, topic, offset=await transport.beginning_offset(name, 0))
    while (before := inbox.next_offset) < end:
        for arrival in await inbox.receive(0.0):
            if not isinstance(arrival, Refused):
                yield arrival
        if inbox.next_offset == before:
            return
