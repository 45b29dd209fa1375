"""Each safeguard taken out on purpose: an oracle must notice, or the oracles are worth nothing."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import pytest
from msgspec import structs
from simulation.acts import (
    another_past_without_replies,
    ask_and_renew,
    ask_off_the_plan,
    ask_otherwise,
    fork_the_journal,
    junk_for_su,
    kill_su,
    show_another_past,
)
from simulation.evidence import Evidence, WrongError
from simulation.oracles import check, salts_are_drawn_afresh
from simulation.schedules import Fault, Schedule, Trouble
from simulation.world import Act, NeverQuietError, simulate

from crypto import validation
from crypto.coins import Coins
from pipeline import configuration_desk, journal, journal_fold, mailbox, stored_message
from pipeline.chunk_desk import ChunkDesk
from pipeline.journal import Journal
from pipeline.journal_index_file import JournalMark
from pipeline.notices import Notices
from pipeline.secondary_service import SecondaryService
from pipeline.session_gate import SessionGate
from pipeline.session_ledger import Place, SessionLedger
from roles.arrival import Arrival
from roles.classifiers import logistic_regression, naive_bayes
from roles.classifiers.logistic_regression_shape import LogisticState
from roles.classifiers.logistic_regression_training import TrainingShape, WeightOverflowError, learn_master
from roles.enrolment import decide_configured
from roles.master_unit import MasterUnit
from roles.plan import Plan
from roles.roster import Change
from roles.secondary_unit import SecondaryUnit
from roles.session import Session
from schemas.codec import decode
from schemas.envelope import Envelope, open_envelope
from schemas.errors import WrongTenantError
from schemas.journal import JournalEntry
from schemas.topics import TopicName


def nothing(*given: object, **named: object) -> None:
    """Stand for a check that was taken out."""
    del given, named


async def nothing_later(*given: object, **named: object) -> None:
    """Stand for a check that was taken out and took time."""
    del given, named


original_coins = Session.coins
original_take = SecondaryService._take
original_decide_all = ChunkDesk._decide_all
original_apply = MasterUnit.apply
original_answer = SecondaryUnit._answer
original_learn = learn_master
original_decide_configured = decide_configured


def one_mask(self: Session, purpose: str, inputs: bytes = b"", hidden: bytes = b"") -> Coins:
    if purpose == "mask":
        return Coins.from_seed(self._seed, ("mask",))
    return original_coins(self, purpose, inputs, hidden)


def unbound_salt(self: Session, purpose: str, secret_inputs: bytes) -> bytes:
    del secret_inputs
    return Coins.from_seed(self._seed, (self.name, self.step, purpose)).bytes(16)


async def place_first(self: SecondaryService, item: Any, place: Place) -> Any:
    arrival = getattr(item, "arrival", item)
    behind = arrival.offset + 1
    self._ledger.set_places({arrival.partition: Place(behind, behind, place.replied)})
    # So that it reaches the disk.
    self._ledger.note(())
    return await original_take(self, item, place)


async def mark_first(self: Journal) -> None:
    staged, self._staged = self._staged, []
    unit = self.unit
    self._index.commit(JournalMark(unit.next_sequence - 1, unit.head, self._inbox.next_offset))
    for one in staged:
        await self._publisher.append(TopicName.JOURNAL, one.wires)
    await self._read_back(staged)


async def any_entry(transport: Any, tenant: Any, unit: MasterUnit, offset: int) -> AsyncIterator[Any]:
    topic = TopicName.JOURNAL
    end = await transport.end_offset(f"{tenant.name}.{topic}", 0)
    inbox = mailbox.Inbox(transport, tenant, topic, offset=offset)
    last = {}
    while inbox.next_offset < end:
        for arrival in await inbox.receive(0.0):
            assert isinstance(arrival, Arrival)
            entry = decode(JournalEntry, arrival.body)
            last[entry.sequence] = arrival, entry
    for sequence in sorted(last):
        arrival, entry = last[sequence]
        if sequence == unit.next_sequence:
            # Unlike the real one: whatever it names as the one before.
            linked = structs.replace(entry, previous=unit.head)
            yield journal_fold.StoredEntry(linked, arrival.message_hash, arrival.offset)


def of_any_tenant(data: bytes, topic: str, tenant: str, verify_key_of: Any) -> Envelope:
    try:
        return open_envelope(data, topic, tenant, verify_key_of)
    except WrongTenantError:
        return open_envelope(data, topic, "large", verify_key_of)


def unreduced(a: Any, b: Any, modulus: int) -> list[int]:
    del modulus
    return [x * y for x, y in zip(a, b, strict=True)]


async def last_come_first(self: ChunkDesk, screened: list[Any], failing: frozenset[int]) -> None:
    backwards = frozenset(len(screened) - 1 - position for position in failing)
    await original_decide_all(self, screened[::-1], backwards)


def answers_anything(self: SecondaryUnit, request: Any, request_hash: bytes, query: Any) -> Any:
    if request.step == 1:
        self._open.pop(request.session, None)
        self._finished.pop(request.session, None)
    return original_answer(self, request, request_hash, query)


def from_the_start(session: Any, secrets: Any, shape: TrainingShape, state: Any, *others: Any) -> Any:
    empty = LogisticState.empty(shape.model, "lr")
    return original_learn(session, secrets, shape, LogisticState(state.steps, empty.ciphertexts), *others)


def learns_anyway(session: Any, secrets: Any, shape: TrainingShape, state: Any, *others: Any) -> Any:
    try:
        return (yield from original_learn(session, secrets, shape, state, *others))
    except WeightOverflowError:
        return LogisticState(state.steps + len(shape.steps), state.ciphertexts)


@contextlib.asynccontextmanager
async def wide_open(self: SessionGate) -> AsyncIterator[None]:
    del self
    yield


def at_any_moment(unit: MasterUnit, arrival: Arrival, change: Change, judges_from: tuple[int, int]) -> Any:
    return original_decide_configured(unit, arrival, replace(change, renews=False), judges_from)


Patches = tuple[tuple[object, str, object], ...]


@dataclass(frozen=True)
class Mutant:
    """A safeguard taken out.

    Attributes:
        patches: What is replaced, and by what.
        schedule: A run that needs the safeguard.
        acts: What somebody does in it.
        noticed: Oracles of which one must notice; empty where the run never comes to an end.
    """

    patches: Patches
    schedule: Schedule
    noticed: tuple[str, ...]
    acts: tuple[Act, ...] = ()


def plainly(*offers: str, faults: tuple[Fault, ...] = (), first_contact: bool = False) -> Schedule:
    return Schedule(3, offers, faults, first_contact=first_contact, orderly=True)


def taught(*offers: str) -> Schedule:
    return Schedule(3, offers, orderly=True, taught=True)


MUTANTS = {
    "skips dedupe": Mutant(
        ((MasterUnit, "_refuse_repeated", nothing),), plainly("a0", "a1", "a0"), ("decisions",)
    ),
    "acts before it reads back": Mutant(
        ((Journal, "_read_back", nothing_later),),
        Schedule(3, ("b0", "query d"), (Fault("mu", 26, Trouble.USURPED),), 512),
        ("fold", "dead letters", "receipts"),
    ),
    "begins a key epoch while a query is open": Mutant(
        ((SessionGate, "closed", wide_open), (configuration_desk, "decide_configured", at_any_moment)),
        plainly("a0"),
        (),
        (ask_and_renew,),
    ),
    "uses one mask for two inputs": Mutant(
        ((Session, "coins", one_mask),), plainly("a0", "a1", "query c", "query d"), ("masks",)
    ),
    "SU notes a message as done before it is": Mutant(
        ((SecondaryService, "_take", place_first),),
        plainly("a0", faults=(Fault("su", 4, Trouble.DISK_CRASH_AFTER),)),
        ("dead letters",),
        (junk_for_su(),),
    ),
    "MU notes an entry as written before it is": Mutant(
        ((Journal, "commit", mark_first),), plainly("a0", faults=(Fault("mu", 1, Trouble.LOST),)), ()
    ),
    "does not look at the entry before": Mutant(
        ((journal, "chained_entries", any_entry), (journal_fold, "chained_entries", any_entry)),
        plainly("a0", "a1"),
        (),
        (fork_the_journal,),
    ),
    "answers another request under one step": Mutant(
        (
            (SecondaryService, "_refusal", lambda *given: ""),
            (SecondaryUnit, "_answer", answers_anything),
            (SessionLedger, "step", nothing),
            (SessionLedger, "record", nothing),
        ),
        plainly("a0", "query c"),
        ("replies",),
        (ask_otherwise,),
    ),
    "accepts another tenant's messages": Mutant(
        ((mailbox, "open_envelope", of_any_tenant), (stored_message, "open_envelope", of_any_tenant)),
        plainly("a0", "of another tenant"),
        ("decisions",),
    ),
    "does not reduce products": Mutant(
        ((naive_bayes, "products_pairwise", unreduced),), plainly("a0", "a1"), ("group",)
    ),
    "folds in another order than the topic's": Mutant(
        ((ChunkDesk, "_decide_all", last_come_first),),
        Schedule(1, ("a0", "a1", "a2", "b0", "b1"), (Fault("mu", 1, Trouble.SLOW),)),
        ("decisions",),
    ),
    "SU ignores the plan": Mutant(
        ((Plan, "check_request", nothing),),
        plainly("a0"),
        ("plan",),
        (ask_off_the_plan,),
    ),
    "does not look at the Jacobi symbol": Mutant(
        ((validation, "jacobi", lambda a, n: 1),), plainly("a0", "outside the group"), ("decisions",)
    ),
    "teaches the empty model every chunk": Mutant(
        ((logistic_regression, "learn_master", from_the_start),), taught("a0", "a1"), ("lessons",)
    ),
    "takes a chunk that overflowed for learnt": Mutant(
        ((logistic_regression, "learn_master", learns_anyway),), taught("a1", "a2"), ("lessons",)
    ),
    "tells nobody of lessons": Mutant(((Notices, "learnt", nothing_later),), taught("a0"), ("lessons",)),
}


def run(mutant: Mutant) -> None:
    check(simulate(mutant.schedule, *mutant.acts))


@pytest.mark.parametrize("name", MUTANTS)
def test_the_run_is_right_with_the_safeguard(name: str) -> None:
    run(MUTANTS[name])


@pytest.mark.parametrize("name", MUTANTS)
def test_an_oracle_notices_that_it_is_gone(name: str) -> None:
    mutant = MUTANTS[name]
    with contextlib.ExitStack() as stack:
        for place, attribute, other in mutant.patches:
            stack.enter_context(mock.patch.object(place, attribute, other))
        if not mutant.noticed:
            with pytest.raises(NeverQuietError):
                run(mutant)
            return
        with pytest.raises(WrongError) as noticed:
            run(mutant)
    assert noticed.value.oracle in mutant.noticed


def rolled_back(patch: Callable[[], contextlib.AbstractContextManager[object]]) -> Evidence:
    """Have SU answer two requests under one step: ledger and topics were taken back in between."""
    with patch():
        return Evidence(simulate(plainly("a0", "query c"), *another_past_without_replies()))


def test_a_coin_without_its_input_is_noticed() -> None:
    with_input = rolled_back(contextlib.nullcontext)
    with pytest.raises(WrongError, match="replies"):
        check(with_input.world)
    salts_are_drawn_afresh(with_input)
    without = rolled_back(lambda: mock.patch.object(Session, "salt", unbound_salt))
    with pytest.raises(WrongError, match="salts"):
        salts_are_drawn_afresh(without)


def test_su_without_its_ledger_stands_by_its_replies() -> None:
    world = simulate(plainly("a0", "query c"), show_another_past)
    check(world)
    assert world.lives["su"] == 2


def test_a_killed_su_still_refuses_another_request() -> None:
    check(simulate(plainly("a0", "query c"), kill_su, ask_otherwise))
