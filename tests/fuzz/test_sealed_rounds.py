"""Sealed bodies on the rounds topics: the broker may change, cut, move and mix them as it likes."""

from dataclasses import dataclass, field, replace
from functools import partial

import msgspec
import pytest
from fuzz.drawing import Draws
from fuzz.mutants import Corpus, mutate_bytes, noise
from fuzz.verdicts import INPUTS, Tally
from fuzz.wire_values import draw_struct
from tenants import exchange_secret, small_tenant

from crypto.unit_channel import OVERHEAD_BYTES, UnitChannel, UnsealedError
from pipeline.rounds import open_round, place_of_round
from roles.arrival import Arrival
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys, unit_channel
from schemas.codec import encode
from schemas.rounds import Reply, Request
from schemas.topics import TOPICS, TopicName

REQUESTS, REPLIES = TopicName.ROUND_REQUESTS, TopicName.ROUND_REPLIES
PARTITIONS = TOPICS[REQUESTS].partitions
MESSAGES = 48
Round = Request | Reply
KINDS: dict[TopicName, type[Request] | type[Reply]] = {REQUESTS: Request, REPLIES: Reply}


def channel_of(role: str, secret: str | None = None, tenant: Tenant | None = None) -> UnitChannel:
    """Return a unit's end of the channel, with another secret or in another tenant if asked for."""
    keys = UnitKeys(1, bytes(32), bytes(16), exchange_secret(secret or role), None, lambda _: None)
    return unit_channel(tenant or small_tenant().tenant, role, keys)


def arrived(topic: TopicName, partition: int, body: bytes) -> Arrival:
    return Arrival(topic, partition, 0, bytes(32), "mu", 0, "request", body)


@dataclass(slots=True)
class Sealed:
    """What one unit sealed for the other: a request or a reply at its place."""

    kind: type[Request] | type[Reply]
    topic: TopicName
    partition: int
    plain: bytes
    body: bytes


@dataclass(slots=True)
class Wire:
    """Honest rounds of both units, and what comes of them on the way.

    Attributes:
        draws: Choices.
        master: MU's end.
        secondary: SU's end.
        rounds: Honest ones.
    """

    draws: Draws
    master: UnitChannel = field(default_factory=lambda: channel_of("mu"))
    secondary: UnitChannel = field(default_factory=lambda: channel_of("su"))
    rounds: list[Sealed] = field(init=False)
    plain: dict[type[Request] | type[Reply], Corpus] = field(init=False)

    def __post_init__(self) -> None:
        kinds: tuple[type[Request] | type[Reply], ...] = (Request, Reply)
        drawn = {k: [encode(draw_struct(self.draws, k)) for _ in range(MESSAGES)] for k in kinds}
        self.plain = {kind: Corpus.of_msgpack(messages) for kind, messages in drawn.items()}
        self.rounds = [
            self.sealed(kind, self.draws.below(PARTITIONS), plain)
            for kind in kinds
            for plain in self.plain[kind].messages
        ]

    def sealed(self, kind: type[Request] | type[Reply], partition: int, plain: bytes) -> Sealed:
        """Seal a body as its unit does."""
        topic, own = (REQUESTS, self.master) if kind is Request else (REPLIES, self.secondary)
        body = own.seal(plain, *place_of_round(topic, partition))
        return Sealed(kind, topic, partition, plain, body)

    def reader(self, topic: TopicName) -> UnitChannel:
        """Return the end that reads a topic."""
        return self.secondary if topic is REQUESTS else self.master

    def delivered(self) -> tuple[Sealed, TopicName, int, bytes]:
        """Return an honest round, and what the broker makes of it: topic, partition and body."""
        draws = self.draws
        good, other = draws.pick(self.rounds), draws.pick(self.rounds)
        topic, partition, body = good.topic, good.partition, good.body
        match draws.below(10):
            case 0:
                body = draws.pick((noise(draws), draws.bytes(len(body)), b"", good.plain))
            case 1 | 2 | 3:
                body = mutate_bytes(draws, body, other.body)
            case 4:
                body = body[: draws.below(len(body) + 1)]
            case 5:
                # Nonce, body and tag of two messages of one unit.
                cut = draws.pick((12, len(body) - 16, OVERHEAD_BYTES))
                body = body[:cut] + other.body[cut:]
            case 6:
                partition = draws.below(PARTITIONS)
            case 7:
                topic = other.topic
            case 8:
                # Whole messages of other places.
                body = other.body
            case _:
                pass
        return good, topic, partition, body


def test_only_what_the_peer_sealed_for_a_place_is_read_there() -> None:
    draws, tally = Draws("sealed rounds"), Tally()
    wire = Wire(draws)
    honest = {(sealed.topic, sealed.partition, sealed.body): sealed for sealed in wire.rounds}
    for _ in range(INPUTS):
        good, topic, partition, body = wire.delivered()
        kind = KINDS[topic]
        arrival = arrived(topic, partition, body)
        changed = (topic, partition, body) != (good.topic, good.partition, good.body)
        opened = tally.judge_call(
            partial(open_round, wire.reader(topic), kind, arrival), body, mutated=changed, secret=good.plain
        )
        sealed = honest.get((topic, partition, body))
        assert (opened is None) == (sealed is None)
        if opened is not None and sealed is not None:
            assert encode(opened) == sealed.plain
    tally.check(reasons=["bad_signature"])
    # Nobody without the key gets as far as the decoder.
    assert set(tally.refused) == {"bad_signature"}
    assert tally.accepted > 1000


def test_whatever_the_peer_seals_is_a_round_or_a_reason() -> None:
    draws, tally = Draws("sealed nonsense"), Tally()
    wire = Wire(draws)
    for _ in range(INPUTS):
        kind = KINDS[draws.pick((REQUESTS, REPLIES))]
        if draws.chance(12):
            plain, mutated = noise(draws), False
        else:
            plain, mutated = wire.plain[kind].mutant(draws)
        sealed = wire.sealed(kind, draws.below(PARTITIONS), plain)
        arrival = arrived(sealed.topic, sealed.partition, sealed.body)
        reader = wire.reader(sealed.topic)
        opened: Round | None = tally.judge_call(
            partial(open_round, reader, kind, arrival), plain, mutated=mutated, again=encode
        )
        if opened is not None:
            # A unit that starts again seals the same bytes.
            assert reader.seal(encode(opened), *place_of_round(sealed.topic, sealed.partition)) == sealed.body
    tally.check(reasons=["malformed"])
    assert "bad_signature" not in tally.refused


def test_every_bit_and_every_byte_of_a_sealed_body_counts() -> None:
    wire = Wire(Draws("bits"))
    for sealed in (wire.rounds[0], wire.rounds[-1]):
        reader = wire.reader(sealed.topic)
        assert open_round(reader, sealed.kind, arrived(sealed.topic, sealed.partition, sealed.body))
        for bit in range(8 * len(sealed.body)):
            body = bytearray(sealed.body)
            body[bit // 8] ^= 1 << bit % 8
            with pytest.raises(UnsealedError):
                open_round(reader, sealed.kind, arrived(sealed.topic, sealed.partition, bytes(body)))
        for size in range(len(sealed.body)):
            for part in (sealed.body[:size], sealed.body[-size:] if size else b""):
                with pytest.raises(UnsealedError):
                    open_round(reader, sealed.kind, arrived(sealed.topic, sealed.partition, part))
        for topic in (REQUESTS, REPLIES):
            for partition in range(PARTITIONS):
                if (topic, partition) != (sealed.topic, sealed.partition):
                    with pytest.raises(UnsealedError):
                        open_round(reader, sealed.kind, arrived(topic, partition, sealed.body))


def test_other_pairs_of_units_read_nothing() -> None:
    wire = Wire(Draws("pairs"))
    tenant = small_tenant().tenant
    strangers = [
        channel_of("su", "somebody"),
        *(
            channel_of("su", tenant=elsewhere(tenant, **changes))
            for changes in ({"tenant": "other"}, {"key_epoch": 2})
        ),
    ]
    for sealed in wire.rounds[:MESSAGES]:
        assert sealed.topic is REQUESTS
        arrival = arrived(sealed.topic, sealed.partition, sealed.body)
        assert encode(open_round(channel_of("su"), Request, arrival)) == sealed.plain
        for stranger in strangers:
            with pytest.raises(UnsealedError):
                open_round(stranger, Request, arrival)


def elsewhere(original: Tenant, **changes: object) -> Tenant:
    """Return the same parties in another tenant or key epoch."""
    return replace(original, configuration=msgspec.structs.replace(original.configuration, **changes))
