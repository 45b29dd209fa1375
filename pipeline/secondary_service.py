"""SU as a process: reads the rounds topics and answers by the plan until it is stopped.

Before it serves a partition it folds what stands there (`pipeline.partition_fold`). Then it reads the
requests again from the oldest session that is open, computes the same replies without sending them
again, and goes on; the ledger holds every reply against its first issue.
"""

import asyncio
import hashlib
from dataclasses import replace

from crypto.errors import LocalProtocolError, SchemaError
from crypto.unit_channel import UnsealedError
from pipeline import succession
from pipeline.asked_query import asked_query
from pipeline.dead_letters import DeadLetters
from pipeline.heads import HeadBook
from pipeline.high_water import Mark, refuse_rolled_back
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.off_loop import off_loop
from pipeline.partition_fold import PartitionFold
from pipeline.rounds import MAX_BODY_BYTES, open_round, partition_of, place_of_round, size_of
from pipeline.session_ledger import Answered, Claim, Place, SessionLedger
from pipeline.shard import WHOLE, Shard
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.building_blocks.base_transfers import BASE
from roles.classifiers.learner import GROW, LEARN, QUERY, REFRESH
from roles.plan import MAX_STEPS
from roles.rekeying import REKEY
from roles.secondary_epochs import SecondaryEpochs
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.heads import Head
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import SESSION_BYTES, Reply, Request, Subject
from schemas.topics import TopicName, topic_name

log = get_logger()

WAIT_SECONDS = 5.0
# A session left open for longer is not waited for: MU would start it again.
RESUME_WINDOW = 1024

_ACTIVITIES = {
    BASE: "base_transfers",
    REKEY: REKEY,
    LEARN: "learn",
    GROW: "learn",
    REFRESH: "refresh",
    QUERY: "query_rounds",
}


class SecondaryService:
    """SU's loops around `roles.secondary_unit`.

    Attributes:
        inboxes: What it reads requests from.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        epochs: SecondaryEpochs,
        publisher: Publisher,
        ledger: SessionLedger,
        meter: Meter,
        shard: Shard = WHOLE,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._epochs = epochs
        self._publisher = publisher
        self._ledger = ledger
        self._meter = meter
        self._shard = shard
        self._fold = PartitionFold(transport, tenant, epochs, ledger)
        self._dead_letters = DeadLetters(publisher, meter)
        self._heads = Inbox(transport, tenant, TopicName.HEADS, meter=meter)
        self._cosigned = HeadBook(publisher)
        self._moved: dict[tuple[str, int], Mark] = {}
        self._succession = succession.SuccessionWatch(transport, tenant)
        # One session state machine: requests of all partitions take turns.
        self._turn = asyncio.Lock()
        self.inboxes: list[Inbox] = []

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Work until cancelled.

        Raises:
            TopicRolledBackError: A topic ends before what SU has seen on it.
            LocalProtocolError: SU would give another reply than before.
        """
        marks = await asyncio.to_thread(self._ledger.marks)
        await refuse_rolled_back(self._transport, self._tenant, marks)
        await self._read_heads(cosign=False)
        await self._fold.bring_up(self._shard.partitions)
        await asyncio.to_thread(self._ledger.note, list(self._moved.values()))
        try:
            async with asyncio.TaskGroup() as group:
                for partition in self._shard.partitions:
                    place = await asyncio.to_thread(self._ledger.place, partition)
                    inbox = self._inbox(partition, place.resume)
                    self.inboxes.append(inbox)
                    group.create_task(self._read_partition(inbox, place))
                if ready is not None:
                    ready.set()
        except asyncio.CancelledError:
            # The ordinary end: a backup made now must not look older than the last reply.
            self._ledger.note(list(self._moved.values()))
            raise

    async def _read_heads(self, *, cosign: bool) -> None:
        """Take in the heads that are on their topic by now; sign those that SU goes by."""
        end = await self._transport.end_offset(topic_name(self._tenant.name, TopicName.HEADS), 0)
        master = self._tenant.party("mu").name
        while self._heads.next_offset < end and (items := await self._heads.receive(0.0)):
            for item in items:
                if not isinstance(item, Arrival) or item.sender != master:
                    continue
                self._saw(TopicName.HEADS, 0, item.offset, item.message_hash)
                if item.kind == succession.KIND:
                    await self._take_word(item)
                    continue
                try:
                    head = decode(Head, item.body)
                except SchemaError:
                    continue
                if self._epochs.unit.heads.offer(head) and cosign:
                    await self._cosigned.publish(head)

    async def _take_word(self, word: Arrival) -> None:
        """Go by MU's word on the versions in force, and on to the key epoch that began with one."""
        if not await self._succession.take(word):
            log.warning("succession_ignored", offset=word.offset)
        elif await asyncio.to_thread(self._epochs.follow):
            log.info("key_epoch_begun", key_epoch=self._epochs.key_epoch)

    def _saw(self, topic: TopicName, partition: int, offset: int, message_hash: bytes = b"") -> None:
        """Remember how far a topic reaches; durable with the next note to the ledger."""
        known = self._moved.get((topic, partition))
        if known is None or known.next_offset <= offset:
            self._moved[topic, partition] = Mark(topic, partition, offset + 1, message_hash)

    async def _note(self, partition: int, place: Place) -> None:
        """Write how far a partition was read, and how far topics reached that moved since the last note."""
        moved = dict(self._moved)
        await asyncio.to_thread(self._ledger.set_places, {partition: place}, moved.values())
        # Only now: what is interrupted before is noted at the end.
        for where, mark in moved.items():
            if self._moved.get(where) is mark:
                del self._moved[where]

    def _inbox(self, partition: int, offset: int) -> Inbox:
        return Inbox(
            self._transport,
            self._tenant,
            TopicName.ROUND_REQUESTS,
            partition=partition,
            offset=offset,
            meter=self._meter,
            part_budget=MAX_BODY_BYTES,
        )

    async def _read_partition(self, inbox: Inbox, place: Place) -> None:
        opened_at: dict[bytes, int] = {}
        while True:
            for item in await inbox.receive(WAIT_SECONDS, max_messages=4):
                arrival, session, replied = await self._take(item, place)
                if session:
                    opened_at.setdefault(session, arrival.offset)
                behind = arrival.offset + 1
                # Sessions that are still open are read again after a restart, from their first request.
                opened_at = {
                    name: at
                    for name, at in opened_at.items()
                    if self._epochs.unit.is_open(name) and at > behind - RESUME_WINDOW
                }
                place = Place(min(opened_at.values(), default=behind), max(place.judged, behind), replied)
                await self._note(inbox.partition, place)

    async def _take(self, item: Arrival | Refused, place: Place) -> tuple[Arrival, bytes, int]:
        """Answer or refuse a message.

        Returns:
            The message, the session that it belongs to, and where the partition's replies end.
        """
        replied = place.replied
        if isinstance(item, Refused):
            await self._report(item.arrival, item.reason, place)
            return item.arrival, b"", replied
        if item.key_epoch > self._epochs.key_epoch:
            # MU tells of a key epoch before it asks in it.
            async with self._turn:
                await self._read_heads(cosign=True)
        try:
            channel = self._epochs.channels.of(item.key_epoch)
            request = await off_loop(len(item.body), open_round, channel, Request, item)
        except (SchemaError, UnsealedError) as error:
            await self._report(item, error.code, place)
            return item, b"", replied
        if len(request.session) != SESSION_BYTES or not 1 <= request.step <= MAX_STEPS:
            await self._report(item, ReasonCode.MALFORMED, place)
            return item, b"", replied
        async with self._turn:
            reply = await self._answer(item, request)
        # What was read before was answered before, and is there.
        if item.offset >= place.judged:
            replied = await self._send(reply, item, replied)
        if reply.reason and not await asyncio.to_thread(self._was_answered, request, reply):
            await self._report(item, reply.reason, place)
        return item, request.session, replied

    def _was_answered(self, request: Request, reply: Reply) -> bool:
        """Return whether this very request was answered before: a late repetition is no offence."""
        known = self._ledger.step(request.session, request.step)
        return known is not None and known.request_hash == reply.request_hash

    async def _report(self, arrival: Arrival, reason: str, place: Place) -> None:
        # What is read again after a restart was reported before.
        if arrival.offset >= place.judged:
            await self._dead_letters.report(arrival, reason)

    async def _answer(self, arrival: Arrival, request: Request) -> Reply:
        purpose, query = request.subject.purpose, None
        if arrival.partition != partition_of(request.subject):
            # Another shard may have answered the same elsewhere.
            return refused(request, ReasonCode.PLAN_VIOLATION)
        if request.step == 1:
            await self._prepare(purpose)
        if arrival.key_epoch != self._epochs.key_epoch:
            # Its secrets are past, and with them every session: nothing more is computed with them.
            return refused(request, ReasonCode.WRONG_KEY_EPOCH)
        # Only a session that begins needs the query; the later steps follow from it.
        if purpose == QUERY and request.step == 1:
            query = await self._query(request.subject)
        activity = _ACTIVITIES.get(purpose, "refused")
        with self._meter.activity(activity, times=int(request.step == 1)):
            began = asyncio.get_running_loop().time()
            reply = await asyncio.to_thread(self._reply, request, query)
        self._meter.round_took(activity, asyncio.get_running_loop().time() - began)
        self._meter.outcome("round", reply.reason)
        return reply

    async def _prepare(self, purpose: str) -> None:
        """Learn what a session that begins may rest on."""
        if purpose in {QUERY, REFRESH, REKEY}:
            # MU publishes a head before it asks about it, and who may send before it takes them in.
            await self._read_heads(cosign=True)
        unit = self._epochs.unit
        if purpose != BASE and unit.bases is None:
            # Another shard has run the base transfers; the keystore is that one's to write.
            unit.bases = await self._fold.bases(unit.pool)

    async def _send(self, reply: Reply, asked: Arrival, replied: int) -> int:
        """Append a reply; return where the replies end."""
        partition = asked.partition
        wires = await off_loop(size_of(reply), self._sealed, reply, asked)
        sent = await self._publisher.append(TopicName.ROUND_REPLIES, wires, partition=partition)
        if sent.position.offset != replied + len(wires) - 1:
            await self._fold.check_replies(partition, replied)
        self._saw(TopicName.ROUND_REPLIES, partition, sent.position.offset)
        return sent.position.offset + 1

    def _sealed(self, reply: Reply, asked: Arrival) -> list[bytes]:
        body, channel = encode(reply), self._epochs.channels.of(asked.key_epoch)
        sealed = channel.seal(body, *place_of_round(TopicName.ROUND_REPLIES, asked.partition))
        publisher = replace(self._publisher, key_epoch=asked.key_epoch)
        return publisher.seal(TopicName.ROUND_REPLIES, "reply", sequence_of(body), sealed)

    def _reply(self, request: Request, query: Query | None) -> Reply:
        body = encode(request)
        request_hash = hashlib.sha256(body).digest()
        known = self._ledger.step(request.session, request.step)
        claim = None
        if query is not None:
            claim = Claim(request.subject.client, query.query_id, query.rows, self._epochs.key_epoch)
        refusal = self._refusal(request, request_hash, known, claim)
        if refusal:
            return refused(request, refusal)
        reply = self._epochs.unit.answer(request, body, query)
        if reply.reason:
            return reply
        answered = Answered(request_hash, hashlib.sha256(encode(reply)).digest())
        if known is None:
            partition = partition_of(request.subject)
            self._ledger.record(request.session, request.step, answered, partition, claim)
        elif known != answered:
            raise LocalProtocolError("another reply than the one first given to this step: SU stops")
        return reply

    def _refusal(
        self, request: Request, request_hash: bytes, known: Answered | None, claim: Claim | None
    ) -> str:
        """Return why the ledger forbids to look at a request; empty if it does not."""
        if known is not None and known.request_hash != request_hash:
            return ReasonCode.CONFLICTING_REQUEST
        if claim is None:
            return ""
        session = self._ledger.session_of(claim.client, claim.query_id)
        if session not in {None, request.session}:
            return ReasonCode.CONFLICTING_REQUEST
        quota = self._tenant.configuration.limits.query_quota
        asked = self._ledger.rows_asked(claim.client, claim.key_epoch)
        if session is None and asked + claim.rows > quota:
            return ReasonCode.QUOTA_EXCEEDED
        return ""

    async def _query(self, subject: Subject) -> Query | None:
        query = await asked_query(self._transport, self._tenant, subject, self._meter)
        if query is not None:
            self._saw(TopicName.QUERIES, subject.partition, subject.offset)
        return query


def refused(request: Request, reason: str) -> Reply:
    """Return the reply that says why there is no other."""
    return Reply(request.session, request.step, hashlib.sha256(encode(request)).digest(), reason, ())
