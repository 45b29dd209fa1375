import pytest

from schemas.topics import (
    TOPICS,
    Durability,
    Role,
    TopicName,
    allowed_reader,
    allowed_writer,
    topic_name,
    topic_specs,
)

WRITERS = {
    "config": "authority",
    "chunks": "owner",
    "rekeyed": "mu",
    "receipts": "mu",
    "journal": "mu",
    "heads": "mu su",
    "rounds.requests": "mu",
    "rounds.replies": "su",
    "queries": "client",
    "answers": "mu",
    "snapshots": "mu",
    "deadletter": "mu su",
}


def test_only_these_roles_write() -> None:
    for topic, writers in WRITERS.items():
        assert {role for role in Role if allowed_writer(role, topic)} == set(writers.split())
    assert set(WRITERS) == set(TOPICS)


def test_su_never_sees_chunks_and_owners_see_no_others() -> None:
    assert not allowed_reader(Role.SU, "chunks")
    assert not allowed_reader(Role.OWNER, "chunks")
    assert not allowed_reader(Role.CLIENT, "queries")
    assert not allowed_reader(Role.SU, "snapshots")
    assert all(allowed_reader(role, "config") and allowed_reader(role, "heads") for role in Role)


def test_names_not_in_the_table_are_nobodys() -> None:
    assert not any(allowed_writer(role, "demo.chunks") or allowed_reader(role, "") for role in Role)


def test_rounds_have_sixteen_partitions_and_the_journal_one() -> None:
    assert TOPICS[TopicName.ROUND_REQUESTS].partitions == TOPICS[TopicName.ROUND_REPLIES].partitions == 16
    assert TOPICS[TopicName.JOURNAL].partitions == 1


def test_what_is_not_repeated_survives_a_power_failure() -> None:
    normal = {name for name, topic in TOPICS.items() if topic.durability is Durability.NORMAL}
    assert normal == {"rounds.requests", "rounds.replies", "queries", "answers", "deadletter"}


def test_full_names_tell_tenants_apart() -> None:
    assert topic_name("demo", TopicName.ROUND_REQUESTS) == "demo.rounds.requests"
    assert {spec.topic for spec in topic_specs("demo")} == {f"demo.{name}" for name in TOPICS}
    for tenant in ("", "a.b", "a_b", "A", "a/b", "a\n", "x" * 33):
        with pytest.raises(ValueError, match="tenant"):
            topic_name(tenant, TopicName.CHUNKS)
