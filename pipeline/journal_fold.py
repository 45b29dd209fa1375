"""MU's state from the log alone: read the journal, fold every entry, fetch the chunks it names.

MU does this at start; whoever inspects a tenant does the same from public data.
"""

import asyncio
from collections.abc import Callable

from crypto.parameters import Ciphertext, decode_ciphertexts
from pipeline.errors import StorageError
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from schemas.chunks import Chunk
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Query
from schemas.topics import TopicName, topic_name

log = get_logger()

_HINT = "restore the topic from a backup; MU stops rather than be wrong"


Watch = Callable[[MasterUnit, JournalEntry, bytes], None]


async def fold_journal(transport: Transport, tenant: Tenant, watch: Watch | None = None) -> MasterUnit:
    """Return MU's state after the last journal entry.

    Messages on the journal topic that MU did not sign are passed over; so are repeated entries.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        watch: Called with the state before each entry, the entry and its id.

    Raises:
        StorageError: An entry of the chain is missing, or a message that it names.
    """
    unit = MasterUnit.starting(tenant, tenant.configuration.models[0])
    end = await transport.end_offset(topic_name(tenant.name, TopicName.JOURNAL), 0)
    inbox = Inbox(transport, tenant, TopicName.JOURNAL)
    while (start := inbox.next_offset) < end:
        arrivals = await inbox.receive(wait_seconds=0.0)
        if inbox.next_offset == start:
            raise StorageError(f"journal messages from offset {start} on are gone", hint=_HINT)
        for arrival in arrivals:
            if isinstance(arrival, Refused):
                log.warning("journal_entry_ignored", code=str(arrival.reason), offset=arrival.arrival.offset)
                continue
            entry = decode(JournalEntry, arrival.body)
            if entry.sequence < unit.next_sequence:
                continue
            if entry.previous != unit.head or entry.sequence != unit.next_sequence:
                raise StorageError(f"journal entry {unit.next_sequence} is missing or changed", hint=_HINT)
            if watch is not None:
                watch(unit, entry, arrival.message_hash)
            await _fold_entry(transport, tenant, unit, entry, arrival.message_hash)
    return unit


async def _fold_entry(
    transport: Transport, tenant: Tenant, unit: MasterUnit, entry: JournalEntry, entry_id: bytes
) -> None:
    ciphertexts: tuple[Ciphertext, ...] = ()
    query_id = b""
    if entry.kind == EntryKind.ACCEPT:
        place = entry.partition, entry.offset, entry.message_hash
        ciphertexts = await stored_chunk(transport, tenant, *place)
    elif entry.kind == EntryKind.WITHDRAW:
        gone = unit.accepted[entry.sender, entry.sender_sequence]
        ciphertexts = await stored_chunk(transport, tenant, gone.partition, gone.offset, gone.message_hash)
    elif entry.kind == EntryKind.QUERY:
        query_id = (await stored_query(transport, tenant, entry)).query_id
    await asyncio.to_thread(unit.apply, entry, entry_id, ciphertexts, query_id)


async def stored_chunk(
    transport: Transport, tenant: Tenant, partition: int, offset: int, message_hash: bytes
) -> tuple[Ciphertext, ...]:
    """Return the ciphertexts of an accepted chunk from its topic.

    Raises:
        StorageError: The message there is not the one that was accepted.
    """
    arrival = await _stored(transport, tenant, TopicName.CHUNKS, partition, offset, message_hash)
    chunk = decode(Chunk, arrival.body, len(arrival.body))
    return tuple(decode_ciphertexts(tenant.parameters, chunk.vectors[0].ciphertexts))


async def stored_query(transport: Transport, tenant: Tenant, entry: JournalEntry) -> Query:
    """Return an accepted query from its topic; raises like `stored_chunk`."""
    place = entry.partition, entry.offset, entry.message_hash
    arrival = await _stored(transport, tenant, TopicName.QUERIES, *place)
    return decode(Query, arrival.body, len(arrival.body))


async def _stored(
    transport: Transport, tenant: Tenant, topic: TopicName, partition: int, offset: int, message_hash: bytes
) -> Arrival:
    arrival = await stored_message(transport, tenant, topic, partition, offset, message_hash)
    if arrival is None:
        raise StorageError(
            f"the message at {topic} partition {partition} offset {offset} is not the one in the journal",
            hint=_HINT,
        )
    return arrival
