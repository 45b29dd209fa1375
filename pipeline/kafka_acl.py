"""Who may do what on a Kafka cluster: access rules made from the topics table.

A broker with these rules, and with the settings of `kafka_settings.access_settings`, refuses everything
else. Every party logs in as a user of its own, so that a stolen password opens one party's topics.
Three things need no rule of their own on Kafka 4: seeing that a topic is there follows from reading or
writing it, an idempotent producer needs a topic it may write, and readers belong to no consumer group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from schemas.configuration import Party
from schemas.topics import TOPICS, Role, TopicName, topic_name


class Operation(IntEnum):
    """What a rule allows; the value is Kafka's number for it."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11

    @property
    def label(self) -> str:
        """Return Kafka's name for it, as its tools print and take it."""
        return self.name.title().replace("_", "")


class Pattern(IntEnum):
    """How a rule names its topics; the value is Kafka's number for it."""

    LITERAL = 3
    PREFIXED = 4


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """One user may do one thing to one topic, or to all topics whose names begin so.

    Attributes:
        user: Login name.
        operation: What is allowed.
        pattern: Whether `topic` is a whole name or its beginning.
        topic: Full name, or its beginning.
        host: From which address; PrivML's own rules do not depend on it.
    """

    user: str
    operation: Operation
    pattern: Pattern
    topic: str
    host: str = "*"

    @property
    def principal(self) -> str:
        """The user as Kafka's rules name it."""
        return f"User:{self.user}"


@dataclass(frozen=True, slots=True)
class Member:
    """A party by name and role: of the signed configuration, or an auditor or operator beside it.

    Attributes:
        name: As in the configuration.
        role: As in the configuration.
        reads_chunks: An owner with a key of its own, which reads its history back.
    """

    name: str
    role: Role
    reads_chunks: bool = False

    @classmethod
    def of(cls, party: Party) -> "Member":
        """Return a party of the signed configuration."""
        return cls(party.name, Role(party.role), party.role == Role.OWNER and bool(party.public_key))


# The operator makes, changes and drops the tenant's topics. No other role needs any of this.
OPERATOR_RIGHTS = (
    Operation.CREATE,
    Operation.DELETE,
    Operation.ALTER,
    Operation.DESCRIBE,
    Operation.DESCRIBE_CONFIGS,
    Operation.ALTER_CONFIGS,
)


def user_name(tenant: str, party: str) -> str:
    """Return a party's login name, ``TENANT.PARTY``; no two tenants can claim the same one."""
    return f"{tenant}.{party}"


def topic_prefix(tenant: str) -> str:
    """Return what the names of a tenant's topics begin with, and no other tenant's."""
    return f"{tenant}."


def access_rules(tenant: str, members: Iterable[Member]) -> list[AccessRule]:
    """Return everything that is allowed, user after user, in the order of the topics table.

    Security:
        What is not in this list must be refused: a broker with it as its whole list of rules gives SU no
        chunk to read and MU no reply to write.
    """
    rules: list[AccessRule] = []
    for member in members:
        user = user_name(tenant, member.name)
        for topic in TOPICS.values():
            name = topic_name(tenant, topic.name)
            if member.role in topic.writers:
                rules.append(AccessRule(user, Operation.WRITE, Pattern.LITERAL, name))
            own_history = member.reads_chunks and topic.name is TopicName.CHUNKS
            if member.role in topic.readers or own_history:
                rules.append(AccessRule(user, Operation.READ, Pattern.LITERAL, name))
        if member.role is Role.OPERATOR:
            prefix = topic_prefix(tenant)
            rules += [AccessRule(user, right, Pattern.PREFIXED, prefix) for right in OPERATOR_RIGHTS]
    return rules


def concerns(rule: AccessRule, tenant: str) -> bool:
    """Return whether a rule found on a cluster opens any topic of the tenant, known today or not."""
    prefix = topic_prefix(tenant)
    if rule.pattern is Pattern.PREFIXED:
        return rule.topic.startswith(prefix) or prefix.startswith(rule.topic)
    return rule.topic.startswith(prefix) or rule.topic == "*"
