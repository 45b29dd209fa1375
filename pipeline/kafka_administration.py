"""An operator's work on a Kafka cluster: users, access rules, topics' settings and sizes.

Needs a login that may alter the cluster, a super user for instance. No role uses it.
"""

# mypy: disallow-subclassing-any=False
# aiokafka ships no types.

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreateAclsRequest,
    DeleteAclsRequest,
    DescribeAclsRequest,
    DescribeConfigsRequest,
)

from pipeline.errors import BrokerRefusedError
from pipeline.kafka_acl import AccessRule, Member, Operation, Pattern, access_rules, concerns, topic_prefix
from pipeline.kafka_address import KafkaAddress
from pipeline.kafka_connection import KafkaConnection, stop
from pipeline.kafka_passwords import ITERATIONS
from pipeline.kafka_requests import (
    AlterCredentials,
    Credential,
    DescribeCredentials,
    DescribeLogDirs,
    Mechanism,
)

# Kafka's numbers: what a rule is about, any value in a filter, and that it allows.
_TOPIC, _ANY, _ALLOW = 2, 1, 3
_PRINCIPAL = "User:"
_UNKNOWN_TOPIC = 3

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class AccessDifferences:
    """How a cluster's rules differ from the topics table.

    Attributes:
        missing: In the table, not on the cluster.
        surplus: On the cluster and about the tenant's topics, not in the table.
    """

    missing: tuple[AccessRule, ...]
    surplus: tuple[AccessRule, ...]


class _Client(AIOKafkaClient):
    """aiokafka's plainest client, started and stopped as the others are."""

    async def start(self) -> None:
        await self.bootstrap()

    async def stop(self) -> None:
        await self.close()


class KafkaAdministration:
    """An operator's connection to a cluster. An asynchronous context manager; leaving it closes it.

    Every call raises BrokerUnreachableError if no broker answers, and BrokerRefusedError if the login
    fails or may not do that.
    """

    def __init__(self, address: KafkaAddress) -> None:
        """Use a cluster; nothing is connected before the first call."""
        self._connection = KafkaConnection(address)
        self._client: Any = None

    async def rules(self) -> list[AccessRule]:
        """Return what the cluster's rules allow on topics. Rules that deny are left out."""
        request = DescribeAclsRequest(_TOPIC, None, _ANY, None, None, _ANY, _ALLOW)
        answer = await self._ask(request, lambda answer: [answer.error_code])
        return sorted(
            AccessRule(principal.removeprefix(_PRINCIPAL), Operation(operation), Pattern(pattern), name, host)
            for _, name, pattern, rules in answer.resources
            for principal, host, operation, _ in rules
            if principal.startswith(_PRINCIPAL)
        )

    async def differences(self, tenant: str, members: Iterable[Member]) -> AccessDifferences:
        """Compare the cluster's rules with those of the topics table."""
        wanted = access_rules(tenant, members)
        found = await self.rules()
        known = set(wanted)
        return AccessDifferences(
            tuple(rule for rule in wanted if rule not in set(found)),
            tuple(rule for rule in found if concerns(rule, tenant) and rule not in known),
        )

    async def allow(self, rules: Iterable[AccessRule]) -> None:
        """Add rules; one that is there already stays."""
        for rule in rules:
            await self._ask(
                CreateAclsRequest(*_fields(rule)), lambda answer: _firsts(answer.creation_responses)
            )

    async def withdraw(self, rules: Iterable[AccessRule]) -> None:
        """Remove rules; one that is not there is none."""
        for rule in rules:
            await self._ask(
                DeleteAclsRequest(*_fields(rule)), lambda answer: _firsts(answer.filter_responses)
            )

    async def set_passwords(self, passwords: Mapping[str, str]) -> None:
        """Make users, or give them another password. The passwords themselves do not leave this process."""
        if not passwords:
            return
        request = AlterCredentials([_credential(*item) for item in passwords.items()])
        await self._ask(request, lambda answer: [code for _, code, *_ in answer.results])

    async def users(self) -> set[str]:
        """Return who has a password on the cluster."""
        answer = await self._ask(DescribeCredentials(), lambda answer: [answer.error_code])
        return {user for user, *_ in answer.results}

    async def topic_settings(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return every setting in force of each topic; one that is not there is left out."""
        resources = [(_TOPIC, topic, None) for topic in topics]
        answer = await self._ask(
            DescribeConfigsRequest(resources, include_synonyms=False),
            lambda answer: (code for code in _firsts(answer.resources) if code != _UNKNOWN_TOPIC),
        )
        return {
            topic: {name: value for name, value, *_ in entries}
            for code, _, _, topic, entries in answer.resources
            if code == 0
        }

    async def set_topic_settings(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Give topics these settings; every other setting of theirs goes back to the broker's default."""
        resources = [(_TOPIC, topic, list(values.items())) for topic, values in settings.items()]
        request = AlterConfigsRequest(resources, validate_only=False)
        await self._ask(request, lambda answer: _firsts(answer.resources))

    async def sizes(self, partitions: Mapping[str, int]) -> dict[str, int]:
        """Return how many bytes one copy of each topic takes on disk.

        Args:
            partitions: How many partitions each topic has.

        Raises:
            BrokerRefusedError: This login may not ask.
        """
        largest: dict[tuple[str, int], int] = {}
        await self._started()
        for broker in self._client.cluster.brokers():
            answer = await self._ask(
                DescribeLogDirs(partitions), lambda answer: _firsts(answer.results), broker.nodeId
            )
            if not answer.results:
                # Kafka refuses this question by saying nothing.
                raise BrokerRefusedError("the Kafka broker does not tell this user the sizes of topics")
            for _, _, topics in answer.results:
                for topic, found in topics:
                    for partition, size, *_ in found:
                        largest[topic, partition] = max(size, largest.get((topic, partition), 0))
        sizes = dict.fromkeys(partitions, 0)
        for (topic, _), size in largest.items():
            sizes[topic] += size
        return sizes

    async def close(self) -> None:
        """Close the connection; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await stop(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _started(self) -> Any:
        if self._client is None:
            self._client = await self._connection.start(lambda: _Client(**self._connection.options()))
        return self._client

    async def _ask(self, request: Any, codes: Callable[[Any], Iterable[int]], node: int | None = None) -> Any:
        """Send a request to a broker, without `node` to any; `codes` finds the error codes in an answer."""
        client = await self._started()

        async def ask() -> Any:
            answer = await client.send(client.get_random_node() if node is None else node, request)
            for code in codes(answer):
                if code:
                    raise for_code(code)
            return answer

        return await self._connection.retrying(ask)


def removable(rules: Iterable[AccessRule], tenant: str) -> list[AccessRule]:
    """Return the rules that are about this tenant's topics alone, so that its operator may remove them."""
    return [rule for rule in rules if rule.topic.startswith(topic_prefix(tenant))]


def _fields(rule: AccessRule) -> Sequence[Any]:
    return _TOPIC, rule.topic, rule.pattern, rule.principal, rule.host, rule.operation, _ALLOW


def _credential(user: str, password: str) -> Credential:
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return Credential(user, Mechanism.SCRAM_SHA_512, ITERATIONS, salt, salted)


def _firsts(rows: Iterable[Sequence[Any]]) -> list[int]:
    """Return the error codes of rows that begin with them."""
    return [row[0] for row in rows]
