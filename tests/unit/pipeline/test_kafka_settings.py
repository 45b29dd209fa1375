"""The table of settings: sizes that fit into each other, and every kind of topic kept as it must be."""

import pytest

from pipeline.kafka_outbox import BATCH_BYTES, IN_FLIGHT_BYTES
from pipeline.kafka_settings import (
    FETCH_BYTES,
    FETCH_PARTITION_BYTES,
    MAX_RECORD_BYTES,
    SHORT_MILLISECONDS,
    access_settings,
    broker_settings,
    topic_settings,
)
from pipeline.transport import MAX_APPEND_BYTES
from schemas.topics import Durability, Kept, TopicSpec, topic_specs

SOCKET_REQUEST_MAX_BYTES = 100 * 1024 * 1024


def spec(kept: Kept, durability: Durability = Durability.NORMAL) -> TopicSpec:
    return TopicSpec("t.x", 1, kept, durability)


def test_the_sizes_fit_into_each_other() -> None:
    assert MAX_APPEND_BYTES < MAX_RECORD_BYTES < FETCH_PARTITION_BYTES < FETCH_BYTES
    assert BATCH_BYTES < MAX_RECORD_BYTES
    assert IN_FLIGHT_BYTES + MAX_RECORD_BYTES < SOCKET_REQUEST_MAX_BYTES
    assert broker_settings()["message.max.bytes"] == str(MAX_RECORD_BYTES)
    assert int(broker_settings()["replica.fetch.max.bytes"]) >= 2 * MAX_RECORD_BYTES


def test_a_cluster_needs_two_of_three_copies() -> None:
    one, three = broker_settings(), broker_settings(copies=3)
    assert one.keys() == three.keys()
    assert (one["default.replication.factor"], one["min.insync.replicas"]) == ("1", "1")
    assert (three["default.replication.factor"], three["min.insync.replicas"]) == ("3", "2")
    assert {three[name] for name in three if name.endswith("replication.factor")} == {"3"}
    assert {three[name] for name in three if "min.isr" in name} == {"2"}


def test_nothing_is_made_or_allowed_by_default() -> None:
    assert broker_settings()["auto.create.topics.enable"] == "false"
    settings = access_settings(("User:admin", "User:root"))
    assert settings["allow.everyone.if.no.acl.found"] == "false"
    assert settings["super.users"] == "User:admin;User:root"


@pytest.mark.parametrize("kept", Kept)
def test_how_long_messages_stay(kept: Kept) -> None:
    settings = topic_settings(spec(kept))
    assert settings["cleanup.policy"] == ("compact" if kept is Kept.COMPACTED else "delete")
    forever = kept in {Kept.FOREVER, Kept.COMPACTED}
    assert settings.get("retention.ms", "-1") == "-1" or not forever
    if kept is Kept.SHORT:
        # Half-opened values go soon: at most a day later than said, as only closed files can go.
        assert int(settings["retention.ms"]) == SHORT_MILLISECONDS
        assert int(settings["segment.ms"]) <= SHORT_MILLISECONDS // 24


def test_only_time_of_the_broker_counts_and_only_full_durability_is_flushed() -> None:
    for topic in topic_specs("tenant"):
        settings = topic_settings(topic)
        assert settings["message.timestamp.type"] == "LogAppendTime"
        assert settings["max.message.bytes"] == str(MAX_RECORD_BYTES)
        assert (settings.get("flush.messages") == "1") == (topic.durability is Durability.FULL)
