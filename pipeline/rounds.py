"""MU's end of the rounds topics: ask one step, wait for its reply, ask again if none comes."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from crypto.errors import SchemaError
from crypto.unit_channel import UnitChannel, UnsealedError
from pipeline.dead_letters import DeadLetters
from pipeline.errors import PipelineError
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.off_loop import off_loop
from pipeline.transport import Transport, partition_for_key
from roles.arrival import Arrival, Refused
from roles.building_blocks.base_transfers import BASE
from roles.classifiers.learner import QUERY
from roles.plan import MAX_STEPS, Plan
from roles.rekeying import REKEY
from roles.session import MasterProgram, Session
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.reasons import ReasonCode
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TOPICS, TopicName, topic_name

Result = TypeVar("Result")
T = TypeVar("T")

MAX_BODY_BYTES = 512 << 20
"""Largest request or reply; only a very wide schema comes near it, with its garbled refresh."""
BASE_KEY = b"base"
"""Chooses the partition of the base session, which belongs to no model."""
PARTITIONS = range(TOPICS[TopicName.ROUND_REQUESTS].partitions)
FRAME_BYTES = 4096
"""Room for what a request or reply carries beside its sections."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 5.0


class SecondaryRefusedError(PipelineError):
    """SU refused a step.

    Attributes:
        reason: Why; one that this version does not know is coarse.
        step: The step's name.
    """

    code = ReasonCode.PLAN_VIOLATION

    def __init__(self, reason: str, step: str = "") -> None:
        self.reason = ReasonCode(reason) if reason in set(ReasonCode) else ReasonCode.PROTOCOL_ERROR
        self.step = step
        super().__init__(f"SU refused the step: {self.reason.meaning}")


class PlanTooLargeError(PipelineError):
    """A step of a plan has a message that no inbox takes."""

    code = ReasonCode.TOO_LARGE


def check_plan_size(plan: Plan) -> None:
    """Refuse a plan whose messages would never arrive, before its first step is sent.

    Raises:
        PlanTooLargeError: A request or reply is above the limit, or there are too many steps.
    """
    if len(plan.steps) > MAX_STEPS:
        raise PlanTooLargeError(
            f"the units would have to exchange {len(plan.steps):,} rounds ({plan.name}); "
            f"the limit is {MAX_STEPS:,}",
            hint="use a smaller model, or fewer records per chunk",
        )
    sizes = [
        sum(section.size for section in sections)
        for step in plan.steps
        for sections in (step.request, step.reply)
    ]
    if max(sizes) > MAX_BODY_BYTES - FRAME_BYTES:
        raise PlanTooLargeError(
            f"the units would have to exchange a message of {max(sizes) >> 20} MiB ({plan.name}); "
            f"the limit is {MAX_BODY_BYTES >> 20} MiB",
            hint="use a schema with fewer values, bins or classes, or fewer rows per query",
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A step that waits for its reply."""

    request_hash: bytes
    reply: asyncio.Future[Reply]


class RoundExchange:
    """Runs MU's programs against SU over the rounds topics.

    A step that stays unanswered is repeated with the same bytes, after 1 s and then ever more
    rarely; nothing is lost while SU is away, the session waits.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        publisher: Publisher,
        channel: UnitChannel,
        meter: Meter,
    ) -> None:
        """Take what rounds need; `channel` is that of the publisher's key epoch."""
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._channel = channel
        self._meter = meter
        self._dead_letters = DeadLetters(publisher, meter)
        self._asked: dict[tuple[bytes, int], _Asked] = {}
        self._inboxes: list[Inbox] = []

    def go_on(self, key_epoch: int, channel: UnitChannel) -> None:
        """Ask in another key epoch from now on; no session is under way."""
        self._publisher = replace(self._publisher, key_epoch=key_epoch)
        self._channel = channel

    async def open(self) -> None:
        """Note where the reply topics end: replies to come are read from there."""
        topic = topic_name(self._tenant.name, TopicName.ROUND_REPLIES)
        for partition in PARTITIONS:
            offset = await self._transport.end_offset(topic, partition)
            self._inboxes.append(
                Inbox(
                    self._transport,
                    self._tenant,
                    TopicName.ROUND_REPLIES,
                    partition=partition,
                    offset=offset,
                    meter=self._meter,
                    part_budget=MAX_BODY_BYTES,
                )
            )

    async def read_replies(self) -> None:
        """Deliver replies to the sessions that wait for them, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for inbox in self._inboxes:
                group.create_task(self._read_partition(inbox))

    async def _read_partition(self, inbox: Inbox) -> None:
        while True:
            for arrival in await inbox.receive(wait_seconds=5.0):
                if isinstance(arrival, Refused):
                    await self._dead_letters.report(arrival.arrival, arrival.reason)
                    continue
                if arrival.key_epoch < self._publisher.key_epoch:
                    # To a repeated request; what it was about ended before the key epoch did.
                    continue
                if arrival.key_epoch > self._publisher.key_epoch:
                    await self._dead_letters.report(arrival, ReasonCode.WRONG_KEY_EPOCH)
                    continue
                try:
                    reply = await off_loop(len(arrival.body), open_round, self._channel, Reply, arrival)
                except (SchemaError, UnsealedError) as error:
                    await self._dead_letters.report(arrival, error.code)
                    continue
                # The first reply to a request counts; repeated ones, and those to requests of an
                # earlier life, are nobody's any more.
                asked = self._asked.get((reply.session, reply.step))
                if asked and asked.request_hash == reply.request_hash and not asked.reply.done():
                    asked.reply.set_result(reply)
                    # Who waits goes on before the next look at the topic.
                    await asyncio.sleep(0)

    async def run(self, session: Session, program: MasterProgram[Result], activity: str) -> Result:
        """Run MU's half of a session to its end.

        Args:
            session: Fresh.
            program: Not yet started.
            activity: Under which name its CPU and operations are counted.

        Raises:
            PlanTooLargeError: A message of the plan is above the limit; nothing was sent.
            SecondaryRefusedError: SU refused a step.
            RemoteProtocolError: A reply breaks the plan.
        """
        check_plan_size(session.plan)
        partition = partition_of(session.subject)
        sections: tuple[bytes, ...] | None = None
        first = 1
        while True:
            with self._meter.activity(activity, times=first):
                outcome = await asyncio.to_thread(_advance, session, program, sections)
            if isinstance(outcome, _Finished):
                return outcome.result
            self._meter.round_trip(activity)
            asked = asyncio.get_running_loop().time()
            reply = await self._ask(outcome, partition)
            self._meter.round_took(activity, asyncio.get_running_loop().time() - asked)
            self._meter.outcome("round", reply.reason)
            if reply.reason:
                raise SecondaryRefusedError(reply.reason, session.plan.steps[session.step - 1].name)
            sections, first = reply.sections, 0

    async def _ask(self, request: Request, partition: int) -> Reply:
        place = (request.session, request.step)
        body, wires = await off_loop(size_of(request), self._sealed, request, partition)
        request_hash = hashlib.sha256(body).digest()
        wait = FIRST_WAIT_SECONDS
        try:
            while True:
                reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
                self._asked[place] = _Asked(request_hash, reply)
                await self._publisher.append(TopicName.ROUND_REQUESTS, wires, partition=partition)
                try:
                    async with asyncio.timeout(wait):
                        return await reply
                except TimeoutError:
                    wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        finally:
            self._asked.pop(place, None)

    def _sealed(self, request: Request, partition: int) -> tuple[bytes, list[bytes]]:
        """Return a request's body and its wire forms; the same request gives the same bytes."""
        body = encode(request)
        sealed = self._channel.seal(body, *place_of_round(TopicName.ROUND_REQUESTS, partition))
        return body, self._publisher.seal(TopicName.ROUND_REQUESTS, "request", sequence_of(body), sealed)


def partition_of(subject: Subject) -> int:
    """Return the partition that a session's rounds go by, and no other.

    All sessions about the queries of one client are on one partition, and so are those about the chunks
    of one owner, and those of one model: whoever serves it knows by itself what was answered to a client.
    """
    key = BASE_KEY if subject.purpose == BASE else subject.model_id.encode()
    if subject.purpose in {QUERY, REKEY}:
        key = subject.client.encode()
    return partition_for_key(key, len(PARTITIONS))


def size_of(message: Request | Reply) -> int:
    """Return how many bytes a round carries, about."""
    return sum(map(len, message.sections))


def place_of_round(topic: TopicName, partition: int) -> tuple[str, int]:
    """Return what the sealing of a round's body is bound to."""
    return str(topic), partition


def open_round(channel: UnitChannel, kind: type[T], arrival: Arrival) -> T:
    """Unseal and decode the body of a round.

    Raises:
        UnsealedError: It was not sealed by the peer for this place.
        SchemaError: What was sealed is not a `kind`.
    """
    place = place_of_round(TopicName(arrival.topic), arrival.partition)
    return decode(kind, channel.open(arrival.body, *place), MAX_BODY_BYTES)


@dataclass(frozen=True, slots=True)
class _Finished(Generic[Result]):
    result: Result


def _advance(
    session: Session, program: MasterProgram[Result], reply: tuple[bytes, ...] | None
) -> Request | _Finished[Result]:
    """Feed a reply (none at the start) to a program; return the next request or the result."""
    try:
        if reply is None:
            sections = next(program)
        else:
            session.plan.check_reply(session.step, reply)
            session.absorb_reply(reply)
            sections = program.send(reply)
    except StopIteration as finished:
        return _Finished(finished.value)
    session.absorb_request(sections)
    return Request(session.name, session.subject, session.plan.digest, session.step, sections)
