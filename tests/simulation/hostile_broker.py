"""A broker that does as it likes with what lies on its topics, while the units run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from integration.hostile import sealed
from simulation.broker import put
from simulation.evidence import Evidence, WrongError, id_of
from simulation.offers import Offer, offers, records
from simulation.oracles import given_labels, opened_counts, versions_after
from simulation.schedules import Schedule
from simulation.world import World, simulate_tampered

from crypto.errors import SchemaError
from roles.master_unit import MasterUnit
from schemas.envelope import open_envelope
from schemas.journal import GENESIS, EntryKind, JournalEntry
from schemas.topics import TOPICS, TopicName, topic_name

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


ROLL_BACK_SECONDS = 1.0
_ALWAYS_THERE = (TopicName.CHUNKS, TopicName.JOURNAL, TopicName.SNAPSHOTS)


class Harm(StrEnum):
    """What is done to a message."""

    DROP = "another one stands in its place"
    DUPLICATE = "it is there once more"
    REORDER = "it changes places with the one before"
    MODIFY = "a bit of it is changed"
    CUT = "its second half is missing"
    TRANSPLANT = "it is copied to another topic"
    OF_ANOTHER_TENANT = "it comes again as its sender signed it for another tenant"
    ROLL_BACK = "it and all behind it are gone"
    ROLL_BACK_ALL = "a second later all topics end again where they do now"
    TRUNCATE = "all before it are gone"
    REPLAY_FIRST = "the topic's first message comes again"
    STALE_SNAPSHOT = "the first snapshot stands where the last one stood"
    FORK = "one unit goes on with a branch of the topic from there"


@dataclass(frozen=True, slots=True)
class Tampering:
    """Something done to a message.

    Attributes:
        at: When, in seconds.
        topic: Where.
        back: How far from the topic's end the message is.
        harm: What is done.
        other: Where it is copied to.
        role: Which unit has a branch of its own.
    """

    at: float
    topic: TopicName
    back: int
    harm: Harm
    other: TopicName = TopicName.CHUNKS
    role: str = "mu"

    def __repr__(self) -> str:
        places = (
            f"TopicName.{self.topic.name}, {self.back}, Harm.{self.harm.name}, TopicName.{self.other.name}"
        )
        return f"Tampering({self.at}, {places}, {self.role!r})"

    def do(self, world: World) -> None:
        """Do it, to the longest partition of the topic; nothing if there is no such message."""
        topic = TopicName.SNAPSHOTS if self.harm is Harm.STALE_SNAPSHOT else self.topic
        name = topic_name(world.home.tenant.name, topic)
        partitions = range(TOPICS[topic].partitions)
        number = max(partitions, key=lambda p: len(world.home.messages(topic, p)))
        target = world.home.broker.partition(name, number)
        place = len(target.messages) - 1 - self.back
        if place < 0 or (place == 0 and self.harm in _NEED_ONE_BEFORE):
            return
        message = target.messages[place]
        again: bytes | None = None
        match self.harm:
            case Harm.DUPLICATE:
                again = message.value
            case Harm.REPLAY_FIRST:
                again = target.messages[0].value
            case Harm.OF_ANOTHER_TENANT:
                again = _of_another_tenant(world, topic, message.value)
                if again is None:
                    return
            case Harm.TRANSPLANT:
                put(world.home.broker, topic_name(world.home.tenant.name, self.other), 0, message.value)
            case Harm.ROLL_BACK:
                del target.messages[place:]
            case Harm.ROLL_BACK_ALL:
                world.loop.call_later(ROLL_BACK_SECONDS, _cut, world, _ends(world))
            case Harm.TRUNCATE:
                target.first = message.offset
                del target.messages[:place]
            case Harm.FORK:
                world.views[self.role].fork(name, self.back)
            case Harm.STALE_SNAPSHOT:
                target.messages[-1] = replace(target.messages[-1], value=target.messages[0].value)
            case Harm.REORDER:
                before = target.messages[place - 1]
                target.messages[place] = replace(message, value=before.value)
                target.messages[place - 1] = replace(before, value=message.value)
            case _:
                target.messages[place] = replace(message, value=_spoilt(self.harm, message.value))
        if again is not None:
            put(world.home.broker, name, number, again)
        world.tampered.append(self.harm)


_NEED_ONE_BEFORE = frozenset({Harm.REORDER, Harm.TRUNCATE, Harm.STALE_SNAPSHOT})


def _spoilt(harm: Harm, value: bytes) -> bytes:
    """Return what stands in the place of a message that is dropped, cut or changed."""
    if harm is Harm.DROP:
        return b"something else"
    if harm is Harm.CUT:
        return value[: len(value) // 2]
    return value[:-9] + bytes([value[-9] ^ 1]) + value[-8:] if len(value) > 9 else b""


def _of_another_tenant(world: World, topic: TopicName, value: bytes) -> bytes | None:
    """Return the message that its sender would have signed for another tenant; None if it is none."""
    tenant = world.home.tenant
    try:
        was = open_envelope(value, topic, tenant.name, tenant.verifying.get)
    except SchemaError:
        return None
    return sealed(
        world.home, topic, was.sender, was.body, kind=was.kind, sequence=was.sequence, tenant="large"
    )


def _ends(world: World) -> dict[tuple[str, int], int]:
    """Return how many messages lie on each partition that all see."""
    broker = world.home.broker
    return {
        (name, number): len(partition.messages)
        for name in broker.names()
        for number, partition in enumerate(broker.partitions(name))
    }


def _cut(world: World, ends: dict[tuple[str, int], int]) -> None:
    """Let all partitions end where they did."""
    for (name, number), end in ends.items():
        del world.home.broker.partition(name, number).messages[end:]


def tamperings(harm: Harm) -> "SearchStrategy[tuple[Tampering, ...]]":
    """Return some things that a broker may do, of which one does a certain harm."""
    # It needs a message, so that it comes late and to a topic that has some.
    certain = _tampering(st.just(harm), topics=_ALWAYS_THERE, earliest=20)
    others = st.lists(_tampering(st.sampled_from(tuple(Harm))), max_size=3)
    return st.builds(lambda one, more: (one, *more), certain, others)


def _tampering(
    harm: "SearchStrategy[Harm]", *, topics: tuple[TopicName, ...] = (), earliest: int = 5
) -> "SearchStrategy[Tampering]":
    return st.builds(
        Tampering,
        at=st.integers(earliest, 40).map(lambda tenths: tenths / 10),
        # Those that matter most come more often.
        topic=st.sampled_from((*_ALWAYS_THERE, *_ALWAYS_THERE, *(topics or TopicName))),
        back=st.integers(0, 2),
        harm=harm,
        other=st.sampled_from((TopicName.CHUNKS, TopicName.JOURNAL, TopicName.QUERIES, TopicName.SNAPSHOTS)),
        role=st.sampled_from(("mu", "mu", "su")),
    )


def run_tampered(schedule: Schedule, things: tuple[Tampering, ...]) -> World:
    """Run a schedule on such a broker, and see that no model is wrong; that a unit stops is fine."""

    def doing(thing: Tampering) -> Callable[[World], None]:
        return thing.do

    world = simulate_tampered(schedule, tuple((thing.at, doing(thing)) for thing in things))
    never_a_wrong_model(world)
    return world


def never_a_wrong_model(world: World) -> None:
    """Hold every state that somebody has against the offers that the entries up to its head accept.

    Raises:
        WrongError: A model holds something else, or an answer a wrong label.
    """
    written = world.written()
    for unit in (world.folded, world.unit):
        if unit is not None:
            _hold_against(world, unit, _values(world, _entries_to(unit.head, written)))
    _answers_are_right(world, written)


def _answers_are_right(world: World, written: dict[bytes, JournalEntry]) -> None:
    """Hold every answer against the entry that accepted its query, or one of them on two branches."""
    for offer, answer, labels in given_labels(Evidence(world)):
        assert offer.query is not None
        accepting = [
            entry_id
            for entry_id, entry in written.items()
            if (entry.kind, entry.message_hash, entry.model_version)
            == (EntryKind.QUERY, id_of(offer), answer.model_version)
        ]
        which = offer.query.model_id, answer.model_version
        histories = (_entries_to(entry_id, written) for entry_id in accepting)
        versions = [versions_after(world, history)[which] for history in histories]
        if labels not in [version.predict(records(offer.values)).tolist() for version in versions]:
            raise WrongError("hostile", f"{offer.name} got {labels}")


def _entries_to(head: bytes, written: dict[bytes, JournalEntry]) -> list[JournalEntry]:
    """Return the entries from the first one to a head, whatever became of them on the topics."""
    entries = []
    while head != GENESIS:
        if head not in written:
            raise WrongError("hostile", "somebody took for MU's entry what MU did not write")
        entries.append(written[head])
        head = entries[-1].previous
    return entries[::-1]


def _values(world: World, entries: list[JournalEntry]) -> set[int]:
    """Return the feature values of all records that entries accept."""
    known = {id_of(offer): offer for offer in offers(world.models).values() if offer.kind is EntryKind.ACCEPT}
    accepted: dict[tuple[str, int], Offer] = {}
    for entry in entries:
        place = entry.sender, entry.sender_sequence
        if entry.kind == EntryKind.ACCEPT:
            if entry.message_hash not in known or place in accepted:
                raise WrongError("hostile", "accepted what nobody offered, or twice")
            accepted[place] = known[entry.message_hash]
        elif entry.kind == EntryKind.WITHDRAW:
            accepted[place] = replace(accepted[place], values=())
    return {value for offer in accepted.values() for value in offer.values}


def _hold_against(world: World, unit: MasterUnit, values: set[int]) -> None:
    found = opened_counts(world, unit.models["m"].model)
    expected = [int(v in values and v % 2 == c) for v in range(len(found) // 2 - 1) for c in range(2)]
    if found[: len(expected)] != expected:
        raise WrongError("hostile", f"{found} instead of {expected}")
