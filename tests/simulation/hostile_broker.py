"""A broker that does as it likes with what lies on its topics, while the units run."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from simulation.broker import put
from simulation.evidence import Evidence, WrongError, id_of
from simulation.offers import Offer, offers
from simulation.oracles import answers_hold_the_right_labels, opened_counts
from simulation.schedules import Schedule
from simulation.world import World, simulate_tampered

from roles.master_unit import MasterUnit
from schemas.journal import EntryKind
from schemas.topics import TOPICS, TopicName, topic_name

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


_ALWAYS_THERE = (TopicName.CHUNKS, TopicName.JOURNAL, TopicName.SNAPSHOTS)


class Harm(StrEnum):
    """What is done to a message."""

    DROP = "another one stands in its place"
    DUPLICATE = "it is there once more"
    REORDER = "it changes places with the one before"
    MODIFY = "a bit of it is changed"
    CUT = "its second half is missing"
    TRANSPLANT = "it is copied to another topic"
    ROLL_BACK = "it and all behind it are gone"
    REPLAY_FIRST = "the topic's first message comes again, as a stale snapshot or head would"


@dataclass(frozen=True, slots=True)
class Tampering:
    """Something done to a message.

    Attributes:
        at: When, in seconds.
        topic: Where.
        back: How far from the topic's end the message is.
        harm: What is done.
        other: Where it is copied to.
    """

    at: float
    topic: TopicName
    back: int
    harm: Harm
    other: TopicName = TopicName.CHUNKS

    def __repr__(self) -> str:
        places = (
            f"TopicName.{self.topic.name}, {self.back}, Harm.{self.harm.name}, TopicName.{self.other.name}"
        )
        return f"Tampering({self.at}, {places})"

    def do(self, world: World) -> None:
        """Do it, to the longest partition of the topic; nothing if there is no such message."""
        name = topic_name(world.home.tenant.name, self.topic)
        partitions = range(TOPICS[self.topic].partitions)
        number = max(partitions, key=lambda p: len(world.home.messages(self.topic, p)))
        target = world.home.broker.partition(name, number)
        place = len(target.messages) - 1 - self.back
        if place < 0:
            return
        world.tampered.append(str(self.harm))
        message = target.messages[place]
        value = message.value
        if self.harm is Harm.ROLL_BACK:
            del target.messages[place:]
        elif self.harm is Harm.DUPLICATE:
            put(world.home.broker, name, number, value)
        elif self.harm is Harm.REPLAY_FIRST:
            put(world.home.broker, name, number, target.messages[0].value)
        elif self.harm is Harm.TRANSPLANT:
            put(world.home.broker, topic_name(world.home.tenant.name, self.other), 0, value)
        elif self.harm is Harm.REORDER:
            if place:
                before = target.messages[place - 1]
                target.messages[place] = replace(message, value=before.value)
                target.messages[place - 1] = replace(before, value=value)
        else:
            changed = {
                Harm.DROP: b"something else",
                Harm.CUT: value[: len(value) // 2],
                Harm.MODIFY: value[:-9] + bytes([value[-9] ^ 1]) + value[-8:] if len(value) > 9 else b"",
            }[self.harm]
            target.messages[place] = replace(message, value=changed)


def tamperings() -> "SearchStrategy[tuple[Tampering, ...]]":
    """Return some things that a broker may do."""
    one = st.builds(
        Tampering,
        at=st.integers(5, 40).map(lambda tenths: tenths / 10),
        # Those that matter most come more often.
        topic=st.sampled_from((*_ALWAYS_THERE, *_ALWAYS_THERE, *TopicName)),
        back=st.integers(0, 2),
        harm=st.sampled_from(tuple(Harm)),
        other=st.sampled_from((TopicName.CHUNKS, TopicName.JOURNAL, TopicName.QUERIES, TopicName.SNAPSHOTS)),
    )
    return st.lists(one, min_size=1, max_size=4).map(tuple)


def run_tampered(schedule: Schedule, things: tuple[Tampering, ...]) -> World:
    """Run a schedule on such a broker, and see that no model is wrong; that a unit stops is fine."""

    def doing(thing: Tampering) -> Callable[[World], None]:
        return thing.do

    world = simulate_tampered(schedule, tuple((thing.at, doing(thing)) for thing in things))
    never_a_wrong_model(world)
    return world


def never_a_wrong_model(world: World) -> None:
    """Hold every state that somebody has against the offers that its journal accepts.

    Raises:
        WrongError: A model holds something else, or an answer a wrong label.
    """
    evidence = Evidence(world)
    known = {id_of(offer): offer for offer in offers(world.models).values() if offer.kind is EntryKind.ACCEPT}
    accepted: dict[tuple[str, int], Offer] = {}
    states: list[tuple[bytes, set[int]]] = []
    for entry, entry_id in evidence.chain:
        if entry.kind == EntryKind.ACCEPT:
            if entry.message_hash not in known or (entry.sender, entry.sender_sequence) in accepted:
                raise WrongError("hostile", "accepted what nobody offered, or twice")
            accepted[entry.sender, entry.sender_sequence] = known[entry.message_hash]
        elif entry.kind == EntryKind.WITHDRAW:
            accepted[entry.sender, entry.sender_sequence] = replace(
                accepted[entry.sender, entry.sender_sequence], values=()
            )
        states.append((entry_id, {value for offer in accepted.values() for value in offer.values}))
    values_at = dict(states)
    for unit in (world.folded, world.unit):
        if unit is not None and unit.head in values_at:
            _hold_against(world, unit, values_at[unit.head])
    with contextlib.suppress(KeyError):
        answers_hold_the_right_labels(evidence)


def _hold_against(world: World, unit: MasterUnit, values: set[int]) -> None:
    found = opened_counts(world, unit.models["m"].model)
    expected = [int(v in values and v % 2 == c) for v in range(len(found) // 2 - 1) for c in range(2)]
    if found[: len(expected)] != expected:
        raise WrongError("hostile", f"{found} instead of {expected}")
