"""Topics on a Kafka cluster; see `Transport`.

Kafka's consumer groups, committed offsets and transactions are not used: what is read from where is
the roles' own state. A read that may wait is served from the followed end of its partition, any other
one by looking it up. Up to four connections per broker, each made when it is first needed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from pipeline.errors import (
    BrokerRefusedError,
    BrokerUnreachableError,
    TopicMismatchError,
    TransportClosedError,
    UnknownTopicError,
)
from pipeline.kafka_address import KafkaAddress
from pipeline.kafka_connection import RETRY_SECONDS, KafkaConnection, Place
from pipeline.kafka_follower import KafkaFollower
from pipeline.kafka_lookup import KafkaLookup
from pipeline.kafka_outbox import KafkaOutbox
from pipeline.kafka_settings import topic_settings
from pipeline.transport import (
    DEFAULT_MAX_BYTES,
    DEFAULT_MAX_MESSAGES,
    Message,
    Position,
    TopicInfo,
    check_append_size,
)
from schemas.topics import TopicSpec

# Kafka's numbers for what may be wrong with a topic to be made.
_NO_ERROR, _INVALID_NAME, _NOT_ALLOWED, _EXISTS = 0, 17, (29, 31), 36


class KafkaTransport:
    """One process's handle on a Kafka cluster. Used from one event loop.

    A retried append may stand twice on its topic, see `kafka_outbox`.
    """

    def __init__(self, address: KafkaAddress) -> None:
        """Use a cluster; nothing is connected before the first call."""
        self._connection = KafkaConnection(address)
        self._outbox = KafkaOutbox(self._connection)
        self._follower = KafkaFollower(self._connection)
        self._lookup = KafkaLookup(self._connection)
        self._closed = False

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `Transport.create_topics`. Settings of a topic that exists are left as they are."""
        self._check_open()
        copies = self._connection.address.replication
        wanted = [
            NewTopic(
                spec.topic,
                spec.partitions,
                -1 if copies is None else copies,
                # aiokafka takes -1, the broker's default, only beside this.
                {} if copies is None else None,
                topic_settings(spec),
            )
            for spec in specs
        ]
        admin = await self._connection.admin()
        answer = await self._connection.retrying(lambda: admin.create_topics(wanted))
        for topic, code, *text in answer.topic_errors:
            if code in _NOT_ALLOWED:
                raise BrokerRefusedError(
                    "this user may not make topics", hint="topics are made by the operator"
                )
            if code == _INVALID_NAME:
                raise UnknownTopicError(topic)
            if code not in (_NO_ERROR, _EXISTS):
                raise BrokerRefusedError(f"{topic} cannot be made: {text[0] if text else code}")
        await self._await_topics(specs)

    async def topics(self) -> list[TopicInfo]:
        """See `Transport.topics`. Kafka tells the sizes to nobody but administrators."""
        self._check_open()
        partitions = await self._connection.all_partitions()
        places = [(topic, p) for topic, count in partitions.items() for p in range(count)]
        bounds = await self._lookup.all_bounds(places)
        infos: list[TopicInfo] = []
        for topic in sorted(partitions):
            of_topic = [bounds[topic, p] for p in range(partitions[topic])]
            infos.append(
                TopicInfo(
                    topic,
                    partitions[topic],
                    sum(next_ - oldest for oldest, next_ in of_topic),
                    None,
                    tuple(oldest for oldest, _ in of_topic),
                    tuple(next_ for _, next_ in of_topic),
                )
            )
        return infos

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
    ) -> Position:
        """See `Transport.append`; returns when the broker has acknowledged.

        Raises:
            BrokerUnreachableError: No acknowledgement in time; it may have happened all the same.
            BrokerRefusedError: The broker does not take it.
        """
        self._check_open()
        headers = headers or {}
        check_append_size(key, value, headers)
        return await self._outbox.put(topic, partition, key, value, headers)

    async def read(
        self,
        topic: str,
        partition: int,
        offset: int,
        max_messages: int = DEFAULT_MAX_MESSAGES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        wait_seconds: float = 0.0,
    ) -> list[Message]:
        """See `Transport.read`. During an outage that patience covers, a waiting read returns nothing."""
        place = await self._place(topic, partition)
        clock = asyncio.get_running_loop().time
        end = clock() + wait_seconds
        while True:
            found = self._follower.take(place, offset, max_messages, max_bytes)
            if found:
                return found
            if wait_seconds <= 0 or not self._follower.follows(place, offset):
                found = await self._lookup.read(place, offset, max_messages, max_bytes)
                self._check_open()
                if found or clock() >= end:
                    return found
                self._follower.follow(place, offset)
            if clock() >= end:
                return []
            await self._follower.wait(place, end - clock())
            self._check_open()

    async def beginning_offset(self, topic: str, partition: int) -> int:
        """See `Transport.beginning_offset`."""
        return await self._lookup.beginning(await self._place(topic, partition))

    async def end_offset(self, topic: str, partition: int) -> int:
        """See `Transport.end_offset`."""
        return await self._lookup.end(await self._place(topic, partition))

    async def trim(self, topic: str, partition: int, before: int) -> None:
        """See `Transport.trim`."""
        place = await self._place(topic, partition)
        oldest, next_ = await self._lookup.bounds(place)
        before = min(before, next_)
        if before <= oldest:
            return
        admin = await self._connection.admin()
        records = {TopicPartition(*place): RecordsToDelete(before)}
        await self._connection.retrying(lambda: admin.delete_records(records))
        self._lookup.forget()
        self._follower.drop(place)

    async def close(self) -> None:
        """See `Transport.close`. Appends that the broker does not acknowledge in 10 s fail."""
        if self._closed:
            return
        self._closed = True
        # Those who write may finish; then nothing is tried any more.
        await self._follower.close()
        await self._outbox.close()
        await self._connection.end_calls()
        await self._lookup.close()
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosedError("the Kafka transport is closed")

    async def _place(self, topic: str, partition: int) -> Place:
        self._check_open()
        await self._connection.check(topic, partition)
        return topic, partition

    async def _await_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Wait until every topic can be used; compare the numbers of partitions."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._connection.patience
        while True:
            partitions = await self._connection.all_partitions()
            for spec in specs:
                found = partitions.get(spec.topic, spec.partitions)
                if found != spec.partitions:
                    raise TopicMismatchError(f"{spec.topic} exists with {found} partitions")
            if all(spec.topic in partitions for spec in specs):
                return
            if clock() > deadline:
                raise BrokerUnreachableError(
                    "new topics did not become ready", hint="look at the broker's log"
                )
            await asyncio.sleep(RETRY_SECONDS / 4)
