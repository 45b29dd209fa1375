"""A message from outside whose envelope was verified, and where it lies."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a role decides on.

    Attributes:
        topic: Name of the topic within the tenant.
        partition: Where the message lies, with `offset`.
        offset: Of its last part.
        message_hash: Its id; for a message that could not be verified, SHA-256 of its bytes.
        sender: Verified; empty if it could not be.
        sequence: The sender's own number.
        kind: What the sender says it is.
        body: The whole body; empty if it could not be verified.
        key_epoch: The one that the sender names.
    """

    topic: str
    partition: int
    offset: int
    message_hash: bytes
    sender: str
    sequence: int
    kind: str
    body: bytes = field(repr=False)
    key_epoch: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that failed before any role saw it, and why."""

    arrival: Arrival
    reason: str
