"""One user's plainest client: it sends each kind of request and returns the broker's error code."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from pipeline.kafka_address import parse_kafka_url

DONE, REFUSED, EXISTS, COMPACTED = 0, 29, 36, 44


class BareClient:
    """Requests about partition 0 of a topic. Only `write` and `delete_topic` change anything."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def topics(self) -> set[str]:
        """Return the topics that this user may know of."""
        return set((await self._client.fetch_all_metadata()).topics())

    async def read(self, topic: str) -> int:
        answer = await self._ask(FetchRequest(0, 0, 1 << 20, 0, [(topic, [(0, 0, 1 << 20)])]))
        (((_, (partition,)),)) = answer.topics
        return int(partition[1])

    async def write(self, topic: str) -> int:
        # Without a producer's number, which only one who may write something can have.
        batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1000)
        batch.append(0, int(time.time() * 1000), b"key", b"value", [])
        answer = await self._ask(ProduceRequest(None, -1, 5000, [(topic, [(0, bytes(batch.build()))])]))
        (((_, (partition,)),)) = answer.topics
        return int(partition[1])

    async def create(self, topic: str) -> int:
        """Ask to make a topic that is there: whoever may make it is told so."""
        answer = await self._ask(CreateTopicsRequest([(topic, 1, 1, [], [])], 5000, validate_only=True))
        return int(answer.topic_errors[0][1])

    async def delete_topic(self, topic: str) -> int:
        answer = await self._ask(DeleteTopicsRequest([topic], 5000))
        return int(answer.topic_error_codes[0][1])

    async def delete_messages(self, topic: str) -> int:
        """Ask to drop all messages before the first one."""
        request = DeleteRecordsRequest([(topic, [(0, 0)])], 5000, {})
        ((_, (partition, *_), *_),) = (await self._ask(request)).topics
        return int(partition[2])

    async def alter(self, topic: str) -> int:
        """Ask for more partitions, on trial."""
        answer = await self._ask(CreatePartitionsRequest([(topic, (20, None))], 5000, validate_only=True))
        return int(answer.topic_errors[0][1])

    async def alter_settings(self, topic: str) -> int:
        """Ask for another setting, on trial."""
        answer = await self._ask(
            AlterConfigsRequest([(2, topic, [("retention.ms", "1")])], validate_only=True)
        )
        return int(answer.resources[0][0])

    async def _ask(self, request: Any) -> Any:
        return await self._client.send(self._client.get_random_node(), request)


@asynccontextmanager
async def bare_client(url: str) -> AsyncIterator[BareClient]:
    """Log in as a URL says."""
    client = AIOKafkaClient(**parse_kafka_url(url).client_options())
    await client.bootstrap()
    try:
        yield BareClient(client)
    finally:
        await client.close()
