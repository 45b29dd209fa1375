"""A log of twelve entries with two snapshots of MU, whose beginning can be dropped."""

from dataclasses import replace
from typing import Any

from tenants import NAMES, SmallTenant
from written_log import WrittenLog

from pipeline.audit import audit
from pipeline.audit_report import AuditReport
from pipeline.mailbox import Publisher
from pipeline.snapshots import Captured, capture, write_snapshot
from schemas.configuration import Limits
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

LIMITS = Limits(1000, 1 << 20, 100, 30, 1, 0)
ALL = (TopicName.JOURNAL, TopicName.CHUNKS, TopicName.QUERIES, TopicName.RECEIPTS)


class CutLog:
    """A log with two snapshots, that forgets its beginning."""

    def __init__(self, small: SmallTenant) -> None:
        self.log = WrittenLog(small)
        self.taken: list[Captured] = []

    def end(self, topic: TopicName) -> int:
        """Return where a topic ends."""
        (partition,) = self.log.broker.partitions(topic_name("small", topic))
        return partition.next

    def publisher(self) -> Publisher:
        """Return MU's."""
        return Publisher(self.log.transport, "small", NAMES["mu"], 1, self.log.small.signing["mu"])

    async def take_snapshot(self, **changes: Any) -> None:
        """Write a snapshot of the state so far, with other fields if asked for."""
        taken = replace(capture(self.log.unit, self.end(TopicName.JOURNAL)), **changes)
        self.taken.append(taken)
        await write_snapshot(self.publisher(), taken)

    async def write(self) -> None:
        """Write twelve entries, with snapshots after entries 3 and 8."""
        log = self.log
        await log.learn(0)  # 0
        await log.learn(1, part_bytes=300)  # 1
        asked = await log.ask("first")  # 2
        await log.put_head(log.head())
        await log.decide(await log.put_chunk(0))  # 3: duplicate
        await self.take_snapshot()
        await log.answer(asked)  # 4
        await log.decide(await log.put_chunk(0, records=19))  # 5: equivocation
        await log.learn(4, part_bytes=300)  # 6
        await log.refuse(await log.put_garbage(TopicName.CHUNKS, b"nothing"), ReasonCode.MALFORMED)  # 7
        await log.ask("second")  # 8
        await log.put_head(log.head())
        await self.take_snapshot()
        await log.learn(7)  # 9
        await log.learn(8)  # 10
        await log.ask("third")  # 11

    async def forget(self, snapshot: int, *topics: TopicName) -> None:
        """Drop what lies before a snapshot on these topics."""
        taken = self.taken[snapshot]
        goes_on = {topic: offset for topic, _, offset in taken.next_offsets}
        before = {TopicName.JOURNAL: taken.journal_offset, TopicName.RECEIPTS: snapshot * 3 + 3, **goes_on}
        for topic in topics:
            await self.log.transport.trim(topic_name("small", topic), 0, before[topic])

    async def audit(self) -> AuditReport:
        """Audit what is left."""
        return await audit(self.log.transport, self.log.small.tenant, grace_seconds=0.0)


async def written(small: SmallTenant) -> CutLog:
    """Return the log, whole."""
    cut = CutLog(small)
    await cut.write()
    return cut
