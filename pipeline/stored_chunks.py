"""The ciphertexts of accepted chunks, from where they lie: as the owner sent them, or re-keyed."""

import asyncio
from typing import Protocol

from pipeline.errors import StorageError
from pipeline.mailbox import Publisher, sequence_of
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.chunk_encodings import Vectors
from roles.entry_content import chunk_vectors
from roles.master_unit import MasterUnit
from roles.rekeying import NamedChunk, rekeyed_chunk, rekeyed_vectors, vectors_hash
from roles.tenant import Tenant
from schemas.codec import encode
from schemas.snapshots import NOT_REKEYED, SealedPlace, WaitingChunk
from schemas.topics import TopicName, topic_name

HINT = "restore the topic from a backup; MU stops rather than be wrong"
KIND = "chunk"


class PlacedChunk(NamedChunk, Protocol):
    """A chunk by its places as well: what waits, or what the index knows."""

    @property
    def partition(self) -> int:
        """Where the owner's message lies, with `offset`."""
        ...

    @property
    def offset(self) -> int:
        """See `partition`."""
        ...

    @property
    def rekeyed(self) -> tuple[int, int, bytes]:
        """Where it lies under the service key; see `WaitingChunk`."""
        ...


async def stored_chunk(transport: Transport, unit: MasterUnit, chunk: PlacedChunk) -> Vectors:
    """Return the ciphertexts of an accepted chunk: under the service key if it was re-keyed.

    Raises:
        StorageError: The message there is not the one that the journal names.
    """
    topic, place = TopicName.CHUNKS, (chunk.partition, chunk.offset, chunk.message_hash)
    if chunk.rekeyed != NOT_REKEYED:
        topic, place = TopicName.REKEYED, chunk.rekeyed
    arrival = await named_message(transport, unit.tenant, topic, *place)
    if topic == TopicName.REKEYED:
        vectors = await asyncio.to_thread(rekeyed_vectors, unit.encodings, arrival, chunk)
    else:
        vectors = await asyncio.to_thread(chunk_vectors, unit.encodings, arrival)
    if vectors is None:
        raise StorageError("an accepted chunk is not one of this tenant", hint=HINT)
    return vectors


async def has_forgotten(transport: Transport, tenant: Tenant, chunk: PlacedChunk) -> bool:
    """Return whether the topic on which a chunk lay has lost its beginning, as retention takes it."""
    place = (TopicName.CHUNKS, chunk.partition)
    if chunk.rekeyed != NOT_REKEYED:
        place = (TopicName.REKEYED, chunk.rekeyed[0])
    return await transport.beginning_offset(topic_name(tenant.name, place[0]), place[1]) > 0


async def store_rekeyed(
    publisher: Publisher, tenant: Tenant, chunk: WaitingChunk, vectors: Vectors
) -> SealedPlace:
    """Put a re-keyed chunk on its topic; return where it lies, with the hash of its ciphertexts."""
    body = encode(rekeyed_chunk(tenant, chunk, vectors))
    key = chunk.owner.encode()
    published = await publisher.publish(TopicName.REKEYED, KIND, sequence_of(body), body, key=key)
    position = published.position
    result = vectors_hash(tenant, vectors)
    return SealedPlace(position.partition, position.offset, published.message_hash, result)


async def named_message(
    transport: Transport, tenant: Tenant, topic: TopicName, partition: int, offset: int, message_hash: bytes
) -> Arrival:
    """Return a message that the journal names.

    Raises:
        StorageError: Another one is there, or none.
    """
    arrival = await stored_message(transport, tenant, topic, partition, offset, message_hash)
    if arrival is None:
        raise StorageError(
            f"the message at {topic} partition {partition} offset {offset} is not the one in the journal",
            hint=HINT,
        )
    return arrival
