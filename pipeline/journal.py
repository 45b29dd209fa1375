"""MU's journal: recovered at start, written before anything is acted on, read back after it was written.

Whoever holds the journal's turn decides, stages the entries, and commits them together (group commit).
A commit ends when the entries were read back from the topic, each continuing the chain: another
process that writes the same journal is noticed there, and MU stops. Then the mark of how far the
journal is becomes durable, and only then others are told.
"""

import asyncio
from dataclasses import dataclass, field

from crypto.errors import SchemaError
from pipeline.errors import StorageError
from pipeline.journal_fold import Watch, chained_entries, fold_entry, look_up_models
from pipeline.journal_index_file import JournalIndexFile, JournalMark
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher
from pipeline.sealed_models import KEPT_VERSIONS
from pipeline.snapshots import Captured, capture, usable_snapshot, write_snapshot
from pipeline.transport import Transport
from roles.arrival import Arrival
from roles.entry_content import NOTHING, EntryContent
from roles.master_unit import MasterUnit
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.journal import JournalEntry
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

log = get_logger()

SNAPSHOT_ENTRIES = 512
"""Entries between two snapshots."""
READ_BACK_SECONDS = 30.0


class JournalForkedError(StorageError):
    """Another process writes this journal."""


class JournalRolledBackError(StorageError):
    """The journal lacks an entry that MU had written and made sure of."""

    code = ReasonCode.LOG_ROLLED_BACK


@dataclass(frozen=True, slots=True)
class _Staged:
    entry: JournalEntry
    entry_id: bytes
    wires: list[bytes] = field(repr=False)


class Journal:
    """The journal as MU has it; `unit` is its fold.

    Attributes:
        unit: MU's state after every entry that was staged.
        turn: Held by whoever decides.
    """

    def __init__(
        self, transport: Transport, tenant: Tenant, publisher: Publisher, index: JournalIndexFile
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._publisher = publisher
        self._index = index
        self._staged: list[_Staged] = []
        self._inbox = Inbox(transport, tenant, TopicName.JOURNAL)
        self._snapshot_at = -1
        self._untold: set[int] = set()
        self._owed: set[int] = set()
        self._all_told = asyncio.Event()
        self._all_told.set()
        self.turn = asyncio.Lock()
        self.unit = MasterUnit.starting(tenant, index)
        self._snapshot_versions = dict.fromkeys(self.unit.models, 0)

    # --- recovery

    async def recover(self, watch: Watch | None = None) -> None:
        """Fold the journal; afterwards `unit` is as it was when MU stopped.

        Args:
            watch: Called with the state before each entry folded, the entry and its id.

        Raises:
            JournalRolledBackError: It ends before the entry that MU last made sure of.
            StorageError: An entry of the chain is missing or changed, or a message that it names.
        """
        mark = await asyncio.to_thread(self._index.mark)
        offset = await self._start(mark)
        async for stored in chained_entries(self._transport, self._tenant, self.unit, offset):
            if watch is not None:
                watch(self.unit, stored.entry, stored.entry_id)
            await fold_entry(self._transport, self.unit, stored)
            offset = stored.offset + 1
            self._hold_against(mark, stored.entry.sequence, stored.entry_id)
        if self.unit.next_sequence <= mark.sequence:
            raise JournalRolledBackError(
                f"the journal ends before entry {mark.sequence}, which MU had written",
                hint="the log was replaced by an older copy: restore the newer one",
            )
        await look_up_models(self._transport, self.unit)
        self._inbox = Inbox(self._transport, self._tenant, TopicName.JOURNAL, offset=offset)
        await self._commit_mark()

    async def _start(self, mark: JournalMark) -> int:
        """Take the newest snapshot that can be used; return where to go on reading the journal."""
        # An index that is behind, or new, needs every entry since then.
        usable = await usable_snapshot(self._transport, self._tenant, self._index, mark.sequence)
        if usable is None:
            return 0
        snapshot, unit = usable
        self._hold_against(mark, snapshot.journal_sequence, snapshot.journal_head)
        self.unit = unit
        self._note_snapshot(snapshot.journal_sequence)
        log.info("snapshot_taken", sequence=snapshot.journal_sequence)
        return snapshot.journal_offset

    @staticmethod
    def _hold_against(mark: JournalMark, sequence: int, entry_id: bytes) -> None:
        if sequence == mark.sequence and entry_id != mark.head:
            raise StorageError(
                f"journal entry {sequence} is another one than MU wrote",
                hint="restore the topic from a backup; MU stops rather than be wrong",
            )

    # --- writing

    def stage(self, entry: JournalEntry, content: EntryContent = NOTHING) -> bytes:
        """Sign an entry and fold it; return its id. Under `turn`, and before `commit`.

        Cost:
            A signature, and what the models make of it.
        """
        wires = self._publisher.seal(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
        entry_id = message_id(wires[0])
        self.unit.apply(entry, entry_id, content)
        self._staged.append(_Staged(entry, entry_id, wires))
        self._untold.add(entry.sequence)
        self._all_told.clear()
        return entry_id

    async def reported(self, topic: TopicName) -> int:
        """Return behind which message of a topic no refusal was reported yet, of those without an entry."""
        return await asyncio.to_thread(self._index.reported, topic)

    async def set_reported(self, topic: TopicName, next_offset: int) -> None:
        """Note how far refusals without an entry were reported: a restarted MU does not repeat them."""
        async with self.turn:
            await asyncio.to_thread(self._index.set_reported, topic, next_offset)

    def owe(self, sequence: int) -> None:
        """Note that what follows from an entry of a former life is still to be published."""
        self._owed.add(sequence)

    def told(self, sequence: int) -> None:
        """Note that whatever follows from an entry was published."""
        self._owed.discard(sequence)
        self._untold.discard(sequence)
        if not self._untold:
            self._all_told.set()

    async def commit(self) -> None:
        """Append what was staged, read it back, and make the mark durable. Under `turn`.

        If anything fails MU dies, and its next life folds what was written.

        Raises:
            JournalForkedError: Another process wrote an entry in between.
            StorageError: What was written cannot be read back.
        """
        staged, self._staged = self._staged, []
        async with asyncio.TaskGroup() as group:
            # All are called before the first can fail, so that none comes after a missing one.
            for one in staged:
                group.create_task(self._publisher.append(TopicName.JOURNAL, one.wires))
        await self._read_back(staged)
        await self._commit_mark()

    async def _read_back(self, staged: list[_Staged]) -> None:
        waiting = iter(staged)
        expected = next(waiting, None)
        following = self.unit.next_sequence - len(staged)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READ_BACK_SECONDS
        while expected is not None:
            remaining = deadline - loop.time()
            if remaining <= 0:
                raise StorageError("the journal does not give back what was written to it")
            for message in await self._inbox.receive(remaining):
                if not isinstance(message, Arrival):
                    continue
                entry = _entry(message)
                if entry is None or entry.sequence < following:
                    continue
                if expected is None or message.message_hash != expected.entry_id:
                    raise JournalForkedError(
                        f"another process wrote journal entry {entry.sequence}",
                        hint="run one `privml mu` per tenant; start this one again when the other has ended",
                    )
                expected, following = next(waiting, None), following + 1

    async def _commit_mark(self) -> None:
        unit = self.unit
        mark = JournalMark(unit.next_sequence - 1, unit.head, self._inbox.next_offset)
        await asyncio.to_thread(self._index.commit, mark)

    # --- snapshots

    async def due_snapshot(self) -> Captured | None:
        """Return what is to be written as a snapshot now, None if none is due. Under `turn`.

        Waits until everything is told, while nobody decides anything else: a restarted MU tells what
        entries after the snapshot give rise to, and nothing before it. To tell takes no turn. None
        while an answer of a former life is owed, which may need SU.
        """
        last = self.unit.next_sequence - 1
        if not self._is_due(last) or self._owed:
            return None
        await self._all_told.wait()
        self._note_snapshot(last)
        return capture(self.unit, self._inbox.next_offset)

    def _is_due(self, last: int) -> bool:
        # Sealed models that a snapshot names must outlive it: the topic keeps so many and no more.
        moved = any(
            kept.is_taught and kept.model.version - self._snapshot_versions[name] >= KEPT_VERSIONS // 2
            for name, kept in self.unit.models.items()
        )
        return moved or last - self._snapshot_at >= SNAPSHOT_ENTRIES

    def _note_snapshot(self, sequence: int) -> None:
        self._snapshot_at = sequence
        self._snapshot_versions = {name: kept.model.version for name, kept in self.unit.models.items()}

    async def write_snapshot(self, captured: Captured) -> None:
        """Write a snapshot; needs no turn."""
        await write_snapshot(self._publisher, captured)
        log.info("snapshot_written", sequence=captured.journal_sequence)


def _entry(message: Arrival) -> JournalEntry | None:
    try:
        return decode(JournalEntry, message.body)
    except SchemaError:
        return None
