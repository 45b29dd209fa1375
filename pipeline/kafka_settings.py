"""What PrivML wants of a Kafka cluster: the sizes, the broker's settings, each topic's settings.

One table for all: the transport creates topics from it, the tests start their broker with it, and
deployment files are checked against it.
"""

from pipeline.transport import MAX_APPEND_BYTES
from schemas.topics import Durability, Kept, TopicSpec

# Key, value and headers, and what Kafka's record format adds to them.
MAX_RECORD_BYTES = MAX_APPEND_BYTES + 64 * 1024

# Twice the largest record, so that a fetch never depends on a single one fitting.
FETCH_PARTITION_BYTES = 2 * MAX_RECORD_BYTES
FETCH_BYTES = 4 * FETCH_PARTITION_BYTES

DAY_MILLISECONDS = 24 * 60 * 60 * 1000
AUDIT_WINDOW_MILLISECONDS = 400 * DAY_MILLISECONDS
SHORT_MILLISECONDS = DAY_MILLISECONDS

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


def broker_settings(copies: int = 1) -> dict[str, str]:
    """Return the settings of every broker, without those that name its place and its listeners.

    Args:
        copies: Brokers that hold each partition: 1 on a single broker, else at least 3.
    """
    needed = str(1 if copies == 1 else 2)
    return {
        # A topic is made by the operator with its settings, never by a typing error.
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": needed,
        "unclean.leader.election.enable": "false",
        "message.max.bytes": str(MAX_RECORD_BYTES),
        "replica.fetch.max.bytes": str(FETCH_PARTITION_BYTES),
        # Kafka's own topics. PrivML uses neither groups nor transactions; operators' tools may.
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.replication.factor": str(copies),
        "share.coordinator.state.topic.replication.factor": str(copies),
        "share.coordinator.state.topic.min.isr": needed,
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": needed,
    }


def access_settings(super_users: tuple[str, ...]) -> dict[str, str]:
    """Return the settings that refuse everything no rule allows.

    Args:
        super_users: Principals without limits, such as ``User:admin``.
    """
    return {
        "authorizer.class.name": AUTHORIZER,
        "allow.everyone.if.no.acl.found": "false",
        "super.users": ";".join(super_users),
    }


def topic_settings(spec: TopicSpec) -> dict[str, str]:
    """Return a topic's settings: its sizes, how long messages stay, how durable an append is.

    Time is the broker's, so that no writer's clock keeps a message longer or drops it sooner. A
    full durability flushes the file before an append is acknowledged: Kafka by itself trusts in
    copies on other brokers, and a single broker has none.
    """
    settings = {
        "max.message.bytes": str(MAX_RECORD_BYTES),
        "message.timestamp.type": "LogAppendTime",
        "compression.type": "producer",
        **_KEPT[spec.kept],
    }
    if spec.durability is Durability.FULL:
        settings["flush.messages"] = "1"
    return settings


_FOR_EVER = {"retention.ms": "-1", "retention.bytes": "-1"}

_KEPT: dict[Kept, dict[str, str]] = {
    Kept.FOREVER: {"cleanup.policy": "delete", **_FOR_EVER},
    Kept.COMPACTED: {"cleanup.policy": "compact"},
    Kept.AUDIT_WINDOW: {
        "cleanup.policy": "delete",
        "retention.ms": str(AUDIT_WINDOW_MILLISECONDS),
        "retention.bytes": "-1",
    },
    # Only a closed file of the log can go, so files are closed often.
    Kept.SHORT: {
        "cleanup.policy": "delete",
        "retention.ms": str(SHORT_MILLISECONDS),
        "retention.bytes": "-1",
        "segment.ms": str(SHORT_MILLISECONDS // 24),
    },
}
