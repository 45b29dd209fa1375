"""A tenant's state from the log alone: read the journal, fold every entry, fetch what it names.

MU does this at start, from its last snapshot on; whoever inspects a tenant does it from the first entry,
from public data.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from pipeline.errors import StorageError
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox
from pipeline.sealed_models import AbsentContent, sealed_model
from pipeline.stored_chunks import HINT, named_message, stored_chunk
from pipeline.succession import stored_change
from pipeline.transport import Transport
from roles.arrival import Refused
from roles.enrolment import NotSuccessorError
from roles.entry_content import EntryContent
from roles.kept_model import sealed_place, waiting_chunk
from roles.learners import AnyLearner
from roles.master_unit import MasterUnit
from roles.model_state import ModelState
from roles.roster import in_force
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.journal import EntryKind, JournalEntry
from schemas.queries import Query
from schemas.topics import TopicName, topic_name

log = get_logger()

# Forked entries lie no farther apart than what one process writes before it reads back.
_LOOK_BACK_MESSAGES = 256

Watch = Callable[[MasterUnit, JournalEntry, bytes], None]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry of the chain as it lies on the topic.

    Attributes:
        entry: The entry.
        entry_id: Its id.
        offset: Where it stands.
    """

    entry: JournalEntry
    entry_id: bytes
    offset: int


async def fold_journal(transport: Transport, tenant: Tenant) -> MasterUnit:
    """Return the state after the last journal entry, folded from the first one.

    Messages on the journal topic that MU did not sign are passed over; so are repeated entries.

    Args:
        transport: Where the topics are.
        tenant: Public facts.

    Raises:
        StorageError: An entry of the chain is missing, or a message that it names.
    """
    unit = MasterUnit.starting(tenant)
    async for stored in chained_entries(transport, tenant, unit, 0):
        await fold_entry(transport, unit, stored)
    await look_up_models(transport, unit)
    return unit


async def chained_entries(
    transport: Transport, tenant: Tenant, unit: MasterUnit, offset: int
) -> AsyncIterator[StoredEntry]:
    """Yield the entries that continue a unit's chain, each to be folded before the next is asked for.

    Passed over is what another process of MU wrote after the same entry, and what that one wrote after
    it: the first on the topic counts, and the later process stopped when it read that back.

    Args:
        transport: Where the topics are.
        tenant: Public facts.
        unit: Its head and number say what comes next.
        offset: Where on the journal to begin.

    Raises:
        StorageError: An entry is missing or changed.
    """
    end = await transport.end_offset(topic_name(tenant.name, TopicName.JOURNAL), 0)
    beginning = await transport.beginning_offset(topic_name(tenant.name, TopicName.JOURNAL), 0)
    start = min(offset, max(beginning, offset - _LOOK_BACK_MESSAGES))
    inbox = Inbox(transport, tenant, TopicName.JOURNAL, offset=start)
    behind: set[bytes] = set()
    while (start := inbox.next_offset) < end:
        arrivals = await inbox.receive(wait_seconds=0.0)
        if inbox.next_offset == start:
            raise StorageError(f"journal messages from offset {start} on are gone", hint=HINT)
        for arrival in arrivals:
            if isinstance(arrival, Refused):
                log.warning("journal_entry_ignored", code=str(arrival.reason), offset=arrival.arrival.offset)
                continue
            entry = decode(JournalEntry, arrival.body)
            if entry.sequence < unit.next_sequence or entry.previous in behind - {unit.head}:
                behind.add(arrival.message_hash)
                continue
            if entry.previous != unit.head or entry.sequence != unit.next_sequence:
                raise StorageError(f"journal entry {unit.next_sequence} is missing or changed", hint=HINT)
            yield StoredEntry(entry, arrival.message_hash, arrival.offset)


async def fold_entry(transport: Transport, unit: MasterUnit, stored: StoredEntry) -> None:
    """Fold an entry, with what it names; what a lesson led to is looked up by `look_up_models`.

    Raises:
        StorageError: A message that it names is not there.
    """
    entry, content = stored.entry, EntryContent()
    counts = not all(kept.is_taught for kept in unit.models.values())
    if entry.kind == EntryKind.ACCEPT:
        if counts and not unit.tenant.has_owner_keys:
            content = EntryContent(await stored_chunk(transport, unit, waiting_chunk(entry)))
    elif entry.kind == EntryKind.REKEYED:
        if counts:
            (closed,) = unit.closed_chunks(entry)
            content = EntryContent(await stored_chunk(transport, unit, closed))
    elif entry.kind == EntryKind.WITHDRAW:
        gone = unit.index.chunk(entry.sender, entry.sender_sequence)
        if gone is None:
            raise StorageError(f"journal entry {entry.sequence} takes out what is not in", hint=HINT)
        content = EntryContent(await stored_chunk(transport, unit, gone))
    elif entry.kind == EntryKind.QUERY:
        query = await stored_query(transport, unit.tenant, entry)
        content = EntryContent(query_id=query.query_id)
    elif entry.kind == EntryKind.CONFIGURED:
        try:
            change = await stored_change(transport, unit.tenant, in_force(entry))
        except NotSuccessorError as error:
            raise StorageError(f"journal entry {entry.sequence}: {error}", hint=HINT) from error
        content = EntryContent(change=change)
    elif entry.kind == EntryKind.LEARNT and not entry.reason:
        content = EntryContent(learnt=AbsentContent(sealed_place(entry)))
    await asyncio.to_thread(unit.apply, entry, stored.entry_id, content)


async def look_up_models(transport: Transport, unit: MasterUnit) -> None:
    """Give every version that a unit still needs its content.

    A version that is no more, but was to answer, stays absent: queries to it are refused.

    Raises:
        StorageError: The current version of a model is not there.
    """
    found: dict[bytes, ModelState] = {}

    async def looked_up(learner: AnyLearner, model: ModelState) -> ModelState:
        if not isinstance(model.content, AbsentContent):
            return model
        place = model.content.place
        if place.message_hash not in found:
            restored = await sealed_model(transport, unit.tenant, learner, place, search=True)
            if restored is None:
                return model
            found[place.message_hash] = restored
        return replace(model, content=found[place.message_hash].content)

    for kept in unit.models.values():
        kept.model = await looked_up(kept.learner, kept.model)
        kept.answering = await looked_up(kept.learner, kept.answering)
        if isinstance(kept.model.content, AbsentContent):
            raise StorageError(f"the model '{kept.learner.model_id}' is not where it was sealed", hint=HINT)
    for message_hash, (entry, model) in unit.open_queries.items():
        learner = unit.models[entry.model_id].learner
        unit.open_queries[message_hash] = entry, await looked_up(learner, model)


async def stored_query(transport: Transport, tenant: Tenant, entry: JournalEntry) -> Query:
    """Return an accepted query from its topic; raises like `fold_entry`."""
    place = entry.partition, entry.offset, entry.message_hash
    arrival = await named_message(transport, tenant, TopicName.QUERIES, *place)
    return decode(Query, arrival.body, len(arrival.body))
