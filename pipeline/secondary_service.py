"""SU as a process: reads the rounds topics and answers by the plan until it is stopped.

A restarted SU reads the requests again from the oldest session that was open, computes the same
replies and goes on; the ledger holds every reply against its first issue.
"""

import asyncio
import hashlib

from crypto.errors import LocalProtocolError, SchemaError
from pipeline.dead_letters import DeadLetters
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.rounds import MAX_BODY_BYTES
from pipeline.session_ledger import Answered, Place, SessionLedger
from pipeline.stored_message import stored_message
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import SESSION_BYTES, Reply, Request, Subject
from schemas.topics import TOPICS, TopicName

WAIT_SECONDS = 5.0
# No plan has so many; the ledger's integers end at 63 bits.
MAX_STEP = 1 << 16
# A session left open for longer is not waited for: MU would start it again.
RESUME_WINDOW = 1024

_ACTIVITIES = {"base_ot": "base_transfers", "refresh": "refresh", "query": "query_rounds"}


class SecondaryService:
    """SU's loops around `roles.secondary_unit`."""

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        unit: SecondaryUnit,
        publisher: Publisher,
        ledger: SessionLedger,
        meter: Meter,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._unit = unit
        self._publisher = publisher
        self._ledger = ledger
        self._meter = meter
        self._dead_letters = DeadLetters(publisher, meter)
        # One session state machine: requests of all partitions take turns.
        self._turn = asyncio.Lock()

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for partition in range(TOPICS[TopicName.ROUND_REQUESTS].partitions):
                group.create_task(self._read_partition(partition))
            if ready is not None:
                ready.set()

    async def _read_partition(self, partition: int) -> None:
        place = await asyncio.to_thread(self._ledger.place, partition)
        inbox = Inbox(
            self._transport,
            self._tenant,
            TopicName.ROUND_REQUESTS,
            partition=partition,
            offset=place.resume,
            meter=self._meter,
            part_budget=MAX_BODY_BYTES,
        )
        opened_at: dict[bytes, int] = {}
        while True:
            for item in await inbox.receive(WAIT_SECONDS, max_messages=4):
                arrival, session = await self._take(item, place)
                if session:
                    opened_at.setdefault(session, arrival.offset)
                behind = arrival.offset + 1
                # Sessions that are still open are read again after a restart, from their first request.
                opened_at = {
                    name: at
                    for name, at in opened_at.items()
                    if self._unit.is_open(name) and at > behind - RESUME_WINDOW
                }
                place = Place(min(opened_at.values(), default=behind), max(place.judged, behind))
                await asyncio.to_thread(self._ledger.set_place, partition, place)

    async def _take(self, item: Arrival | Refused, place: Place) -> tuple[Arrival, bytes]:
        """Answer or refuse a message; return it, and the session that it belongs to."""
        if isinstance(item, Refused):
            await self._report(item.arrival, item.reason, place)
            return item.arrival, b""
        try:
            request = decode(Request, item.body, MAX_BODY_BYTES)
        except SchemaError as error:
            await self._report(item, error.code, place)
            return item, b""
        if len(request.session) != SESSION_BYTES or not 1 <= request.step <= MAX_STEP:
            await self._report(item, ReasonCode.MALFORMED, place)
            return item, b""
        async with self._turn:
            reply = await self._answer(item, request)
        if reply.reason and not await asyncio.to_thread(self._was_answered, request, reply):
            await self._report(item, reply.reason, place)
        return item, request.session

    def _was_answered(self, request: Request, reply: Reply) -> bool:
        """Return whether this very request was answered before: a late repetition is no offence."""
        known = self._ledger.step(request.session, request.step)
        return known is not None and known.request_hash == reply.request_hash

    async def _report(self, arrival: Arrival, reason: str, place: Place) -> None:
        # What is read again after a restart was reported before.
        if arrival.offset >= place.judged:
            await self._dead_letters.report(arrival, reason)

    async def _answer(self, arrival: Arrival, request: Request) -> Reply:
        query = None
        # Only a session that begins needs the query; the later steps follow from it.
        if request.subject.purpose == "query" and request.step == 1:
            query = await self._query(request.subject)
        activity = _ACTIVITIES.get(request.subject.purpose, "refused")
        with self._meter.activity(activity, times=int(request.step == 1)):
            reply = await asyncio.to_thread(self._reply, arrival, request, query)
        body = await asyncio.to_thread(encode, reply)
        await self._publisher.publish(
            TopicName.ROUND_REPLIES, "reply", sequence_of(body), body, partition=arrival.partition
        )
        return reply

    def _reply(self, arrival: Arrival, request: Request, query: Query | None) -> Reply:
        request_hash = hashlib.sha256(arrival.body).digest()
        known = self._ledger.step(request.session, request.step)
        conflict = known is not None and known.request_hash != request_hash
        if query is not None:
            conflict |= self._ledger.session_of(request.subject.client, query.query_id) not in {
                None,
                request.session,
            }
        if conflict:
            return Reply(request.session, request.step, request_hash, ReasonCode.CONFLICTING_REQUEST, ())
        reply = self._unit.answer(request, arrival.body, query)
        if reply.reason:
            return reply
        answered = Answered(request_hash, hashlib.sha256(encode(reply)).digest())
        if known is None:
            claim = None if query is None else (request.subject.client, query.query_id)
            self._ledger.record(request.session, request.step, answered, claim)
        elif known != answered:
            raise LocalProtocolError("another reply than the one first given to this step: SU stops")
        return reply

    async def _query(self, subject: Subject) -> Query | None:
        """Read the client's own signed message; None if it is not where and what MU says."""
        arrival = await stored_message(
            self._transport,
            self._tenant,
            TopicName.QUERIES,
            subject.query_partition,
            subject.query_offset,
            subject.query_hash,
            self._meter,
        )
        if arrival is None or (arrival.sender, arrival.kind) != (subject.client, "query"):
            return None
        try:
            return decode(Query, arrival.body, len(arrival.body))
        except SchemaError:
            return None
