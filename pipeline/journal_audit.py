"""One pass over the journal with `roles.auditor`; nothing is written.

Beside the journal the topics that its entries point to are read, so that memory does not grow with
what lies on them. Where the journal ends is settled first; what a running unit adds meanwhile
is left for the next audit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from crypto.errors import LocalProtocolError, SchemaError
from pipeline import succession
from pipeline.ahead_inbox import AheadInbox
from pipeline.audit_start import NOT_READABLE, AuditStart, audit_start
from pipeline.check_pool import CheckPool
from pipeline.judged_entries import AHEAD, JudgedEntries, WaitingEntry
from pipeline.meter import Meter
from pipeline.named_chunks import NamedChunks, RekeyedHook
from pipeline.signed_messages import SignedMessages, place_of
from pipeline.snapshot_audit import SnapshotAudit
from pipeline.stored_message import stored_message
from pipeline.topic_cursor import Taken, TopicCursor, arrival_of
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.auditor import Auditor, ClosedQuery
from roles.chunk_encodings import Vectors
from roles.findings import FindingCode, Findings, Place
from roles.journal_chain import JournalChain, Link
from roles.judging import Judged
from roles.master_unit import MasterUnit
from roles.model_state import Content
from roles.receipt_check import UNKNOWN_NUMBER, ReceiptCheck
from roles.receipts import receipts_due
from roles.roster import JUDGED_TOPICS
from roles.tenant import Tenant
from schemas.codec import decode
from schemas.heads import Head
from schemas.journal import CLOSING, EntryKind, Receipt
from schemas.snapshots import WaitingChunk
from schemas.succession import Succession
from schemas.topics import TopicName, topic_name

GRACE_SECONDS = 2.0
"""How long to wait for receipts of the last decisions: MU sends them after its entries."""
GRACE_ENTRIES = 256

ClosedHook = Callable[[Sequence[ClosedQuery]], Awaitable[None]]
RenewedHook = Callable[[MasterUnit], Awaitable[None]]
LessonHook = Callable[[Link, MasterUnit], Awaitable[Content | None]]


# What they are about is known once all before is folded.
_ALONE = frozenset({EntryKind.WITHDRAW, EntryKind.LEARNT, EntryKind.REKEYED, EntryKind.CONFIGURED})


class JournalAudit:
    """Folds the journal and compares.

    Args:
        transport: Where the topics are; only read.
        tenant: Public facts.
        findings: Where findings go.
        meter: Counts what was seen.
        checks: Checks signatures and proofs.
        proofs: Whether to verify the proofs of plaintext knowledge.
        lesson: Called with every ``learnt`` entry and the state before it; returns what the model became.
        rekeyed: Called with every ``rekeyed`` entry, the state before it and the chunk that it is about.
        closed: Called with the queries that a batch of entries closed.
        renewed: Called with the state after every entry with which a key epoch begins.
        grace_seconds: How long to wait for receipts of the last decisions.

    Attributes:
        auditor: The fold.
        receipts: What became of receipts.
        snapshots: What became of snapshots.
        unreadable: Topics that could not be read.
        start: Where it began.
    """

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        findings: Findings,
        meter: Meter,
        checks: CheckPool,
        *,
        lesson: LessonHook,
        proofs: bool = True,
        rekeyed: RekeyedHook | None = None,
        closed: ClosedHook | None = None,
        renewed: RenewedHook | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._findings = findings
        self._meter = meter
        self._checks = checks
        self._lesson = lesson
        self._named = NamedChunks(transport, findings, rekeyed)
        self._closed = closed
        self._renewed = renewed
        self._grace_seconds = grace_seconds
        self.auditor = Auditor(tenant, findings, proofs)
        self.receipts = ReceiptCheck(findings)
        self.unreadable: list[TopicName] = []
        self.start = AuditStart(self.auditor.unit)
        self._chain = JournalChain(findings)
        self._cursors = {
            topic: TopicCursor(transport, tenant, topic, meter, checks)
            for topic in (TopicName.CHUNKS, TopicName.QUERIES)
        }
        self._heads = SignedMessages(
            *(transport, tenant, TopicName.HEADS, Head, findings, meter, checks), passing=succession.KIND
        )
        self._receipts = SignedMessages(
            transport, tenant, TopicName.RECEIPTS, Receipt, findings, meter, checks
        )
        self.snapshots = SnapshotAudit(transport, tenant, findings)
        self._joined = False
        self._entries = JudgedEntries(self.auditor.impartial, checks, proofs=proofs)

    @property
    def last_sequence(self) -> int:
        """Sequence of the last entry, −1 of none."""
        return max(self._chain.next_sequence, self.start.first) - 1

    async def run(self) -> None:
        """Read the journal to where it ends now."""
        # Receipts and heads first: each that is there by now is of an entry that is read below.
        await self._receipts.open()
        await self._open_optional(TopicName.HEADS, self._heads.open)
        await self._open_optional(TopicName.SNAPSHOTS, self.snapshots.open)
        await self._begin()
        await self._follow(self._tenant.key_epoch)
        for topic, cursor in self._cursors.items():
            offset = self.auditor.unit.next_offset.get((topic, 0), 0)
            await self._open_optional(topic, partial(cursor.open, offset))
        name = topic_name(self._tenant.name, TopicName.JOURNAL)
        end = await self._transport.end_offset(name, 0)
        beginning = await self._transport.beginning_offset(name, 0)
        await succession.enter_journaled(self._transport, self._tenant, end)
        journal = AheadInbox(
            *(self._transport, self._tenant, TopicName.JOURNAL, self._checks, end),
            offset=beginning,
            meter=self._meter,
        )
        while (before := journal.next_offset) < end:
            for message in await journal.receive(0.0, max_messages=end - before):
                if arrival_of(message).offset < end:
                    await self._take(message)
            self._entries.close_batch()
            await self._fold_judged()
            await self._read_receipts()
            if journal.next_offset == before:
                break
        await self._settle()
        if not self._joined and self._chain.head not in {None, self.auditor.unit.head}:
            self._report_start("names another entry than the journal has")
        await self._finish_receipts()
        if self._chain.strayed is None:
            self.auditor.record.end()
            if self.auditor.complete:
                self.snapshots.end()
            await self._read_heads()
            await self._check_words()
        else:
            # What follows from entries that do not continue the chain is not known.
            self.auditor.complete = False

    async def _begin(self) -> None:
        """Begin with a snapshot, if what was before it is gone."""
        start = await audit_start(self._transport, self._tenant, self.snapshots.candidates())
        if start.snapshot is not None:
            self.start = start
            self.auditor.begin(start.unit, start.forgotten)
            self.snapshots.begin(start.first - 1)
            self._chain.head = None
        name = topic_name(self._tenant.name, TopicName.RECEIPTS)
        self.receipts.first = self.start.first
        if await self._transport.beginning_offset(name, 0):
            await self._read_more_receipts()
            self.receipts.excuse_before_early()

    async def _follow(self, key_epoch: int) -> None:
        """Say so, if another key epoch is in force by now."""
        if self._renewed is not None and key_epoch != self.auditor.unit.key_epoch:
            await self._renewed(self.auditor.unit)

    async def _open_optional(self, topic: TopicName, open_topic: Callable[[], Awaitable[None]]) -> None:
        try:
            await open_topic()
        except NOT_READABLE:
            self.unreadable.append(topic)

    # --- entries

    async def _take(self, message: Arrival | Refused) -> None:
        link = self._chain.take(message)
        if link is None:
            return
        if not self._joins(link):
            return
        alone = link.entry.kind in _ALONE
        if alone:
            await self._settle()
        found, readable = await self._decided_message(link)
        self._entries.add(WaitingEntry(link, found, readable))
        told = self.snapshots.is_due(link.entry.sequence)
        if alone or told:
            await self._settle()
        else:
            await self._fold_judged()
        if told and self.auditor.complete:
            await self.snapshots.check(link.entry.sequence, self.auditor)

    def _joins(self, link: Link) -> bool:
        """Return whether an entry comes after the start; the first that does must continue it."""
        entry, unit = link.entry, self.auditor.unit
        if entry.sequence < self.start.first:
            self.auditor.remember(entry)
            return False
        if self.start.snapshot is not None and not self._joined:
            self._joined = True
            if entry.sequence != self.start.first or entry.previous != unit.head:
                self._report_start(f"is not what entry {entry.sequence} continues")
        return True

    def _report_start(self, why: str) -> None:
        """Report the snapshot that the audit begins with: no state follows from it."""
        if self.start.snapshot is not None:
            detail = f"the snapshot after entry {self.start.first - 1}, with which the audit begins, {why}"
            self._findings.add(FindingCode.SNAPSHOT_DIFFERS, self.start.snapshot, detail)
            self.auditor.complete = False

    async def _decided_message(self, link: Link) -> tuple[Arrival | Refused | None, bool]:
        entry = link.entry
        if entry.kind in CLOSING:
            return None, True
        if entry.kind == EntryKind.CONFIGURED:
            return await self._configuration(link), True
        if entry.topic in self.unreadable:
            return None, False
        if entry.topic not in self._cursors or entry.partition != 0:
            detail = f"entry {entry.sequence} decides a message where none is decided"
            self._findings.add(FindingCode.WRONG_DECISION, link.place, detail)
            return None, True
        taken = await self._cursors[TopicName(entry.topic)].take(entry)
        self._report(link, taken)
        return taken.message, True

    async def _configuration(self, link: Link) -> Arrival | None:
        """Return the version that an entry says is in force, from its place on the config topic."""
        entry = link.entry
        place = entry.partition, entry.offset, entry.message_hash
        arrival = await stored_message(self._transport, self._tenant, TopicName.CONFIG, *place)
        if arrival is None:
            detail = f"the configuration that entry {entry.sequence} names is not there"
            at = Place(TopicName.CONFIG, entry.partition, entry.offset)
            self._findings.add(FindingCode.MESSAGE_MISSING, at, detail)
        for topic, first in zip(JUDGED_TOPICS, entry.judges_from, strict=True):
            if topic in self.unreadable:
                continue
            if first > await self._transport.end_offset(topic_name(self._tenant.name, topic), 0):
                detail = f"by entry {entry.sequence} a version judges from where nothing stands yet"
                self._findings.add(FindingCode.WRONG_DECISION, link.place, detail)
        return arrival

    def _report(self, link: Link, taken: Taken) -> None:
        for message in taken.passed:
            why = f" ({message.reason!s})" if isinstance(message, Refused) else ""
            detail = f"no entry decides this message{why}, though later ones are decided"
            self._findings.add(FindingCode.MESSAGE_UNDECIDED, place_of(arrival_of(message)), detail)
        if taken.message is None:
            entry = link.entry
            detail = f"entry {entry.sequence} decides a message that is not there, or was decided before"
            if isinstance(taken.instead, Refused):
                detail += f"; what is there is refused ({taken.instead.reason!s})"
            elif taken.instead is not None:
                detail += "; another one is"
            place = Place(entry.topic, entry.partition, entry.offset)
            self._findings.add(FindingCode.MESSAGE_MISSING, place, detail)

    async def _settle(self) -> None:
        """Fold every entry taken so far."""
        self._entries.close_batch()
        await self._fold_judged(0)

    async def _fold_judged(self, ahead: int = AHEAD) -> None:
        while batch := await self._entries.next(ahead):
            await self._fold_batch(*batch)

    async def _fold_batch(self, batch: Sequence[WaitingEntry], judged: Sequence[Judged]) -> None:
        await self._read_heads()
        named, learnt = None, None
        last = batch[-1].link
        if last.entry.kind == EntryKind.WITHDRAW:
            named = await self._named.withdrawn(self.auditor, last)
        elif last.entry.kind == EntryKind.REKEYED and self.auditor.complete:
            named = await self._named.rekeyed(self.auditor, last)
        elif last.entry.kind == EntryKind.LEARNT and self.auditor.complete:
            learnt = await self._learnt(last)
        key_epoch = self.auditor.unit.key_epoch
        await asyncio.to_thread(self._fold, batch, judged, named, learnt)
        await self._follow(key_epoch)
        await self._named.check_refused(self.auditor)
        closed, self.auditor.closed = self.auditor.closed, []
        if self._closed is not None and closed:
            await self._closed(closed)

    def _fold(
        self,
        batch: Sequence[WaitingEntry],
        judged: Sequence[Judged],
        named: Vectors | None,
        learnt: Content | None,
    ) -> None:
        following = iter(judged)
        for item in batch:
            own = None if item.message is None else next(following)
            due = self._receipts_due(item.link, own)
            self._named.note_refused(self.auditor, item.link, own)
            self.auditor.fold(item.link, own, readable=item.readable, named=named, learnt=learnt)
            self.receipts.expect(item.link, due)

    def _receipts_due(self, link: Link, judged: Judged | None) -> list[Receipt]:
        number = UNKNOWN_NUMBER if judged is None else judged.arrival.sequence
        closed: Sequence[WaitingChunk] = ()
        if link.entry.kind in {EntryKind.LEARNT, EntryKind.REKEYED}:
            try:
                closed = self.auditor.unit.closed_chunks(link.entry)
            except LocalProtocolError:
                return []
        due = receipts_due(link.entry, link.entry_id, number, closed)
        return [receipt for _, receipt in due]

    async def _learnt(self, link: Link) -> Content | None:
        unit = self.auditor.unit
        try:
            unit.closed_chunks(link.entry)
        except LocalProtocolError:
            # Reported when the entry is folded.
            return None
        return await self._lesson(link, unit)

    # --- heads and receipts

    async def _read_heads(self) -> None:
        record = self.auditor.record
        while record.wants_heads and not self._heads.at_end:
            messages = await self._heads.next()
            if messages is None:
                return
            for arrival, head in messages:
                # A later one may be about an entry behind the end.
                if arrival.offset < self._heads.end:
                    record.offer_head(place_of(arrival), head)

    async def _check_words(self) -> None:
        """Hold what MU told SU of the versions in force against the journal."""
        if TopicName.HEADS in self.unreadable:
            return
        known = tuple(self._tenant.roster.in_force)
        async for word in succession.words(self._transport, self._tenant, self._heads.end):
            try:
                told = decode(Succession, word.body).versions
            except SchemaError as error:
                detail = f"not a message that this topic is for ({error.code!s})"
                self._findings.add(FindingCode.BAD_MESSAGE, place_of(word), detail)
                continue
            if told != known[: len(told)]:
                detail = "MU told of other versions of the configuration than its journal has"
                self._findings.add(FindingCode.HEAD_CONTRADICTS, place_of(word), detail)

    async def _read_receipts(self, wait_seconds: float = 0.0) -> None:
        while self.receipts.wants_more and await self._read_more_receipts(wait_seconds):
            pass

    async def _read_more_receipts(self, wait_seconds: float = 0.0) -> bool:
        messages = await self._receipts.next(wait_seconds)
        for arrival, receipt in messages or ():
            self.receipts.offer(place_of(arrival), receipt)
        return messages is not None

    async def _finish_receipts(self) -> None:
        strayed = self._chain.strayed is not None
        self.receipts.end(lambda place: strayed or place.offset >= self._receipts.end)
        while not self._receipts.at_end and await self._read_more_receipts():
            pass
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_seconds
        last = self._chain.next_sequence - GRACE_ENTRIES
        while self.receipts.missing_since(last) and (remaining := deadline - loop.time()) > 0:
            await self._read_more_receipts(min(remaining, 0.2))
        self.receipts.close()
