"""Access rules: exactly the topics table, for every role, and never across tenants."""

import pytest

from pipeline.kafka_acl import (
    OPERATOR_RIGHTS,
    AccessRule,
    Member,
    Operation,
    Pattern,
    access_rules,
    concerns,
    user_name,
)
from schemas.configuration import Party
from schemas.topics import TOPICS, Role, topic_name


def covers(rule: AccessRule, topic: str) -> bool:
    """Return whether a broker applies a rule to a topic."""
    return topic.startswith(rule.topic) if rule.pattern is Pattern.PREFIXED else topic == rule.topic


def is_allowed(rules: list[AccessRule], user: str, operation: Operation, topic: str) -> bool:
    return any(rule.user == user and rule.operation is operation and covers(rule, topic) for rule in rules)


MEMBERS = [Member(role.value, role) for role in Role]


@pytest.mark.parametrize("role", Role)
def test_the_rules_are_the_topics_table_both_ways(role: Role) -> None:
    rules = access_rules("demo", MEMBERS)
    user = user_name("demo", role.value)
    for topic in TOPICS.values():
        name = topic_name("demo", topic.name)
        assert is_allowed(rules, user, Operation.READ, name) == (role in topic.readers)
        assert is_allowed(rules, user, Operation.WRITE, name) == (role in topic.writers)


@pytest.mark.parametrize("role", Role)
def test_only_the_operator_makes_changes_and_drops_topics(role: Role) -> None:
    rules = access_rules("demo", MEMBERS)
    for right in OPERATOR_RIGHTS:
        for topic in (topic_name("demo", name) for name in TOPICS):
            allowed = is_allowed(rules, user_name("demo", role.value), right, topic)
            assert allowed == (role is Role.OPERATOR)


def test_what_the_security_rules_name_is_refused() -> None:
    rules = access_rules("demo", MEMBERS)
    assert not is_allowed(rules, "demo.su", Operation.READ, "demo.chunks")
    assert not is_allowed(rules, "demo.mu", Operation.WRITE, "demo.rounds.replies")
    assert not is_allowed(rules, "demo.owner", Operation.READ, "demo.journal")


def test_no_rule_reaches_another_tenant() -> None:
    own = access_rules("demo", MEMBERS)
    other = access_rules("demo-2", MEMBERS)
    assert not {rule.user for rule in own} & {rule.user for rule in other}
    for rule in own:
        assert not any(covers(rule, topic_name("demo-2", name)) for name in TOPICS)


def test_parties_of_one_role_have_users_and_rules_of_their_own() -> None:
    rules = access_rules("demo", [Member("a", Role.OWNER), Member("b", Role.OWNER)])
    mine, other = ({rule.topic for rule in rules if rule.user == f"demo.{name}"} for name in "ab")
    assert mine == other == {"demo.config", "demo.chunks", "demo.receipts", "demo.heads"}
    assert len(rules) == 8


@pytest.mark.parametrize(
    ("pattern", "topic", "concerned"),
    [
        (Pattern.LITERAL, "demo.chunks", True),
        (Pattern.LITERAL, "demo.later", True),
        (Pattern.LITERAL, "*", True),
        (Pattern.LITERAL, "demo", False),
        (Pattern.LITERAL, "demo-2.chunks", False),
        (Pattern.PREFIXED, "demo.", True),
        (Pattern.PREFIXED, "demo.rounds", True),
        (Pattern.PREFIXED, "dem", True),
        (Pattern.PREFIXED, "demo-2.", False),
        (Pattern.PREFIXED, "*", False),
    ],
)
def test_a_rule_concerns_a_tenant_if_it_opens_any_of_its_topics(
    pattern: Pattern, topic: str, concerned: bool
) -> None:
    assert concerns(AccessRule("somebody", Operation.READ, pattern, topic), "demo") is concerned


def test_operations_have_the_names_of_kafkas_tools() -> None:
    assert Operation.READ.label == "Read"
    assert Operation.DESCRIBE_CONFIGS.label == "DescribeConfigs"


def test_owners_with_keys_of_their_own_read_chunks_and_no_other_owner_does() -> None:
    plain, keyed = (Party(name, "owner", bytes(32), key, key) for name, key in (("a", b""), ("b", b"h")))
    rules = access_rules("demo", [Member.of(plain), Member.of(keyed)])
    readers = {
        rule.user for rule in rules if rule.topic == "demo.chunks" and rule.operation is Operation.READ
    }
    assert readers == {"demo.b"}
    client = Member.of(Party("c", "client", bytes(32), b"h", b"proof"))
    assert not client.reads_chunks
    assert "demo.rekeyed" not in {rule.topic for rule in rules}
