"""Finding a message again by its place and id, whatever else lies on the topic."""

import pytest
from tenants import SmallTenant, small_tenant

from pipeline.memory_transport import MemoryTransport
from pipeline.stored_message import stored_message
from schemas.envelope import message_id
from schemas.parts import seal_parts, whole_id
from schemas.topics import TopicName, topic_specs

SMALL = small_tenant()


def sealed(body: bytes, sequence: int = 0, kind: str = "chunk", limit: int = 10) -> list[bytes]:
    return seal_parts(
        tenant="small",
        topic="chunks",
        sender="a",
        key_epoch=1,
        sequence=sequence,
        kind=kind,
        body=body,
        signing_key=SMALL.signing["owner"],
        limit=limit,
    )


def id_of(wires: list[bytes]) -> bytes:
    return whole_id([message_id(wire) for wire in wires])


async def laid(*wires: bytes) -> MemoryTransport:
    transport = MemoryTransport()
    await transport.create_topics(topic_specs("small"))
    for wire in wires:
        await transport.append("small.chunks", b"a", wire)
    return transport


async def found(
    transport: MemoryTransport, offset: int, message_hash: bytes, partition: int = 0
) -> bytes | None:
    tenant: SmallTenant = SMALL
    arrival = await stored_message(
        transport, tenant.tenant, TopicName.CHUNKS, partition, offset, message_hash
    )
    if arrival is not None:
        assert (arrival.offset, arrival.message_hash, arrival.sender) == (offset, message_hash, "a")
    return None if arrival is None else arrival.body


async def test_one_part() -> None:
    one, two = sealed(b"one"), sealed(b"two", 1)
    transport = await laid(*one, b"junk", *two)
    assert await found(transport, 0, id_of(one)) == b"one"
    assert await found(transport, 2, id_of(two)) == b"two"
    assert await found(transport, 0, id_of(two)) is None
    assert await found(transport, 1, id_of(two)) is None


@pytest.mark.parametrize("between", [0, 1, 31, 32, 33, 400])
async def test_parts_far_apart(between: int) -> None:
    body = bytes(range(35))
    first, *middle, last = sealed(body)
    other = [wire for i in range(between) for wire in sealed(b"other", i + 1)]
    transport = await laid(b"junk", first, *other, *middle, *other, last, *other)
    offset = 1 + 2 * len(other) + len(middle) + 1
    assert await found(transport, offset, id_of([first, *middle, last])) == body


async def test_parts_in_any_order_and_more_than_once() -> None:
    body = bytes(range(35))
    wires = sealed(body)
    transport = await laid(wires[2], wires[2], wires[3], wires[0], wires[2], wires[1], wires[1])
    for offset in (5, 6):
        assert await found(transport, offset, id_of(wires)) == body


async def test_other_parts_under_the_same_number_are_passed_over() -> None:
    body, other = bytes(range(35)), bytes(35)
    wires, forged = sealed(body), sealed(other)
    # An older group was given up; the group that counts began behind it.
    older = await laid(*forged[:3], *wires)
    assert await found(older, 6, id_of(wires)) == body
    # Bytes that came later under a number that had its own were refused.
    newer = await laid(wires[0], wires[1], forged[0], forged[1], wires[2], wires[3])
    assert await found(newer, 5, id_of(wires)) == body
    # Parts of another kind are of another message.
    kinds = await laid(*sealed(body, kind="withdrawal")[:2], *wires)
    assert await found(kinds, 5, id_of(wires)) == body


async def test_what_is_not_whole_is_not_there() -> None:
    wires = sealed(bytes(range(35)))
    transport = await laid(wires[0], wires[1], wires[3])
    assert await found(transport, 2, id_of(wires)) is None
    await transport.append("small.chunks", b"a", wires[2])
    assert await found(transport, 3, id_of(wires)) is not None
    await transport.trim("small.chunks", 0, 1)
    assert await found(transport, 3, id_of(wires)) is None


@pytest.mark.parametrize(
    ("partition", "offset"), [(0, 1), (0, -1), (0, 1 << 63), (-1, 0), (1, 0), (1 << 63, 0), (0, 1 << 64)]
)
async def test_no_place_that_a_peer_names_does_harm(partition: int, offset: int) -> None:
    one = sealed(b"one")
    transport = await laid(*one)
    assert await found(transport, offset, id_of(one), partition) is None
