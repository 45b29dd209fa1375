"""SU as a process: reads the rounds topics and answers by the plan until it is stopped.

A restarted SU reads the requests again from the oldest session that was open, computes the same
replies and goes on; the ledger holds every reply against its first issue.
"""

import asyncio
import hashlib

import structlog

from crypto.errors import LocalProtocolError, SchemaError
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.rounds import MAX_BODY_BYTES
from pipeline.session_ledger import Answered, SessionLedger
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.journal import DeadLetter
from schemas.queries import Query
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TOPICS, TopicName

log = structlog.get_logger()

WAIT_SECONDS = 5.0


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
        inbox = Inbox(
            self._transport,
            self._tenant,
            TopicName.ROUND_REQUESTS,
            partition=partition,
            offset=self._ledger.resume_offset(partition),
            meter=self._meter,
        )
        opened_at: dict[bytes, int] = {}
        while True:
            for arrival in await inbox.receive(WAIT_SECONDS, max_messages=4):
                if isinstance(arrival, Refused):
                    await self._dead_letter(arrival.arrival, arrival.reason)
                    continue
                try:
                    request = decode(Request, arrival.body, MAX_BODY_BYTES)
                except SchemaError as error:
                    await self._dead_letter(arrival, error.code)
                    continue
                async with self._turn:
                    await self._answer(arrival, request)
                # Sessions that are still open are read again after a restart, from their first request.
                opened_at.setdefault(request.session, arrival.offset)
                opened_at = {name: at for name, at in opened_at.items() if self._unit.is_open(name)}
                resume = min(opened_at.values(), default=arrival.offset + 1)
                await asyncio.to_thread(self._ledger.set_resume_offset, partition, resume)

    async def _answer(self, arrival: Arrival, request: Request) -> None:
        purpose = request.subject.purpose
        times = int(request.step == 1)
        query = await self._query(request.subject) if purpose == "query" else None
        with self._meter.activity(
            {"query": "query_rounds", "base_ot": "base_transfers"}.get(purpose, purpose), times
        ):
            reply = await asyncio.to_thread(self._reply, arrival, request, query)
        if reply.reason:
            await self._dead_letter(arrival, reply.reason)
        body = encode(reply)
        await self._publisher.publish(
            TopicName.ROUND_REPLIES, "reply", sequence_of(body), body, partition=arrival.partition
        )

    def _reply(self, arrival: Arrival, request: Request, query: Query | None) -> Reply:
        request_hash = hashlib.sha256(arrival.body).digest()
        known = self._ledger.step(request.session, request.step)
        if known is not None and known.request_hash != request_hash:
            return Reply(request.session, request.step, request_hash, ReasonCode.CONFLICTING_REQUEST, ())
        if query is not None and not self._ledger.claim(
            request.subject.client, query.query_id, request.session
        ):
            return Reply(request.session, request.step, request_hash, ReasonCode.CONFLICTING_REQUEST, ())
        reply = self._unit.answer(request, arrival.body, query)
        if reply.reason:
            return reply
        answered = Answered(request_hash, hashlib.sha256(encode(reply)).digest())
        if known is None:
            self._ledger.record(request.session, request.step, answered)
        elif known != answered:
            raise LocalProtocolError("another reply than the one first given to this step: SU stops")
        return reply

    async def _query(self, subject: Subject) -> Query | None:
        """Read the client's own signed message; None if it is not where and what MU says."""
        inbox = Inbox(
            self._transport,
            self._tenant,
            TopicName.QUERIES,
            partition=subject.query_partition,
            offset=subject.query_offset,
            meter=self._meter,
        )
        for arrival in await inbox.receive(wait_seconds=0.0, max_messages=1):
            if (
                isinstance(arrival, Arrival)
                and (arrival.message_hash, arrival.sender) == (subject.query_hash, subject.client)
                and arrival.kind == "query"
            ):
                try:
                    return decode(Query, arrival.body)
                except SchemaError:
                    return None
        return None

    async def _dead_letter(self, arrival: Arrival, reason: str) -> None:
        letter = DeadLetter(
            arrival.topic,
            arrival.partition,
            arrival.offset,
            arrival.message_hash,
            reason,
            self._publisher.sender,
        )
        body = encode(letter)
        self._meter.dead_letters += 1
        log.warning("refused", topic=arrival.topic, offset=arrival.offset, reason=reason)
        await self._publisher.publish(TopicName.DEAD_LETTERS, "deadletter", sequence_of(body), body)
