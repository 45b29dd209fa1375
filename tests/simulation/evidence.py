"""What lies on the topics after a run, for the oracles to judge."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from simulation.offers import Offer, offers
from simulation.schedules import Trouble
from simulation.world import World

from crypto.errors import SchemaError
from crypto.unit_channel import UnitChannel, UnsealedError
from pipeline.rounds import MAX_BODY_BYTES, place_of_round
from pipeline.transport import Message
from schemas.codec import WireStruct, decode
from schemas.envelope import Envelope, message_id, open_envelope
from schemas.journal import JournalEntry
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName

Struct = TypeVar("Struct", bound=WireStruct)

REPEATING = frozenset(
    {Trouble.TWICE, Trouble.LATE, Trouble.STALE, Trouble.TWIN, Trouble.USURPED, Trouble.LOST_REPLY}
)
"""After these a notice may be there more than once, byte for byte."""


class WrongError(AssertionError):
    """An oracle was not satisfied.

    Attributes:
        oracle: Which one.
    """

    def __init__(self, oracle: str, detail: str) -> None:
        super().__init__(f"{oracle}: {detail}")
        self.oracle = oracle


@dataclass
class Evidence:
    """What lies on the topics after a run, as whoever verifies signatures reads it."""

    world: World

    def read(
        self, topic: TopicName, kind: type[Struct], partition: int = 0
    ) -> Iterator[tuple[Message, Struct]]:
        """Yield the bodies of a topic that the right party signed."""
        tenant = self.world.home.tenant
        for message in self.world.home.messages(topic, partition):
            try:
                sender = tenant.roster.sender(topic, message.offset)
                envelope: Envelope = open_envelope(message.value, topic, tenant.name, sender)
                body = envelope.body
                if topic in {TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES}:
                    channel = self._channels[envelope.key_epoch]
                    body = channel.open(body, *place_of_round(topic, partition))
                yield message, decode(kind, body, MAX_BODY_BYTES)
            except (SchemaError, UnsealedError, KeyError):
                continue

    @cached_property
    def _channels(self) -> dict[int, UnitChannel]:
        return {key_epoch: self.world.home.channel_in(key_epoch) for key_epoch in (1, 2)}

    @cached_property
    def requests(self) -> list[Request]:
        """What MU asked SU, whatever became of it."""
        return [
            request
            for partition in range(TOPICS[TopicName.ROUND_REQUESTS].partitions)
            for _, request in self.read(TopicName.ROUND_REQUESTS, Request, partition)
        ]

    @cached_property
    def replies(self) -> list[Reply]:
        """What SU replied, refusals left out."""
        return [
            reply
            for partition in range(TOPICS[TopicName.ROUND_REPLIES].partitions)
            for _, reply in self.read(TopicName.ROUND_REPLIES, Reply, partition)
            if not reply.reason
        ]

    @cached_property
    def chain(self) -> list[tuple[JournalEntry, bytes]]:
        """Entries that each name the one before, from the first on, with their ids."""
        return self.world.chain()

    def offered(self, topic: TopicName) -> Iterator[tuple[Message, Offer | None]]:
        """Yield what was put on a topic, with the offer that it is; None if it is none."""
        known = {offer.wire: offer for offer in offers(self.world.models).values()}
        for message in self.world.home.messages(topic):
            yield message, known.get(message.value)

    @cached_property
    def may_repeat(self) -> bool:
        """Whether something happened after which notices may be there twice."""
        return any(fault.trouble in REPEATING for fault in self.world.troubles.fired)

    @cached_property
    def heads_were_hidden(self) -> bool:
        """Whether SU was shown an older end of a topic: then it may not know a head, and refuse."""
        return ("su", Trouble.STALE) in {(f.role, f.trouble) for f in self.world.troubles.fired}


def id_of(offer: Offer) -> bytes:
    """Return a message's id: what the journal calls it."""
    return message_id(offer.wire)
