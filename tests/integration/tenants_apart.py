"""Several tenants on one transport: each works, and what belongs to one is nothing to the others.

Here the parties of all tenants have the same keys, so that nothing but the tenant's name tells their
messages apart.
"""

import asyncio
from pathlib import Path

from integration.remote_house import RemoteHouse
from integration.services import PATIENCE, wire_body

from pipeline.mailbox import Inbox
from roles.arrival import Refused
from schemas.codec import decode
from schemas.journal import DeadLetter
from schemas.reasons import ReasonCode
from schemas.topics import TOPICS, TopicName, topic_name

NAMES = ("first", "second", "third")
JUDGED = (TopicName.CHUNKS, TopicName.QUERIES, TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES)
"""Topics of which MU and SU report what they refuse."""
NOT_WRITTEN = {TopicName.CONFIG, TopicName.SNAPSHOTS, TopicName.DEAD_LETTERS, TopicName.REKEYED}
"""Topics that may be empty here."""


async def use(house: RemoteHouse) -> None:
    """Train and ask, with an answer as the twin has it."""
    batch, rows = house.records(24, house.tenant.name), house.records(4, "asked")
    async with house.units_running():
        await house.publish("a", batch)
        assert await house.ask(rows) == house.twin([batch]).predict(rows.indices).tolist()


async def transplant(source: RemoteHouse, target: RemoteHouse) -> dict[TopicName, int]:
    """Copy every message of one tenant to the same place of another; return how many by topic."""
    transport = target.transport()
    copied = {}
    for topic in TopicName:
        messages = await source.lying(topic)
        for message in messages:
            name = topic_name(target.tenant.name, topic)
            await transport.append(name, message.key, message.value, message.headers, message.partition)
        copied[topic] = len(messages)
    return copied


async def refused(house: RemoteHouse, topic: TopicName) -> list[ReasonCode]:
    """Read a topic as whoever reads it does; return why messages are refused."""
    reasons: list[ReasonCode] = []
    transport = house.transport()
    for partition in range(TOPICS[topic].partitions):
        end = await transport.end_offset(topic_name(house.tenant.name, topic), partition)
        inbox = Inbox(transport, house.tenant, topic, partition=partition)
        while inbox.next_offset < end:
            items = await inbox.receive(1.0)
            reasons += [ReasonCode(item.reason) for item in items if isinstance(item, Refused)]
    return reasons


async def check_tenants_apart(folder: Path, url: str) -> None:
    """Run tenants side by side, then move all that one has to another."""
    houses = [RemoteHouse(folder / name, url, name=name) for name in NAMES]
    for house in houses:
        await house.__aenter__()
    try:
        await asyncio.gather(*map(use, houses))
        first, second, third = houses
        before = await second.state()
        for house in houses:
            for topic in TopicName:
                assert not await refused(house, topic), (house.tenant.name, topic)
        copied = await transplant(first, second)
        written = {topic for topic, messages in copied.items() if messages}
        assert written >= set(TopicName) - NOT_WRITTEN
        for topic, messages in copied.items():
            assert await refused(second, topic) == [ReasonCode.WRONG_TENANT] * messages, topic
        assert (await second.state()).head == before.head
        await check_goes_on(second, copied)
        assert (await third.state()).next_sequence == before.next_sequence
    finally:
        for house in houses:
            await house.__aexit__(None, None, None)


async def check_goes_on(house: RemoteHouse, copied: dict[TopicName, int]) -> None:
    """Run a tenant on all that was moved to it: refused, reported, and without any other effect."""
    batches = [house.records(24, house.tenant.name), house.records(20, "later")]
    rows = house.records(5, "asked later")
    async with house.units_running():
        await house.publish("b", batches[1])
        assert await house.ask(rows) == house.twin(batches).predict(rows.indices).tolist()
        # MU begins to read replies where they end.
        expected = sum(copied[topic] for topic in JUDGED if topic != TopicName.ROUND_REPLIES)
        transport, name = house.transport(), topic_name(house.tenant.name, TopicName.DEAD_LETTERS)
        async with asyncio.timeout(PATIENCE):
            while await transport.end_offset(name, 0) < expected:
                await transport.read(name, 0, await transport.end_offset(name, 0), wait_seconds=1.0)
        messages = await house.lying(TopicName.DEAD_LETTERS)
    letters = [decode(DeadLetter, wire_body(message.value)) for message in messages]
    assert {letter.reason for letter in letters} == {"wrong_tenant"}
    assert len(letters) == expected
