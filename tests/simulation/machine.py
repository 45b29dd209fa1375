"""A process that may die at any call, and the disk that outlives it."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulation.schedules import Fault, Trouble, kind_of_calls

from pipeline.keystore import KeystoreError
from roles.master_unit import MasterUnit


class DiedError(BaseException):
    """The process is no more. Not an `Exception`, as nobody in it can catch that."""


@dataclass(slots=True)
class Troubles:
    """The faults of a schedule that are still to come, and those that came.

    Attributes:
        waiting: Not come yet.
        fired: Have come.
        appended_at: Which of a unit's calls of any kind were appends, counted from 1.
    """

    waiting: list[Fault]
    fired: list[Fault] = field(default_factory=list)
    appended_at: dict[str, list[int]] = field(default_factory=lambda: {"mu": [], "su": []})
    _calls: dict[tuple[str, str], int] = field(default_factory=dict)

    def at(self, role: str, *kinds: str) -> Trouble | None:
        """Count a call of a unit, and return what befalls it."""
        for kind in kinds:
            self._calls[role, kind] = self._calls.get((role, kind), 0) + 1
        if "append" in kinds:
            self.appended_at[role].append(self._calls[role, "any"])
        for fault in self.waiting:
            kind = kind_of_calls(fault.trouble)
            if fault.role == role and kind in kinds and self._calls[role, kind] == fault.call:
                self.waiting.remove(fault)
                self.fired.append(fault)
                return fault.trouble
        return None

    def calls(self, role: str, kind: str) -> int:
        """Return how many calls of a kind a unit made, over all its lives."""
        return self._calls.get((role, kind), 0)


@dataclass(slots=True)
class Disk:
    """What is synced survives: the content of files, and a keystore.

    Attributes:
        files: By unit.
        keystore: Secrets by name.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    keystore: dict[str, bytes] = field(default_factory=dict)

    def copied(self) -> "Disk":
        """Return another disk with the same content."""
        return Disk(dict(self.files), dict(self.keystore))


@dataclass(eq=False)
class Process:
    """One life of a unit.

    Attributes:
        role: ``mu`` or ``su``.
        disk: Its disk.
        troubles: The schedule's.
        dead: Whether it was killed: nothing that it calls afterwards happens.
        superseded: Whether another process of the unit was begun beside it.
        busy: Calls under way that somebody waits for.
        task: What runs in it.
        unit: MU's state.
        name: Its file's name, which no other life has.
        fork: Begins another process of the same unit with a copy of the disk.
    """

    role: str
    name: str
    disk: Disk
    troubles: Troubles
    fork: Callable[["Process"], None]
    dead: bool = False
    superseded: bool = False
    busy: int = 0
    task: asyncio.Task[None] | None = None
    unit: MasterUnit | None = None

    def check(self) -> None:
        """Stop whoever still runs in a dead process."""
        if self.dead:
            raise DiedError

    def die(self) -> DiedError:
        """Kill the process; return what its code sees of that."""
        self.dead = True
        if self.task is not None:
            self.task.cancel()
        return DiedError()

    def save(self, changed: Mapping[str, bytes]) -> None:
        """Write secrets to the keystore."""
        self.check()
        trouble = self.troubles.at(self.role, "disk")
        if trouble is Trouble.DISK_FULL:
            raise KeystoreError("there is no room for the keystore")
        if trouble is Trouble.DISK_CRASH_BEFORE:
            raise self.die()
        self.disk.keystore.update(changed)
        if trouble is Trouble.DISK_CRASH_AFTER:
            raise self.die()

    def connect(self, **options: Any) -> sqlite3.Connection:
        """Open the unit's database on the simulated disk."""
        self.check()
        opened = SimulatedFile(":memory:", **options)
        opened.begin(self)
        return opened


class SimulatedFile(sqlite3.Connection):
    """A database whose content is on the simulated disk from the moment a commit is synced."""

    process: Process
    synced: bool
    written: int

    def begin(self, process: Process) -> None:
        """Take the content from the disk."""
        self.process, self.synced = process, False
        if process.role in process.disk.files:
            self.deserialize(process.disk.files[process.role])
        self.written = self.total_changes

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement; what it commits is synced if the database was told to."""
        self.process.check()
        if sql.startswith("PRAGMA synchronous="):
            self.synced = sql.endswith("=FULL")
        commits = sql == "COMMIT" or (
            not self.in_transaction and sql.split(" ", 1)[0] in {"INSERT", "UPDATE"}
        )
        trouble = self.process.troubles.at(self.process.role, "disk") if commits else None
        if trouble is Trouble.DISK_FULL:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        if trouble is Trouble.DISK_CRASH_BEFORE:
            raise self.process.die()
        cursor = super().execute(sql, parameters)
        if not self.in_transaction and self.total_changes != self.written and self.synced:
            self.written = self.total_changes
            self.process.disk.files[self.process.role] = self.serialize()
        if trouble is Trouble.DISK_CRASH_AFTER:
            raise self.process.die()
        return cursor
