"""SU's knowledge of a partition as the fold of what stands there: requests, and its own replies.

Whoever begins to serve a partition, after a restart or in place of another shard, does this first. A
reply on the topic is what was given: its step enters the ledger, so that no other reply can follow.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crypto.errors import CryptoError, LocalProtocolError, RemoteProtocolError
from pipeline.asked_query import asked_query
from pipeline.errors import StorageError
from pipeline.meter import Meter
from pipeline.process_lock import AlreadyRunningError
from pipeline.rounds import partition_of
from pipeline.rounds_record import RecordedReply, RoundsRecord
from pipeline.session_ledger import Answered, Claim, Place, SessionLedger
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.building_blocks.base_transfers import TransferBases, base_subject
from roles.classifiers.learner import QUERY
from roles.findings import Findings
from roles.secondary_epochs import SecondaryEpochs
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant, UnknownModelError
from schemas.codec import encode
from schemas.queries import Query
from schemas.rounds import Request, Subject
from schemas.topics import TopicName, topic_name


class RoundsForgottenError(StorageError):
    """A partition begins after what SU's ledger knows of it: what was answered in between is not known."""


@dataclass(slots=True)
class _Seen:
    """A session as far as the topics tell.

    Attributes:
        subject: What it is about.
        begun: Offset of the last request for its first step.
        answered: Its last step that was answered.
    """

    subject: Subject
    begun: int
    answered: int = 0


@dataclass(frozen=True, slots=True)
class PartitionFold:
    """Brings a ledger up to what stands on the topics.

    Attributes:
        transport: Where the topics are; only read.
        tenant: Public facts.
        epochs: SU in every key epoch.
        ledger: Of the shard.
        meter: Counts what was read.
    """

    transport: Transport
    tenant: Tenant
    epochs: SecondaryEpochs
    ledger: SessionLedger
    meter: Meter = field(default_factory=Meter)

    async def bring_up(self, partitions: Iterable[int]) -> None:
        """Take every reply that stands on these partitions into the ledger, and note where to go on.

        Raises:
            RoundsForgottenError: Replies that the ledger does not have are not kept any more.
            LocalProtocolError: A step has two different replies.
        """
        record = self._record()
        chosen = tuple(partitions)
        await record.open(chosen)
        places = {partition: await self._fold(record, partition) for partition in chosen}
        await asyncio.to_thread(self.ledger.set_places, places)

    async def check_replies(self, partition: int, offset: int) -> None:
        """Hold all replies from an offset on against the ledger, while the partition is being served.

        Raises:
            AlreadyRunningError: A reply is not in it: another process serves the partition as well.
            LocalProtocolError: A reply is another one than the ledger has.
        """
        record = self._record()
        await record.open([partition])
        await record.read_replies(partition, offset)
        for (session, step, request_hash), replies in record.replies.items():
            for reply in replies:
                if reply.reason:
                    continue
                if await asyncio.to_thread(self.ledger.step, session, step) is None:
                    raise AlreadyRunningError(
                        f"another process of SU serves partition {partition} as well",
                        hint="run every shard once, and all of them with the same count",
                    )
                await self._enter_reply(session, step, request_hash, reply, partition)

    async def bases(self, pool: ThreadPoolExecutor | None) -> TransferBases | None:
        """Return SU's halves of the base transfers of the key epoch, as another shard made them.

        None if it did not yet.
        """
        partition = partition_of(base_subject())
        record = self._record()
        await record.open([partition])
        await record.read_replies(partition)
        made: list[TransferBases] = []
        unit = self.epochs.unit
        again = SecondaryUnit(unit.tenant, unit.theta, unit.seed, unit.delta, None, made.append, pool)
        async for arrival, request_hash, request in record.requests(partition):
            given = record.replies.get((request.session, request.step, request_hash), [])
            own = request.subject == base_subject() and arrival.key_epoch == self.epochs.key_epoch
            if own and any(not reply.reason for reply in given):
                body = await asyncio.to_thread(encode, request)
                await asyncio.to_thread(again.answer, request, body, None)
        return made[-1] if made else None

    def _record(self) -> RoundsRecord:
        channels = self.epochs.channels
        return RoundsRecord(self.transport, self.tenant, channels, Findings(), self.meter)

    async def _fold(self, record: RoundsRecord, partition: int) -> Place:
        place = await asyncio.to_thread(self.ledger.place, partition)
        await self._check_kept(partition, place)
        record.replies.clear()
        await record.read_replies(partition, place.replied)
        sessions: dict[bytes, _Seen] = {}
        judged = place.judged
        async for arrival, request_hash, request in record.requests(partition, place.resume):
            # Nobody goes on with a session of an earlier key epoch.
            if request.step == 1 and arrival.key_epoch == self.epochs.key_epoch:
                sessions[request.session] = _Seen(request.subject, arrival.offset)
            replies = record.replies.get((request.session, request.step, request_hash), [])
            # A request that was repeated may have one reply so far: each takes its own.
            given = replies.pop(0) if replies else None
            if given is not None:
                judged = max(judged, arrival.offset + 1)
                await self._enter(arrival, request, request_hash, given)
            if await asyncio.to_thread(self._is_answered, request, request_hash):
                seen = sessions.get(request.session)
                if seen is not None:
                    seen.answered = max(seen.answered, request.step)
        for (session, step, request_hash), unexplained in record.replies.items():
            for reply in unexplained:
                await self._enter_reply(session, step, request_hash, reply, partition)
        beginning = await self._beginning(TopicName.ROUND_REQUESTS, partition)
        resume = max(judged, beginning)
        for seen in sessions.values():
            if seen.begun < resume and await self._is_open(seen):
                resume = seen.begun
        return Place(resume, judged, record.end(TopicName.ROUND_REPLIES, partition))

    async def _check_kept(self, partition: int, place: Place) -> None:
        beginning = await self._beginning(TopicName.ROUND_REPLIES, partition)
        if beginning > place.replied:
            raise RoundsForgottenError(
                f"partition {partition} of the rounds begins at reply {beginning}, "
                f"and SU's ledger ends at {place.replied}",
                hint="put the ledger of the process that served it (su*.ledger) into the state folder",
            )

    async def _beginning(self, topic: TopicName, partition: int) -> int:
        return await self.transport.beginning_offset(topic_name(self.tenant.name, topic), partition)

    async def _enter(
        self, arrival: Arrival, request: Request, request_hash: bytes, given: RecordedReply
    ) -> None:
        claim = None
        if request.subject.purpose == QUERY and request.step == 1 and not given.reason:
            query = await self._query(request.subject)
            if query is not None:
                claim = Claim(request.subject.client, query.query_id, query.rows, arrival.key_epoch)
        place = request.session, request.step, request_hash
        await self._enter_reply(*place, given, arrival.partition, claim)

    async def _enter_reply(
        self,
        session: bytes,
        step: int,
        request_hash: bytes,
        given: RecordedReply,
        partition: int,
        claim: Claim | None = None,
    ) -> None:
        if given.reason:
            return
        answered = Answered(request_hash, given.body_hash)
        known = await asyncio.to_thread(self.ledger.step, session, step)
        if known is None:
            await asyncio.to_thread(self.ledger.record, session, step, answered, partition, claim)
        elif known != answered:
            raise LocalProtocolError("two different replies of SU to one step are on its topic: SU stops")

    def _is_answered(self, request: Request, request_hash: bytes) -> bool:
        known = self.ledger.step(request.session, request.step)
        return known is not None and known.request_hash == request_hash

    async def _is_open(self, seen: _Seen) -> bool:
        """Return whether a session has steps to come."""
        query = await self._query(seen.subject) if seen.subject.purpose == QUERY else None
        try:
            plan = await asyncio.to_thread(self.epochs.unit.plan_of, seen.subject, query)
        except (CryptoError, RemoteProtocolError, UnknownModelError):
            return False
        return seen.answered < len(plan.steps)

    async def _query(self, subject: Subject) -> Query | None:
        return await asked_query(self.transport, self.tenant, subject, self.meter)
