"""Since when a version of the configuration is in force, as MU's journal fixed it."""

from schemas.codec import WireStruct


class InForce(WireStruct):
    """One version after the first, and from where on messages are judged by it.

    Attributes:
        version: Its number.
        configuration: Its hash.
        offset: Where it stands on the config topic.
        message_hash: Id of the message there.
        judges_from: On the topics of owners and of clients, in this order, the first offset that is
            judged by it.
        journal_sequence: The entry that says so.
    """

    version: int
    configuration: bytes
    offset: int
    message_hash: bytes
    judges_from: tuple[int, int]
    journal_sequence: int


class Succession(WireStruct):
    """MU's signed word on all versions that came into force, in order; for SU, which reads no journal."""

    versions: tuple[InForce, ...]
