"""The dead-letter topic: where a unit says which message it refused and why, never what was in it."""

from dataclasses import dataclass

from pipeline.log_setup import get_logger
from pipeline.mailbox import Publisher, sequence_of
from pipeline.meter import Meter
from roles.arrival import Arrival
from schemas.codec import encode
from schemas.journal import DeadLetter
from schemas.topics import TopicName

log = get_logger()


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Reports refused messages as one unit."""

    publisher: Publisher
    meter: Meter

    async def report(self, arrival: Arrival, reason: str) -> None:
        """Write one dead letter."""
        self.meter.letters[str(reason)] += 1
        log.warning("refused", topic=arrival.topic, offset=arrival.offset, code=str(reason))
        body = self.body(arrival, reason)
        await self.publisher.publish(TopicName.DEAD_LETTERS, "deadletter", sequence_of(body), body)

    def body(self, arrival: Arrival, reason: str) -> bytes:
        """Return the letter: the same message refused for the same reason has the same letter."""
        return encode(
            DeadLetter(
                arrival.topic,
                arrival.partition,
                arrival.offset,
                arrival.message_hash,
                str(reason),
                self.publisher.sender,
            )
        )
