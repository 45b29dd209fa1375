"""One run of a schedule: MU's and SU's own services, killed and started again until all is quiet."""

import asyncio
import contextlib
import copy
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from integration.services import House
from simulation.broker import LATE_SECONDS, Remembering, SimulatedTransport, View, put
from simulation.clock import InlinePool, SimulatedLoop
from simulation.machine import DiedError, Disk, Process, Troubles
from simulation.offers import NB, WITH_LR, first_configuration, house, offers
from simulation.schedules import Schedule

from crypto.errors import PrivMLError, SchemaError
from pipeline import journal
from pipeline.errors import PipelineError
from pipeline.journal_fold import fold_journal
from pipeline.journal_index_file import JournalIndexFile
from pipeline.mailbox import Publisher
from pipeline.master_service import MasterService
from pipeline.memory_transport import MemoryBroker, MemoryTransport
from pipeline.meter import Meter
from pipeline.secondary_service import SecondaryService
from pipeline.session_ledger import SessionLedger
from roles.master_unit import MasterUnit
from roles.secondary_epochs import SecondaryEpochs
from roles.unit_keys import unit_keys
from schemas.codec import decode
from schemas.envelope import open_envelope
from schemas.journal import GENESIS, EntryKind, JournalEntry
from schemas.models import LogisticSpec, ModelSpec
from schemas.topics import TopicName, topic_name, topic_specs

RESTART_SECONDS = 1.0
ZOMBIE_SECONDS = 40.0
QUIET_SECONDS = 4.0
LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 2000.0
LONGEST_GAP_SECONDS = 0.4
_TAMPERED_PATIENCE_SECONDS = 30.0

Act = Callable[["World"], Awaitable[None]]


class NeverQuietError(AssertionError):
    """Something that was offered is never decided, or a unit stops again and again."""


@dataclass(eq=False)
class World:
    """A run, and what is left of it.

    Attributes:
        schedule: What is run.
        models: The tenant's.
        home: The tenant with everybody's keys, on this run's topics.
        troubles: What went wrong, and what is still to come.
        stops: Errors with which units stopped.
        lives: How many processes were started, by unit.
        tampered: What a hostile broker did.
        patience: Seconds after which a run has no end.
        hostile: Whether the broker is: then any error that says what is wrong may stop a unit.
        folded: The state that anybody folds from the topics.
        views: The topics as each unit sees them.
        journal: Every message that was ever put on the journal, on whatever branch.
    """

    schedule: Schedule
    loop: SimulatedLoop
    models: tuple[ModelSpec, ...] = field(init=False)
    home: House = field(init=False)
    troubles: Troubles = field(init=False)
    stops: list[PrivMLError] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)
    lives: dict[str, int] = field(default_factory=lambda: {"mu": 0, "su": 0})
    folded: MasterUnit | None = None
    last_trouble: float = 0.0
    tampered: list[StrEnum] = field(default_factory=list)
    patience: float = PATIENCE_SECONDS
    hostile: bool = False
    views: dict[str, View] = field(init=False)
    journal: list[bytes] = field(default_factory=list)
    _processes: dict[str, Process] = field(default_factory=dict)
    _current: dict[str, Process] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _supervisors: list[asyncio.Task[None]] = field(default_factory=list)
    _entries: dict[bytes, tuple[JournalEntry, bytes] | None] = field(default_factory=dict)
    _offered: bool = False
    _ending: bool = False

    def __post_init__(self) -> None:
        self.models = WITH_LR if self.schedule.taught else NB
        self.home = copy.copy(house(self.models))
        self.home.broker = MemoryBroker()
        self.views = {role: View(self.home.broker) for role in ("mu", "su")}
        self.troubles = Troubles(list(self.schedule.faults))

    @property
    def unit(self) -> MasterUnit | None:
        """MU's state in its last life."""
        return self._current["mu"].unit

    def current(self, role: str) -> Process:
        """Return the process that a unit runs in."""
        return self._current[role]

    # --- the run

    async def run(self, acts: tuple[Act, ...] = ()) -> None:
        """Run to the end: everything offered is decided, and nothing happens any more."""
        tenant = self.home.tenant
        await MemoryTransport(self.home.broker).create_topics(topic_specs(tenant.name))
        written = self.home.broker.partition(topic_name(tenant.name, TopicName.JOURNAL), 0)
        written.messages = Remembering(self.journal)
        self.put(TopicName.CONFIG, first_configuration(self.models))
        for role in ("mu", "su"):
            self._begin(role, Disk(keystore=dict(self._keystore(role))))
        offering = asyncio.create_task(self._offer())
        try:
            await self._quiet()
            for act in acts:
                await act(self)
                await self._quiet()
            self.folded = await fold_journal(MemoryTransport(self.home.broker), replace(tenant))
        finally:
            self._ending = True
            lives = [process.task for process in self._processes.values() if process.task is not None]
            running = [offering, *self._supervisors, *lives]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _keystore(self, role: str) -> dict[str, bytes]:
        secrets = dict(self.home.units[role].secrets)
        return secrets if self.schedule.first_contact else {**secrets, **base_transfers()[role]}

    async def _offer(self) -> None:
        known = offers(self.models)
        for name in self.schedule.offers:
            await asyncio.sleep(self.loop.random.uniform(0, LONGEST_GAP_SECONDS))
            self.put(known[name].topic, known[name].wire)
            if self.schedule.orderly:
                await self._settle()
        self._offered = True

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._settled():
                return

    def put(self, topic: TopicName, wire: bytes, partition: int = 0) -> None:
        """Put a message on a topic."""
        put(self.home.broker, topic_name(self.home.tenant.name, topic), partition, wire)

    # --- processes

    def _begin(self, role: str, disk: Disk) -> None:
        self._supervisors.append(asyncio.create_task(self._supervise(role, disk)))

    async def _supervise(self, role: str, disk: Disk) -> None:
        while True:
            self.lives[role] += 1
            process = Process(role, f"{role}-{self.lives[role]}", disk, self.troubles, self._fork)
            self._processes[process.name] = process
            self._current[role] = process
            self._ready.discard(role)
            process.task = asyncio.create_task(self._life(process))
            await asyncio.wait({process.task})
            process.dead = True
            if not process.superseded:
                self._ready.discard(role)
            self.last_trouble = self.loop.now
            if not process.task.cancelled() and (error := process.task.exception()) is not None:
                self._note(error)
            if process.superseded or self._ending:
                return
            await asyncio.sleep(RESTART_SECONDS)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                self._note(one)
        elif isinstance(error, PrivMLError if self.hostile else PipelineError):
            self.stops.append(error)
        elif not isinstance(error, DiedError | asyncio.CancelledError):
            self.bugs.append(error)

    def _fork(self, process: Process) -> None:
        if process.superseded:
            return
        process.superseded = True
        self.loop.call_later(ZOMBIE_SECONDS, process.die)
        self._begin(process.role, process.disk.copied())

    async def _life(self, process: Process) -> None:
        transport = SimulatedTransport(self.views[process.role], process, self.loop.random)
        tenant, role = replace(self.home.tenant), process.role
        keys = unit_keys(role, dict(process.disk.keystore), process.save, lambda: dict(process.disk.keystore))
        publisher = Publisher(transport, tenant.name, role, 1, self.home.signing[role])
        path = Path(tempfile.gettempdir()) / process.name
        service: MasterService | SecondaryService
        with contextlib.ExitStack() as stack, InlinePool(1) as pool:
            if role == "mu":
                index = stack.enter_context(contextlib.closing(JournalIndexFile(path)))
                service = MasterService(transport, tenant, keys, publisher, index, Meter(), pool)
                await service.recover()
                process.unit = service.unit
            else:
                ledger = stack.enter_context(contextlib.closing(SessionLedger(path)))
                epochs = SecondaryEpochs(tenant, keys, pool)
                service = SecondaryService(transport, tenant, epochs, publisher, ledger, Meter())
            listening = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(service.run(listening))
                await listening.wait()
                if not process.superseded:
                    self._ready.add(role)

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:
        """Open a database on the disk of the process that its name belongs to."""
        return self._processes[path.name].connect(**options)

    # --- quiet

    async def _quiet(self) -> None:
        """Wait until all is decided, both units listen, and nothing was written for a while."""
        deadline, since, written = self.loop.now + self.patience, self.loop.now, -1
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.bugs:
                raise self.bugs[0]
            count = sum(
                len(p.messages)
                for name in self.home.broker.names()
                for p in self.home.broker.partitions(name)
            )
            busy = any(process.busy for process in self._processes.values() if not process.dead)
            zombies = any(p.superseded and not p.dead for p in self._processes.values())
            if count != written or busy or zombies or self._ready != {"mu", "su"}:
                since, written = self.loop.now, count
            elif (
                self.loop.now - max(since, self.last_trouble + LATE_SECONDS) >= QUIET_SECONDS
                and self._decided()
            ):
                return
            if self.loop.now > deadline and self.hostile:
                # A broker may keep the units from ever ending; what they hold is looked at all the same.
                return
            if self.loop.now > deadline:
                stop = f"; last stop: {self.stops[-1]}" if self.stops else ""
                raise NeverQuietError(f"not quiet after {self.patience:.0f} s{stop}")

    def _decided(self) -> bool:
        """Return whether everything was put, and has its end in the journal."""
        return self._offered and self._settled()

    def _settled(self) -> bool:
        """Return whether every message of owners and clients so far has its end in the journal."""
        begun: set[tuple[str, int]] = set()
        open_queries: set[int] = set()
        lessons: set[int] = set()
        taught = any(isinstance(spec, LogisticSpec) for spec in self.models)
        for entry, _ in self.chain():
            if entry.kind == EntryKind.ANSWERED:
                open_queries.discard(entry.about)
            elif entry.kind == EntryKind.LEARNT:
                lessons.discard(entry.about)
            else:
                begun.add((entry.topic, entry.offset))
                if entry.kind == EntryKind.QUERY:
                    open_queries.add(entry.sequence)
                if entry.kind == EntryKind.ACCEPT and taught:
                    lessons.add(entry.sequence)
        return (
            not open_queries
            and not lessons
            and all(
                (topic, message.offset) in begun
                for topic in (TopicName.CHUNKS, TopicName.QUERIES)
                for message in self.home.messages(topic)
            )
        )

    def written(self) -> dict[bytes, JournalEntry]:
        """Return every entry that MU ever wrote, by its id."""
        entries = (self._entry(wire) for wire in self.journal)
        return {entry_id: entry for entry, entry_id in filter(None, entries)}

    def chain(self) -> list[tuple[JournalEntry, bytes]]:
        """Return the entries that each name the one before, from the first on, with their ids."""
        links: list[tuple[JournalEntry, bytes]] = []
        for message in self.home.messages(TopicName.JOURNAL):
            if message.value not in self._entries:
                self._entries[message.value] = self._entry(message.value)
            found = self._entries[message.value]
            head = links[-1][1] if links else GENESIS
            if found is not None and found[0].previous == head and found[0].sequence == len(links):
                links.append(found)
        return links

    def _entry(self, wire: bytes) -> tuple[JournalEntry, bytes] | None:
        tenant = self.home.tenant
        try:
            envelope = open_envelope(wire, TopicName.JOURNAL, tenant.name, tenant.verifying.get)
            return decode(JournalEntry, envelope.body), envelope.message_id()
        except SchemaError:
            return None


def simulate(schedule: Schedule, *acts: Act) -> World:
    """Run a schedule to its end, and return what is left.

    Args:
        schedule: What to run.
        acts: What somebody does on the topics once all is quiet, one after the other.

    Raises:
        NeverQuietError: It has no end.
    """
    if not schedule.first_contact:
        base_transfers()
    loop = SimulatedLoop(Random(schedule.seed))
    world = World(schedule, loop)
    try:
        with (
            mock.patch.object(sqlite3, "connect", world.connect),
            mock.patch.object(journal, "SNAPSHOT_ENTRIES", schedule.snapshot_entries),
        ):
            loop.run_until_complete(world.run(acts))
    finally:
        loop.close()
    return world


def simulate_tampered(schedule: Schedule, things: tuple[tuple[float, Callable[[World], None]], ...]) -> World:
    """Run a schedule while somebody does things to the topics at given times; kill both units at the end.

    That a unit stops for good is an end like any other.
    """
    base_transfers()
    loop = SimulatedLoop(Random(schedule.seed))
    world = World(schedule, loop, patience=_TAMPERED_PATIENCE_SECONDS, hostile=True)
    for at, do in things:
        loop.call_later(at, do, world)

    async def kill_both(world: World) -> None:
        for role in ("mu", "su"):
            world.current(role).die()

    try:
        with (
            mock.patch.object(sqlite3, "connect", world.connect),
            mock.patch.object(journal, "SNAPSHOT_ENTRIES", schedule.snapshot_entries),
        ):
            loop.run_until_complete(world.run((kill_both,)))
    except PipelineError:
        # Nobody can fold such topics, and is told why.
        return world
    finally:
        loop.close()
    return world


@cache
def base_transfers() -> dict[str, dict[str, bytes]]:
    """Return what the base transfers leave in the units' keystores: run once an epoch, as they are dear."""
    stores: dict[str, dict[str, bytes]] = {}

    async def look(world: World) -> None:
        stores.update({role: dict(world._current[role].disk.keystore) for role in ("mu", "su")})

    simulate(Schedule(0, ("a0", "query c", "renew"), first_contact=True, orderly=True), look)
    return stores
