"""Versions of the configuration as MU brings them into force, and how everybody else learns of it.

MU writes an entry of its journal that says from which places on messages are judged by the version, and
then, on the heads topic, its signed word for SU. Whoever folds the journal, or reads that word, looks the
version up on the config topic and holds it against the one before.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from crypto.errors import LocalProtocolError, SchemaError
from pipeline.mailbox import Inbox, Publisher
from pipeline.stored_message import stored_message
from pipeline.topic_blocks import blocks_from_end
from pipeline.topic_cursor import arrival_of
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.enrolment import NotSuccessorError, next_change
from roles.findings import Findings
from roles.journal_chain import JournalChain
from roles.roster import Change, in_force
from roles.tenant import Tenant, configuration_digest
from schemas.codec import decode, encode
from schemas.configuration import MAX_CONFIGURATION_BYTES, Configuration
from schemas.envelope import open_envelope
from schemas.journal import EntryKind
from schemas.succession import InForce, Succession
from schemas.topics import TopicName, topic_name

KIND = "succession"


async def stored_change(transport: Transport, tenant: Tenant, entered: InForce) -> Change:
    """Return what a version changes that MU says is in force, from where it stands on its topic.

    Raises:
        NotSuccessorError: It is not there, or does not continue the version before.
    """
    number = entered.version - tenant.roster.configuration(0).version
    if not 1 <= number <= len(tenant.roster.in_force) + 1:
        raise NotSuccessorError(f"version {entered.version} is not the next one")
    place = 0, entered.offset, entered.message_hash
    arrival = await stored_message(transport, tenant, TopicName.CONFIG, *place)
    if arrival is None:
        raise NotSuccessorError(f"version {entered.version} of the configuration is not on its topic")
    try:
        change = await asyncio.to_thread(next_change, tenant, number - 1, arrival)
    except SchemaError as error:
        raise NotSuccessorError("what stands there is no configuration") from error
    if configuration_digest(change.configuration) != entered.configuration:
        raise NotSuccessorError(f"another version {entered.version} stands there")
    return change


async def enter_versions(transport: Transport, tenant: Tenant, versions: Sequence[InForce]) -> None:
    """Let versions come into force that MU says are; those that are in force already must be the same.

    Raises:
        NotSuccessorError: One is not on its topic, or does not continue the one before.
        LocalProtocolError: One came into force elsewhere than it was said before.
    """
    for entered in versions:
        if entered not in tenant.roster.in_force:
            tenant.roster.enter(entered, await stored_change(transport, tenant, entered))


async def enter_journaled(transport: Transport, tenant: Tenant, end: int | None = None) -> None:
    """Look ahead: let the versions come into force that the journal names, to read topics beside it.

    An entry that does not hold ends it; the fold of the journal reports that.

    Args:
        transport: Where the topics are.
        tenant: Its roster follows.
        end: Behind the last entry looked at; by default where the journal ends.

    Cost:
        A signature per journal entry, where there is any version after the first.
    """
    if await transport.end_offset(topic_name(tenant.name, TopicName.CONFIG), 0) <= 1:
        return
    name = topic_name(tenant.name, TopicName.JOURNAL)
    end = await transport.end_offset(name, 0) if end is None else end
    beginning = await transport.beginning_offset(name, 0)
    chain = JournalChain(Findings())
    if beginning:
        chain.head = None
    async for message in _messages(transport, tenant, TopicName.JOURNAL, end):
        link = chain.take(message)
        if link is not None and link.entry.kind == EntryKind.CONFIGURED:
            try:
                await enter_versions(transport, tenant, [in_force(link.entry)])
            except (NotSuccessorError, LocalProtocolError):
                return


async def tell_succession(publisher: Publisher, tenant: Tenant) -> None:
    """Publish MU's word on the versions in force; SU goes by it."""
    versions = tuple(tenant.roster.in_force)
    if versions:
        body = encode(Succession(versions))
        key = b"configuration"
        await publisher.publish(TopicName.HEADS, KIND, len(versions), body, key=key)


class SuccessionWatch:
    """What SU, or whoever re-checks it, goes by: MU's words, each of which must continue the last one.

    Args:
        transport: Where the topics are.
        tenant: Whose roster follows.
    """

    def __init__(self, transport: Transport, tenant: Tenant) -> None:
        self._transport = transport
        self._tenant = tenant

    async def take(self, message: Arrival) -> bool:
        """Take a message of MU on the heads topic; return whether SU goes by it."""
        try:
            said = decode(Succession, message.body).versions
            known = tuple(self._tenant.roster.in_force)
            if said[: len(known)] != known and known[: len(said)] != said:
                return False
            await enter_versions(self._transport, self._tenant, said)
        except (SchemaError, NotSuccessorError, LocalProtocolError):
            return False
        return True


async def words(transport: Transport, tenant: Tenant, end: int | None = None) -> AsyncIterator[Arrival]:
    """Yield MU's words on the heads topic, before some offset or all."""
    name, master = topic_name(tenant.name, TopicName.HEADS), tenant.party("mu").name
    end = await transport.end_offset(name, 0) if end is None else end
    async for message in _messages(transport, tenant, TopicName.HEADS, end):
        if isinstance(message, Arrival) and (message.sender, message.kind) == (master, KIND):
            yield message


async def last_word(transport: Transport, tenant: Tenant) -> tuple[InForce, ...]:
    """Return the versions that MU's last word on the heads topic speaks of; empty if there is none.

    Cost:
        Reads back over the heads that were signed after it.
    """
    name, master = topic_name(tenant.name, TopicName.HEADS), tenant.party("mu").name
    async for block in blocks_from_end(transport, name):
        for message in reversed(block):
            try:
                envelope = open_envelope(message.value, TopicName.HEADS, tenant.name, tenant.verifying.get)
                if (envelope.sender, envelope.kind, envelope.parts) == (master, KIND, 1):
                    return decode(Succession, envelope.body).versions
            except SchemaError:
                continue
    return ()


async def stray_configurations(transport: Transport, tenant: Tenant) -> list[Arrival]:
    """Return what the authority signed for the config topic beside the versions in force and the next one."""
    strays: list[Arrival] = []
    next_one: bytes | None = None
    name = topic_name(tenant.name, TopicName.CONFIG)
    async for message in _messages(transport, tenant, TopicName.CONFIG, await transport.end_offset(name, 0)):
        if not isinstance(message, Arrival) or message.body == next_one or is_in_force(tenant, message):
            continue
        try:
            await asyncio.to_thread(next_change, tenant, -1, message)
        except (NotSuccessorError, SchemaError):
            strays.append(message)
            continue
        if next_one is None:
            next_one = message.body
        else:
            strays.append(message)
    return strays


def is_in_force(tenant: Tenant, message: Arrival) -> bool:
    """Return whether a message of the config topic is a version that is or was in force."""
    try:
        return tenant.roster.knows(decode(Configuration, message.body, MAX_CONFIGURATION_BYTES))
    except SchemaError:
        return False


async def _messages(
    transport: Transport, tenant: Tenant, topic: TopicName, end: int
) -> AsyncIterator[Arrival | Refused]:
    beginning = await transport.beginning_offset(topic_name(tenant.name, topic), 0)
    inbox = Inbox(transport, tenant, topic, offset=beginning)
    while (before := inbox.next_offset) < end:
        for message in await inbox.receive(0.0):
            if arrival_of(message).offset < end:
                yield message
        if inbox.next_offset == before:
            return
