"""The rounds as they were: a step is looked up on the topics instead of being asked."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from crypto.errors import RemoteProtocolError
from crypto.unit_channel import UnitChannel
from pipeline.meter import Meter
from pipeline.rounds import PARTITIONS, RoundExchange
from pipeline.rounds_record import RecordedReply, RoundsRecord, body_hash
from pipeline.signed_messages import place_of
from pipeline.succession import SuccessionWatch, words
from roles.findings import FindingCode, Place
from roles.session import MasterProgram, Session
from schemas.codec import encode
from schemas.rounds import Reply, Request

Result = TypeVar("Result")


class NotRecordedError(RemoteProtocolError):
    """The session cannot be run on: the topics do not have its next step, or another one."""


@dataclass(slots=True)
class _Asked:
    """The requests on the topic under one step: their places by the hash of their body."""

    places: dict[bytes, Place] = field(default_factory=dict)


class RecordedExchange(RoundExchange):
    """Runs MU's programs against what SU replied then, and compares what MU asks.

    Args:
        record: The rounds topics; its tenant follows what MU told of the versions in force.
        meter: Counts CPU by activity.

    Attributes:
        begun: Names of the sessions that were run, whether or not to their end.
        completed: Names of those that came to their end.
    """

    def __init__(self, record: RoundsRecord, meter: Meter) -> None:
        # Not the base's constructor: that one prepares to publish and to wait.
        self._record = record
        self._meter = meter
        self._requests: dict[tuple[bytes, int], _Asked] = {}
        self.begun: set[bytes] = set()
        self.completed: set[bytes] = set()

    async def open(self) -> None:
        """Read the rounds topics into an index."""
        await self._record.open()
        # Which key epochs there are by MU's word: it stands before what was asked in one of them.
        watch = SuccessionWatch(self._record.transport, self._record.tenant)
        async for word in words(self._record.transport, self._record.tenant):
            await watch.take(word)
        for partition in PARTITIONS:
            await self._record.read_replies(partition)
            async for arrival, request_hash, request in self._record.requests(partition):
                asked = self._requests.setdefault((request.session, request.step), _Asked())
                asked.places.setdefault(request_hash, place_of(arrival))

    def go_on(self, key_epoch: int, channel: UnitChannel) -> None:
        """Do nothing: the record opens what was sealed in any key epoch."""

    def beginning_of(self, session: bytes) -> Place | None:
        """Return where the first request of a session stands; None if it is not there."""
        asked = self._requests.get((session, 1))
        return None if asked is None else next(iter(asked.places.values()))

    async def run(self, session: Session, program: MasterProgram[Result], activity: str) -> Result:
        """Run MU's half of a session on what was replied.

        Raises:
            NotRecordedError: The topics do not have the next step, or another one, which is reported.
            SecondaryRefusedError: SU refused a step.
            RemoteProtocolError: A reply breaks the plan.
        """
        self.begun.add(session.name)
        result = await super().run(session, program, activity)
        self.completed.add(session.name)
        return result

    def report_unexplained(self) -> None:
        """Report requests of sessions that nothing in the journal asks for."""
        for (session, _), asked in self._requests.items():
            if session not in self.begun:
                for place in asked.places.values():
                    detail = "MU signed a request of a session that its journal does not ask for"
                    self._record.findings.add(FindingCode.REQUEST_UNEXPLAINED, place, detail)

    async def _ask(self, request: Request, partition: int) -> Reply:
        request_hash = await asyncio.to_thread(lambda: body_hash(encode(request)))
        place = self._requests.get((request.session, request.step), _Asked()).places
        replies = self._record.replies.get((request.session, request.step, request_hash), [])
        step = f"step {request.step} of a {request.subject.purpose} session"
        for other in place.keys() - {request_hash}:
            detail = f"{step}, computed again, is another request"
            self._record.findings.add(FindingCode.REQUEST_DIFFERS, place[other], detail)
        if request_hash not in place and replies and await self._record.is_whole(partition):
            detail = f"SU answers {step}, and the request is not on its topic"
            self._record.findings.add(FindingCode.REQUEST_MISSING, replies[0].place, detail)
        reply = None if not replies else await self._record.reply(_answer_of(replies))
        if reply is None:
            raise NotRecordedError(f"{step} has no reply on the topic")
        return reply


def _answer_of(replies: list[RecordedReply]) -> RecordedReply:
    """Return the first reply that answers; SU may have refused what it had forgotten for a while."""
    return next((reply for reply in replies if not reply.reason), replies[0])
