"""Whether a unit is ready: it has started, its topics can be reached, and it has caught up."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from pipeline.errors import TransportError
from pipeline.mailbox import Inbox
from pipeline.meter import Meter
from pipeline.transport import Transport
from pipeline.unit_metrics import exposition
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from schemas.topics import TopicName, topic_name

REACH_SECONDS = 3.0
"""How long topics may take to answer before they count as out of reach."""


class ProbedService(Protocol):
    """What a probe looks at of a running unit."""

    @property
    def inboxes(self) -> Sequence[Inbox]:
        """What it reads from."""
        ...


class UnitProbe:
    """Looks at a unit from within its process.

    Args:
        role: ``mu`` or ``su``.
        transport: Open.
        tenant: Public facts.
        meter: The unit's.
    """

    def __init__(self, role: str, transport: Transport, tenant: Tenant, meter: Meter) -> None:
        self._role = role
        self._transport = transport
        self._tenant = tenant
        self._meter = meter
        self._service: ProbedService | None = None
        self._listens = False
        # What was on the topics when somebody first asked; from then on the unit has to come so far once.
        self._to_read: dict[tuple[str, int], int] | None = None

    def started(self, service: ProbedService) -> None:
        """Look at this service from now on; its state is there."""
        self._service = service

    def listening(self) -> None:
        """Note that the unit reads its topics."""
        self._listens = True

    async def unready(self) -> str:
        """Return why the unit is not ready; empty if it is."""
        service = self._service
        if service is None or not self._listens:
            return "starting: its state is not recovered yet"
        try:
            async with asyncio.timeout(REACH_SECONDS):
                await self._end(TopicName.CONFIG, 0)
                if self._to_read is None:
                    self._to_read = {
                        (inbox.topic, inbox.partition): await self._end(inbox.topic, inbox.partition)
                        for inbox in service.inboxes
                    }
        except (TransportError, TimeoutError):
            return "its topics are out of reach"
        for inbox in service.inboxes:
            place = inbox.topic, inbox.partition
            if inbox.next_offset >= self._to_read.get(place, 0):
                self._to_read.pop(place, None)
        if self._to_read:
            return f"catching up: {len(self._to_read)} partitions are not read to where they ended"
        return ""

    async def metrics(self) -> bytes:
        """Return the unit's metrics; what needs topics that are out of reach is left out."""
        behind: dict[str, int] = {}
        try:
            async with asyncio.timeout(REACH_SECONDS):
                for inbox in () if self._service is None else self._service.inboxes:
                    missing = await self._end(inbox.topic, inbox.partition) - inbox.next_offset
                    behind[inbox.topic] = behind.get(inbox.topic, 0) + max(0, missing)
        except (TransportError, TimeoutError):
            behind = {}
        unit = getattr(self._service, "unit", None)
        state = unit if isinstance(unit, MasterUnit) else None
        return exposition(self._role, self._tenant, self._meter, state, behind)

    async def _end(self, topic: str, partition: int) -> int:
        return await self._transport.end_offset(topic_name(self._tenant.name, TopicName(topic)), partition)
