"""The topics of a tenant: who writes, who reads, how they are keyed, kept and made durable.

This table is the single source for creating topics, for the check that a sender may write
where it wrote, and for a broker's access rules.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

TENANT_PATTERN = r"\A[a-z0-9][a-z0-9-]{0,31}\Z"
"""No dot and no underscore: the dot separates tenant and topic, and Kafka confuses the two."""

NAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
"""Names of senders, models and message kinds; fit for file names and broker principals."""


class Role(StrEnum):
    """Who takes part in a tenant."""

    AUTHORITY = "authority"
    MU = "mu"
    SU = "su"
    OWNER = "owner"
    CLIENT = "client"
    AUDITOR = "auditor"
    OPERATOR = "operator"


class TopicName(StrEnum):
    """A topic's name within its tenant."""

    CONFIG = "config"
    CHUNKS = "chunks"
    REKEYED = "rekeyed"
    RECEIPTS = "receipts"
    JOURNAL = "journal"
    HEADS = "heads"
    ROUND_REQUESTS = "rounds.requests"
    ROUND_REPLIES = "rounds.replies"
    QUERIES = "queries"
    ANSWERS = "answers"
    SNAPSHOTS = "snapshots"
    DEAD_LETTERS = "deadletter"


class TopicKey(StrEnum):
    """What a topic's messages are keyed by; messages of one key keep their order."""

    NAME = "name"
    OWNER = "owner"
    CLIENT = "client"
    MODEL = "model"
    SESSION = "model, or the client or owner whose message it is about"
    NONE = "none"


class Kept(StrEnum):
    """How long messages stay."""

    FOREVER = "forever"
    COMPACTED = "compacted"
    AUDIT_WINDOW = "audit_window"
    SHORT = "short"


class Durability(StrEnum):
    """What an append has survived when it returns.

    `FULL` is a power failure. `NORMAL` is the death of any process; after a power failure the
    last messages may be missing. It suits what the sender repeats until it is answered.
    """

    FULL = "full"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Topic:
    """One line of the table."""

    name: TopicName
    partitions: int
    key: TopicKey
    writers: frozenset[Role]
    readers: frozenset[Role]
    kept: Kept
    durability: Durability


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a transport needs to make a topic: its full name and properties."""

    topic: str
    partitions: int
    kept: Kept
    durability: Durability


EVERYBODY = frozenset(Role)
UNITS = frozenset({Role.MU, Role.SU})


def _topic(
    name: TopicName,
    key: TopicKey,
    writers: set[Role] | frozenset[Role],
    readers: set[Role] | frozenset[Role],
    kept: Kept,
    durability: Durability,
    *,
    partitions: int = 1,
) -> Topic:
    return Topic(name, partitions, key, frozenset(writers), frozenset(readers), kept, durability)


_N, _K, _R, _D = TopicName, TopicKey, Role, Durability

TOPICS: dict[TopicName, Topic] = {
    topic.name: topic
    for topic in (
        _topic(_N.CONFIG, _K.NAME, {_R.AUTHORITY}, EVERYBODY, Kept.COMPACTED, _D.FULL),
        _topic(_N.CHUNKS, _K.OWNER, {_R.OWNER}, {_R.MU, _R.AUDITOR}, Kept.AUDIT_WINDOW, _D.FULL),
        # What MU and SU made of chunks under owners' keys; as long as the chunks, which it stands for.
        _topic(_N.REKEYED, _K.OWNER, {_R.MU}, {_R.MU, _R.AUDITOR}, Kept.AUDIT_WINDOW, _D.FULL),
        # The auditor compares receipts with the journal. A restarted MU looks which of its last
        # receipts, answers and dead letters are missing.
        _topic(_N.RECEIPTS, _K.OWNER, {_R.MU}, {_R.OWNER, _R.AUDITOR, _R.MU}, Kept.AUDIT_WINDOW, _D.FULL),
        # One partition: the hash chain is one sequence.
        _topic(_N.JOURNAL, _K.NONE, {_R.MU}, {_R.MU, _R.AUDITOR}, Kept.FOREVER, _D.FULL),
        _topic(_N.HEADS, _K.MODEL, UNITS, EVERYBODY, Kept.FOREVER, _D.FULL),
        # Each unit also reads its own side back: SU rebuilds its ledger, both re-check themselves.
        _topic(_N.ROUND_REQUESTS, _K.SESSION, {_R.MU}, UNITS, Kept.SHORT, _D.NORMAL, partitions=16),
        _topic(_N.ROUND_REPLIES, _K.SESSION, {_R.SU}, UNITS, Kept.SHORT, _D.NORMAL, partitions=16),
        _topic(_N.QUERIES, _K.CLIENT, {_R.CLIENT}, UNITS, Kept.AUDIT_WINDOW, _D.NORMAL),
        _topic(_N.ANSWERS, _K.CLIENT, {_R.MU}, {_R.CLIENT, _R.MU}, Kept.AUDIT_WINDOW, _D.NORMAL),
        _topic(_N.SNAPSHOTS, _K.MODEL, {_R.MU}, {_R.MU, _R.AUDITOR}, Kept.COMPACTED, _D.FULL),
        _topic(_N.DEAD_LETTERS, _K.NONE, UNITS, {_R.OPERATOR, _R.MU}, Kept.AUDIT_WINDOW, _D.NORMAL),
    )
}


def allowed_writer(role: Role, topic: str) -> bool:
    """Return whether `role` may write the topic of that name; False for a name not in the table."""
    return topic in TOPICS and role in TOPICS[TopicName(topic)].writers


def allowed_reader(role: Role, topic: str) -> bool:
    """Return whether `role` may read the topic of that name; False for a name not in the table."""
    return topic in TOPICS and role in TOPICS[TopicName(topic)].readers


def topic_name(tenant: str, topic: TopicName) -> str:
    """Return the topic's full name on a transport, `TENANT.TOPIC`.

    Raises:
        ValueError: The tenant's name does not match `TENANT_PATTERN`.
    """
    if re.search(TENANT_PATTERN, tenant) is None:
        raise ValueError("a tenant's name is 1 to 32 lower-case letters, digits and hyphens")
    return f"{tenant}.{topic}"


def topic_specs(tenant: str) -> list[TopicSpec]:
    """Return what to create for a tenant, in the order of the table."""
    return [
        TopicSpec(topic_name(tenant, topic.name), topic.partitions, topic.kept, topic.durability)
        for topic in TOPICS.values()
    ]
