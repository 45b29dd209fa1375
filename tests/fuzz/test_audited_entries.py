"""Journal entries as a hostile MU may sign them: an auditor folds them or says what is wrong.

Every entry continues the chain; what it says is something else than the rules give.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import pytest
from fuzz.drawing import Draws
from fuzz.every_learner import (
    BAYES,
    LOGISTIC,
    TREE,
    bayes_tenant,
    chunk_with_words,
    every_learner_tenant,
    query_with_words,
    taught,
    taught_chunk,
)
from fuzz.mutants import WIRE_INTEGERS, Corpus
from fuzz.verdicts import INPUTS, Tally
from round_trips import arrival_of
from tenants import SmallTenant

from crypto.errors import LocalProtocolError, SchemaError
from roles.auditor import Auditor
from roles.chunk_encodings import Vectors
from roles.classifiers.learner import TaughtLearner
from roles.findings import Findings, Place
from roles.journal_chain import Link
from roles.journal_index import MemoryIndex
from roles.judging import Judged, judge_messages
from roles.learners import learner_of
from roles.model_state import Content
from roles.receipts import receipts_due
from roles.screening import ScreenedChunk, ScreenedQuery
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.configuration import Limits
from schemas.journal import CLOSING, EntryKind, JournalEntry
from schemas.reasons import ReasonCode
from schemas.snapshots import SealedPlace, WaitingChunk
from schemas.topics import TopicName

LIMITS = Limits(64, 1 << 10, 8, 1, 1, 0)
SEALED = SealedPlace(0, 5, bytes(32), bytes(range(32)))


@dataclass
class Candidate:
    """An entry that the rules give, with what is folded with it."""

    entry: JournalEntry
    judged: Judged | None = None
    withdrawn: Vectors | None = None
    learnt: Content | None = None


@dataclass
class Journal:
    """An auditor in the middle of a journal, and entries that may come next."""

    small: SmallTenant
    auditor: Auditor
    candidates: list[Candidate] = field(default_factory=list)

    def judged(self, body: bytes, sequence: int, *, kind: str = "chunk") -> Judged:
        """Return what is said of a message of the owner, or a query of the client."""
        is_query = kind == "query"
        arrival = arrival_of(
            body,
            sender="c" if is_query else "a",
            sequence=sequence,
            kind=kind,
            topic=TopicName.QUERIES if is_query else TopicName.CHUNKS,
            offset=sequence,
        )
        (judged,) = judge_messages(self.auditor.impartial, [arrival])
        assert judged.reason is None
        return judged

    def again(self, findings: Findings) -> Auditor:
        """Return the same auditor once more."""
        auditor = Auditor(self.small.tenant, findings)
        unit, index = self.auditor.unit, self.auditor.unit.index
        assert isinstance(index, MemoryIndex)
        auditor.impartial = self.auditor.impartial
        auditor.counts, auditor.unknown = replace(self.auditor.counts), set(self.auditor.unknown)
        auditor.unit = replace(
            unit,
            models={n: replace(kept, waiting=deque(kept.waiting)) for n, kept in unit.models.items()},
            index=MemoryIndex(dict(index.chunks), dict(index.queries), dict(index.rows)),
            open_queries=dict(unit.open_queries),
            next_offset=dict(unit.next_offset),
        )
        return auditor

    def fold(self, candidate: Candidate) -> None:
        """Fold an honest entry."""
        link = linked(candidate.entry)
        self.auditor.fold(link, candidate.judged, named=candidate.withdrawn, learnt=candidate.learnt)
        assert not self.auditor.findings.found
        assert self.auditor.complete

    def offer(self, judged: Judged) -> Candidate:
        """Return the entry that the rules give for a message."""
        unit, screened = self.auditor.unit, judged.screened
        match screened:
            case ScreenedChunk():
                return Candidate(unit.decide_chunk(screened), judged)
            case ScreenedQuery():
                return Candidate(unit.decide_query(screened), judged)
            case Withdrawal():
                return Candidate(unit.decide_withdrawal(judged.arrival, screened), judged)
            case _:
                raise AssertionError


def linked(entry: JournalEntry) -> Link:
    """Return an entry as it lies on its topic."""
    entry_id = hashlib.sha256(encode(entry)).digest()
    return Link(entry, entry_id, Place(TopicName.JOURNAL, 0, max(0, entry.sequence)))


def middle_of_a_journal(small: SmallTenant) -> Journal:
    """Return an auditor that has seen chunks and a query, and whatever may come next."""
    journal = Journal(small, Auditor(small.tenant, Findings()))
    unit = journal.auditor.unit
    chunks = [chunk_with_words(small, sequence, 6) for sequence in range(4)]
    for sequence in range(3):
        journal.fold(journal.offer(journal.judged(encode(chunks[sequence]), sequence)))
    bayes = learner_of(small.tenant, small.tenant.model(BAYES))
    queries = [encode(query_with_words(small, bayes, 2, seed)) for seed in range(2)]
    journal.fold(journal.offer(journal.judged(queries[0], 0, kind="query")))
    (open_query,) = unit.open_queries.values()
    withdrawal = journal.offer(journal.judged(encode(Withdrawal(1)), 5, kind="withdrawal"))
    if withdrawal.entry.kind == EntryKind.WITHDRAW:
        first = journal.judged(encode(chunks[1]), 1)
        assert isinstance(first.screened, ScreenedChunk)
        withdrawal.withdrawn = first.screened.vectors
    journal.candidates += [
        journal.offer(journal.judged(encode(chunks[3]), 3)),
        journal.offer(journal.judged(queries[1], 1, kind="query")),
        withdrawal,
        Candidate(unit.decide_answered(open_query[0], bytes(range(32)))),
    ]
    for model_id, learnt in ((LOGISTIC, 1), (TREE, 2)):
        if model_id in unit.models:
            learner = unit.models[model_id].learner
            assert isinstance(learner, TaughtLearner)
            lesson = [taught_chunk(small, sequence, 6) for sequence in range(learnt)]
            content = taught(small, learner, learner.starting(), lesson)[1].content
            entry = unit.decide_learnt(model_id, (0,) * learnt, SEALED)
            journal.candidates.append(Candidate(entry, learnt=content))
            passed_over = unit.decide_passed_over(model_id, 1, ReasonCode.OVERFLOW)
            journal.candidates.append(Candidate(passed_over))
    return journal


TEXTS = (
    *("", "m", "l", "t", "b", "x", "a", "c", "mu", "é" * 40, "chunks", "queries", "snapshots", "journal"),
    *EntryKind,
    *("bad_proof", "overflow", "duplicate", "because"),
)


def changed_entry(draws: Draws, entry: JournalEntry, other: JournalEntry) -> JournalEntry:
    """Return an entry with other fields, of another one or of none."""
    changes: dict[str, object] = {}
    for _ in range(draws.pick((1, 1, 2, 3))):
        name = draws.pick(JournalEntry.__struct_fields__)
        value = getattr(entry, name)
        if draws.chance(3):
            changes[name] = getattr(other, name)
        elif isinstance(value, int):
            number = draws.pick((*WIRE_INTEGERS, value + 1, value - 1, 0, 1, 6, 12))
            changes[name] = min(max(number, -(2**63)), 2**64 - 1)
        elif isinstance(value, bytes):
            changes[name] = draws.pick((b"", bytes(32), draws.bytes(32), draws.up_to(40)))
        elif isinstance(value, tuple):
            changes[name] = draws.pick(((), (0,), (0, 0), (0, 0, 0), (0,) * 4, (7,), (-1, 0), (2**63,), (6,)))
        else:
            changes[name] = draws.pick(TEXTS)
    return msgspec.structs.replace(entry, **changes)


def rest_of(entry: JournalEntry) -> JournalEntry:
    """Return what of an entry the fold alone decides: what a model became is looked up elsewhere."""
    if entry.kind == EntryKind.ANSWERED:
        return msgspec.structs.replace(entry, result=b"")
    if entry.kind == EntryKind.LEARNT and not entry.reason:
        nowhere = {"partition": 0, "offset": 0, "message_hash": b"", "result": b""}
        return msgspec.structs.replace(entry, invalid=tuple(0 for _ in entry.invalid), **nowhere)
    if entry.kind == EntryKind.LEARNT:
        return msgspec.structs.replace(entry, reason="overflow")
    return entry


@pytest.mark.parametrize("tenant", [bayes_tenant, every_learner_tenant], ids=["one model", "every model"])
def test_any_signed_entry_is_folded_or_found(tenant: Callable[[Limits], SmallTenant]) -> None:
    draws, tally = Draws("audited"), Tally()
    journal = middle_of_a_journal(tenant(LIMITS))
    honest = [rest_of(entry) for entry in (*lessons(journal), *(c.entry for c in journal.candidates))]
    entries = [candidate.entry for candidate in journal.candidates]
    corpus = Corpus.of_msgpack([encode(entry) for entry in entries])
    kinds: set[str] = set()
    while tally.inputs < INPUTS:
        candidate = draws.pick(journal.candidates)
        entry = changed_entry(draws, candidate.entry, draws.pick(entries))
        if draws.chance(4):
            try:
                entry = decode(JournalEntry, corpus.mutant(draws)[0])
            except SchemaError:
                continue
        if not draws.chance(20):
            # Whoever does not continue the chain is not even read.
            chained = {"previous": candidate.entry.previous, "sequence": candidate.entry.sequence}
            entry = msgspec.structs.replace(entry, **chained)
        findings = Findings()
        auditor = journal.again(findings)

        tally.judge_call(
            partial(follow, auditor, entry, candidate), encode(entry), mutated=entry not in entries
        )
        judged = candidate.judged is not None or entry.kind in CLOSING
        if judged and rest_of(entry) not in honest:
            assert findings.found, entry
        if auditor.complete:
            kinds.add(entry.kind)
            assert auditor.unit.head != candidate.entry.previous
    tally.check()
    assert not tally.refused
    assert kinds >= {candidate.entry.kind for candidate in journal.candidates}


def lessons(journal: Journal) -> Iterator[JournalEntry]:
    """Yield what may be said of other numbers of chunks: which are learnt together is looked at elsewhere."""
    unit = journal.auditor.unit
    for model_id, kept in unit.models.items():
        for place, chunk in enumerate(kept.waiting, start=1):
            yield unit.decide_learnt(model_id, (0,) * place, SEALED)
            yield unit.decide_passed_over(model_id, chunk.sequence, ReasonCode.OVERFLOW)


def follow(auditor: Auditor, entry: JournalEntry, candidate: Candidate) -> bool:
    """Do what an audit does with an entry and what it names."""
    link = linked(entry)
    closed: Sequence[WaitingChunk] = ()
    if entry.kind == EntryKind.LEARNT:
        try:
            closed = auditor.unit.closed_chunks(entry)
        except (LocalProtocolError, KeyError):
            closed = ()
    else:
        receipts_due(entry, link.entry_id, 1, closed)
    if closed:
        assert len(receipts_due(entry, link.entry_id, 1, closed)) == len(entry.invalid)
    judged = None if entry.kind in CLOSING else candidate.judged
    auditor.fold(link, judged, named=candidate.withdrawn, learnt=candidate.learnt)
    for kept in auditor.unit.models.values():
        auditor.current_model(kept.learner.model_id)
        kept.head(auditor.tenant)
    return auditor.knows_all
