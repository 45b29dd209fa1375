"""Bytes that somebody with write access to the topics may leave there, and the reason each is refused for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgpack
from doubles import seeded_coins
from integration.services import MODEL, House
from round_trips import random_records, replace_subject
from tenants import signing_key

from crypto.key_generation import generate_weak_key
from pipeline.rounds import PARTITIONS, partition_of
from roles.building_blocks.base_transfers import base_plan, base_subject
from roles.classifiers.learner import refresh_subject_of
from roles.client import make_query
from roles.data_owner import make_chunk
from roles.session import session_name
from roles.tenant import Tenant
from schemas.chunks import Chunk, EncodedVector, Withdrawal
from schemas.codec import MAX_MESSAGE_BYTES, WireStruct, encode
from schemas.envelope import seal_envelope
from schemas.queries import Query
from schemas.rounds import Reply, Request, Subject
from schemas.topics import TopicName


@dataclass(frozen=True, slots=True)
class Hostile:
    """One message.

    Attributes:
        name: What is wrong with it.
        value: The bytes put on the topic.
        reason: What they must be refused for.
        partition: Where they are put, if not where all the others are.
    """

    name: str
    value: bytes
    reason: str
    partition: int | None = None


def sealed(
    house: House,
    topic: TopicName,
    sender: str,
    body: bytes,
    *,
    kind: str = "chunk",
    sequence: int = 0,
    tenant: str = "small",
    epoch: int = 1,
    key: str = "",
) -> bytes:
    """Sign a body as a party, or with the key of another one."""
    signing = house.signing.get(key or sender) or signing_key(key or sender)
    return seal_envelope(
        tenant=tenant,
        topic=topic,
        sender=sender,
        key_epoch=epoch,
        sequence=sequence,
        kind=kind,
        body=body,
        signing_key=signing,
    )


def with_fields(struct: WireStruct, **changes: object) -> bytes:
    """Encode a struct with other fields."""
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return encode(type(struct)(**{**fields, **changes}))


def flipped(wire: bytes, position: int) -> bytes:
    """Return bytes with one bit changed."""
    changed = bytearray(wire)
    changed[position] ^= 1
    return bytes(changed)


def damaged(house: House, topic: TopicName, sender: str, wire: bytes, other: str) -> Iterator[Hostile]:
    """Make of a good message of a topic what transport and envelope must refuse on every topic.

    Args:
        house: The tenant.
        topic: Where the message belongs.
        sender: Who signed it.
        wire: The good message.
        other: Somebody of a role that does not write this topic.
    """
    signed, signature = msgpack.unpackb(wire)
    fields = msgpack.unpackb(signed)
    kind, body = fields[6], fields[9]

    def again(**changes: object) -> bytes:
        arguments: dict[str, object] = {"kind": kind, "sequence": fields[5], **changes}
        return sealed(house, topic, arguments.pop("sender", sender), body, **arguments)  # type: ignore[arg-type]

    def rewrapped(place: int, value: object) -> bytes:
        repacked: bytes = msgpack.packb([*fields[:place], value, *fields[place + 1 :]])
        outer: bytes = msgpack.packb([repacked, signature])
        return outer

    yield Hostile("nothing", b"", "malformed")
    yield Hostile("text", b"not a message", "malformed")
    yield Hostile("truncated", wire[:-10], "malformed")
    yield Hostile("half", wire[: len(wire) // 2], "malformed")
    yield Hostile("something behind", wire + b"\0", "malformed")
    yield Hostile("a bit of the body", flipped(wire, len(wire) // 2), "bad_signature")
    yield Hostile("a bit of the signature", flipped(wire, -1), "bad_signature")
    yield Hostile("oversized", bytes(MAX_MESSAGE_BYTES + 1), "too_large")
    yield Hostile("of another version", rewrapped(0, 2), "unsupported_version")
    yield Hostile("by nobody", again(sender="nobody"), "unknown_sender")
    yield Hostile("with another tenant's key", again(key="of another tenant"), "bad_signature")
    yield Hostile("of another tenant", again(tenant="large"), "wrong_tenant")
    yield Hostile("of another key epoch", again(epoch=2), "wrong_key_epoch")
    yield Hostile("from a role that does not write here", again(sender=other), "wrong_topic")
    for place in TopicName:
        if place != topic:
            moved = sealed(house, place, sender, body, kind=kind, sequence=fields[5])
            yield Hostile(f"signed for {place}", moved, "wrong_topic")


def hostile_chunks(house: House) -> Iterator[Hostile]:
    """Chunks and withdrawals as hostile owners may sign them; chunk 0 of ``a`` is in the model.

    Sequences are used once, from 1000 on, so that nothing is refused as a repetition.
    """
    tenant = house.tenant
    sequence = iter(range(1000, 2000))

    def chunk(owner: str, number: int, *, under: Tenant = tenant, records: int = 20) -> Chunk:
        batch = random_records(house.small, records, f"hostile {number}")
        return make_chunk(under, owner, number, batch, seeded_coins(f"hostile {number}"))

    def by(sender: str, body: bytes, number: int, kind: str = "chunk") -> bytes:
        return sealed(house, TopicName.CHUNKS, sender, body, kind=kind, sequence=number)

    good = house.messages(TopicName.CHUNKS)[0].value
    yield from damaged(house, TopicName.CHUNKS, "a", good, "c")
    yield Hostile("repeated", good, "duplicate")
    yield Hostile("another under a used number", by("a", encode(chunk("a", 0)), 0), "equivocation")
    number = next(sequence)
    yield Hostile("of b, signed by a", by("a", encode(chunk("b", number)), number), "bad_proof")
    number = next(sequence)
    yield Hostile("under another number", by("a", encode(chunk("a", number + 500)), number), "bad_proof")
    number = next(sequence)
    stranger = generate_weak_key(tenant.parameters, seeded_coins("stranger"))
    owner_keys = dict.fromkeys(tenant.owner_keys, stranger.public)
    foreign = replace(tenant, service_key=stranger.public, owner_keys=owner_keys)
    yield Hostile(
        "under another key", by("a", encode(chunk("a", number, under=foreign)), number), "bad_proof"
    )
    number = next(sequence)
    body = with_fields(chunk("a", number), schema_digest=bytes(32))
    yield Hostile("of another schema", by("a", body, number), "wrong_schema")
    for records in (0, 1001, 1 << 63):
        number = next(sequence)
        body = with_fields(chunk("a", number), records=records)
        yield Hostile(f"said to hold {records} records", by("a", body, number), "too_many_rows")
    whole = chunk("a", number)
    (vector,) = whole.vectors
    for name, vectors, reason in (
        ("without a vector", (), "malformed"),
        ("with two vectors", (vector, vector), "malformed"),
        ("of unknown encoding", (EncodedVector("words", vector.ciphertexts),), "malformed"),
        ("short of a byte", (EncodedVector("counts", vector.ciphertexts[:-1]),), "malformed"),
        ("of zeros", (EncodedVector("counts", bytes(len(vector.ciphertexts))),), "invalid_ciphertext"),
    ):
        number = next(sequence)
        yield Hostile(f"chunk {name}", by("a", with_fields(whole, vectors=vectors), number), reason)
    n_squared = tenant.parameters.n_squared
    width = tenant.parameters.component_bytes
    first = int.from_bytes(vector.ciphertexts[:width], "big")
    for name, component, reason in (
        ("N² and more", n_squared + 1, "invalid_ciphertext"),
        ("a multiple of a factor", tenant.parameters.n, "invalid_ciphertext"),
        ("negated", n_squared - first, "bad_proof"),
        ("shifted by one", first * (1 + tenant.parameters.n) % n_squared, "bad_proof"),
    ):
        number = next(sequence)
        data = component.to_bytes(width, "big") + vector.ciphertexts[width:]
        body = with_fields(whole, vectors=(EncodedVector("counts", data),))
        yield Hostile(f"T1 is {name}", by("a", body, number), reason)
    for name, proof in (("empty", b""), ("zero", bytes(len(whole.proof))), ("long", whole.proof + b"\0")):
        number = next(sequence)
        yield Hostile(f"proof {name}", by("a", with_fields(whole, proof=proof), number), "bad_proof")
    yield Hostile("of unknown kind", by("a", encode(whole), next(sequence), "gift"), "malformed")
    yield Hostile("a body that is no chunk", by("a", b"\x93\x01\x02\x03", next(sequence)), "malformed")
    for name, withdrawn in (("never there", 77), ("of somebody else", 0), ("beyond all", (1 << 64) - 1)):
        wire = by("b", encode(Withdrawal(withdrawn)), next(sequence), "withdrawal")
        yield Hostile(f"withdrawal of a chunk {name}", wire, "not_withdrawable")
    yield Hostile(
        "a withdrawal that is none", by("a", b"\x91\xc0", next(sequence), "withdrawal"), "malformed"
    )


def hostile_queries(house: House) -> Iterator[Hostile]:
    """Queries as hostile clients may sign them; the first one on the topic was answered."""

    def query(client: str, seed: str, rows: int = 2) -> Query:
        return make_query(house.learner(), client, house.records(rows, seed), seeded_coins(f"hostile {seed}"))

    def by(sender: str, body: bytes, kind: str = "query") -> bytes:
        return sealed(house, TopicName.QUERIES, sender, body, kind=kind)

    good = house.messages(TopicName.QUERIES)[0].value
    yield from damaged(house, TopicName.QUERIES, "c", good, "a")
    yield Hostile("repeated", good, "duplicate")
    body = msgpack.unpackb(msgpack.unpackb(good)[0])[-1]
    used = msgpack.unpackb(body)[0]
    yield Hostile(
        "another under a used id", by("c", with_fields(query("c", "used"), query_id=used)), "equivocation"
    )
    # What a thief would do: the same ciphertexts, in the thief's own name.
    yield Hostile("copied from c by d", by("d", body), "bad_proof")
    yield Hostile("copied from c by d, renamed", by("d", with_fields(query("c", "1"))), "bad_proof")
    fields: tuple[tuple[str, dict[str, object], str], ...] = (
        ("with a long id", {"query_id": bytes(17)}, "malformed"),
        ("without an id", {"query_id": b""}, "malformed"),
        ("to another model", {"model_id": "n"}, "unknown_model"),
        ("of another schema", {"schema_digest": bytes(32)}, "wrong_schema"),
        ("without rows", {"rows": 0}, "too_many_rows"),
        ("with too many rows", {"rows": 101}, "too_many_rows"),
        ("with more rows than sent", {"rows": 90}, "malformed"),
        ("without vectors", {"vectors": ()}, "malformed"),
        ("without ciphertexts", {"vectors": (EncodedVector("bits", b""),)}, "malformed"),
        ("in another encoding", {"vectors": (EncodedVector("words", b""),)}, "malformed"),
        ("without a proof", {"proof": b""}, "bad_proof"),
        ("with another id", {"query_id": bytes(16)}, "bad_proof"),
    )
    for seed, (name, changes, reason) in enumerate(fields):
        body = with_fields(query("c", f"field {seed}"), **changes)
        yield Hostile(f"query {name}", by("c", body), reason)
    yield Hostile("of unknown kind", by("c", encode(query("c", "kind")), "riddle"), "malformed")
    yield Hostile("a body that is no query", by("c", b"\x90"), "malformed")


def hostile_requests(house: House, good: bytes, request: Request, partition: int) -> Iterator[Hostile]:
    """Requests in MU's name, and others; `good` is the first step of a query session that was answered."""
    topic = TopicName.ROUND_REQUESTS

    def by(body: bytes, kind: str = "request", place: int = partition) -> bytes:
        return sealed(house, topic, "mu", house.sealed_round(topic, place, body), kind=kind)

    def about(name: str, subject: Subject, reason: str, **changes: object) -> Hostile:
        named = {"session": session_name(house.tenant, subject), "subject": subject, **changes}
        place = partition_of(subject)
        return Hostile(name, by(with_fields(request, **named), place=place), reason, place)

    yield from damaged(house, TopicName.ROUND_REQUESTS, "mu", good, "c")
    yield Hostile("a body that is no request", by(b"\x90"), "malformed")
    yield Hostile("not sealed", sealed(house, topic, "mu", encode(request), kind="request"), "bad_signature")
    yield Hostile("sealed for another partition", by(encode(request), place=partition + 1), "bad_signature")
    reply = house.sealed_round(TopicName.ROUND_REPLIES, partition, encode(request))
    yield Hostile("sealed as a reply", sealed(house, topic, "mu", reply, kind="request"), "bad_signature")
    yield Hostile("too short to be sealed", sealed(house, topic, "mu", bytes(27)), "bad_signature")
    fields: tuple[tuple[str, dict[str, object], str], ...] = (
        ("of no session", {"session": b""}, "malformed"),
        ("of step 0", {"step": 0}, "malformed"),
        ("of step −1", {"step": -1}, "malformed"),
        ("of a step beyond 63 bits", {"step": (1 << 64) - 1}, "malformed"),
        ("named after nothing", {"session": bytes(32)}, "conflicting_request"),
        ("with a section too few", {"sections": request.sections[:-1]}, "conflicting_request"),
        ("of a fourth step", {"step": 4}, "plan_violation"),
    )
    for name, changes, reason in fields:
        yield Hostile(f"request {name}", by(with_fields(request, **changes)), reason)
    other = replace_subject(request.subject, model_version=99)
    refreshed = refresh_subject_of(request.subject)
    yield about("the same query in another session", other, "conflicting_request")
    for place in ((1, 0), (0, 10**6), (-1, 0), (0, -1), (0, 1 << 63), (1 << 63, 0)):
        lost = replace_subject(request.subject, partition=place[0], offset=place[1])
        yield about(f"a query at {place}", lost, "plan_violation")
    for name, subject in (
        ("another client's query", replace_subject(request.subject, client="d")),
        ("a query of another id", replace_subject(request.subject, message_hash=bytes(32))),
        ("an unknown purpose", replace_subject(refreshed, purpose="gossip")),
        ("base transfers of a model", replace_subject(base_subject(), model_id=MODEL)),
        (
            "a lesson of a model that takes none",
            replace_subject(base_subject(), purpose="learn", model_id=MODEL),
        ),
    ):
        yield about(name, subject, "plan_violation")
    for name, subject in (
        ("a refresh without records", replace_subject(base_subject(), purpose="refresh", model_id=MODEL)),
        ("a refresh that no head speaks of", replace_subject(refreshed, records=refreshed.records + 1)),
        ("a refresh of another model", replace_subject(refreshed, model_hash=bytes(32))),
    ):
        yield about(name, subject, "unknown_head")
    strange = replace_subject(refreshed, model_id="n")
    yield about("an unknown model", strange, "unknown_model")
    plan = base_plan(house.tenant).digest
    yield about("base transfers once more, otherwise", base_subject(), "conflicting_request", plan=plan)
    elsewhere = (partition + 1) % len(PARTITIONS)
    moved = by(
        with_fields(request, session=session_name(house.tenant, other), subject=other), place=elsewhere
    )
    yield Hostile("on a partition that is not its subject's", moved, "plan_violation", elsewhere)


def hostile_replies(house: House, good: bytes, reply: Reply, partition: int) -> Iterator[Hostile]:
    """Replies in SU's name, and others; `good` is one that was given."""
    topic = TopicName.ROUND_REPLIES

    def by(body: bytes) -> bytes:
        return sealed(house, topic, "su", house.sealed_round(topic, partition, body), kind="reply")

    yield from damaged(house, topic, "su", good, "c")
    yield Hostile("a body that is no reply", by(b"\x90"), "malformed")
    texts = msgpack.packb([bytes(32), "1", bytes(32), "", []])
    yield Hostile("a reply with a text for a step", by(texts), "malformed")
    yield Hostile("not sealed", sealed(house, topic, "su", encode(reply), kind="reply"), "bad_signature")
    assert reply.sections
