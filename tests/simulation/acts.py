"""What somebody with access to the topics, or to a unit's host, does once all is quiet."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from integration.hostile import sealed
from integration.services import wire_body
from msgspec import structs
from simulation.offers import offers
from simulation.world import Act, World

from pipeline.rounds import MAX_BODY_BYTES, partition_of, place_of_round
from roles.building_blocks.base_transfers import base_master, base_plan, base_subject
from roles.session import Session
from schemas.codec import decode, encode
from schemas.journal import EntryKind
from schemas.rounds import Request
from schemas.topics import TOPICS, TopicName


async def ask_otherwise(world: World) -> None:
    """Ask SU the first step of a refresh once more, in MU's name, with another transfer message."""
    partition, _, request = first_refresh(world)
    put_request(world, partition, request, otherwise(request))


async def show_another_past(world: World) -> None:
    """Take SU's ledger back to its beginning, and show it another first step of the refresh."""
    partition, offset, request = first_refresh(world)
    put_request(world, partition, request, otherwise(request))
    messages = world.home.messages(TopicName.ROUND_REQUESTS, partition)
    messages[offset] = replace(messages.pop(), offset=offset)
    process = world.current("su")
    process.disk.files.clear()
    process.die()


def another_past_without_replies() -> tuple[Act, Act]:
    """Return acts that do the same while SU's replies are hidden from it as well, and show them again."""
    hidden: list[tuple[int, bytes]] = []

    async def show(world: World) -> None:
        partition, _, _ = first_refresh(world)
        replies = world.home.messages(TopicName.ROUND_REPLIES, partition)
        hidden.extend((partition, reply.value) for reply in replies)
        replies.clear()
        await show_another_past(world)

    async def show_again(world: World) -> None:
        for partition, reply in hidden:
            world.put(TopicName.ROUND_REPLIES, reply, partition)

    return show, show_again


def first_refresh(world: World) -> tuple[int, int, Request]:
    """Return the first request of a refresh, with partition and offset."""
    return next(found for found in requests(world) if found[2].subject.purpose == "refresh")


def otherwise(request: Request) -> tuple[bytes, ...]:
    """Return the fields of a request with one bit of the transfer message changed."""
    *others, last = request.sections
    return (*others, bytes([last[0] ^ 1]) + last[1:])


async def ask_off_the_plan(world: World) -> None:
    """Ask SU for base transfers, in MU's name, with a longer field than the plan has."""
    tenant = world.home.tenant
    plan, subject = base_plan(tenant), base_subject()
    session = Session(tenant, "mu", bytes(32), subject, plan)
    key, choices = next(base_master(session, world.home.small.master.sender.delta))
    request = Request(session.name, subject, plan.digest, 1, (key, choices))
    put_request(world, partition_of(subject), request, (b"\0" + key, choices))


async def fork_the_journal(world: World) -> None:
    """Put an entry of MU's on the journal that follows another one than the last, and kill MU."""
    last, _ = world.chain()[-1]
    other = structs.replace(last, previous=bytes(32), kind=EntryKind.REJECT, reason="malformed", records=0)
    topic = TopicName.JOURNAL
    world.put(topic, sealed(world.home, topic, "mu", encode(other), kind="entry", sequence=other.sequence))
    world.current("mu").die()


async def kill_su(world: World) -> None:
    """Kill SU."""
    world.current("su").die()


async def ask_and_renew(world: World) -> None:
    """Begin a key epoch as soon as MU has accepted a query."""
    for name in ("query c", "renew"):
        offer = offers(world.models)[name]
        world.put(offer.topic, offer.wire)
        while True:
            await asyncio.sleep(0.01)
            if any(entry.kind == EntryKind.QUERY for entry, _ in world.chain()):
                break


def junk_for_su(topic: TopicName = TopicName.ROUND_REQUESTS) -> Act:
    """Return an act that puts something unreadable where SU reads."""

    async def act(world: World) -> None:
        world.put(topic, b"not a message", 3)

    return act


def requests(world: World) -> Iterator[tuple[int, int, Request]]:
    """Yield every request on its topic, unsealed, with partition and offset."""
    for partition in range(TOPICS[TopicName.ROUND_REQUESTS].partitions):
        for message in world.home.messages(TopicName.ROUND_REQUESTS, partition):
            place = place_of_round(TopicName.ROUND_REQUESTS, partition)
            body = world.home.channel.open(wire_body(message.value), *place)
            yield partition, message.offset, decode(Request, body, MAX_BODY_BYTES)


def put_request(world: World, partition: int, request: Request, sections: tuple[bytes, ...]) -> None:
    """Put a request with other sections on its topic, signed and sealed as MU."""
    changed = Request(request.session, request.subject, request.plan, request.step, sections)
    topic = TopicName.ROUND_REQUESTS
    body = world.home.sealed_round(topic, partition, encode(changed))
    world.put(topic, sealed(world.home, topic, "mu", body, kind="request"), partition)
