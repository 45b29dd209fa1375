"""Envelopes and parts: whoever writes to a topic, holding a signing key or not."""

from dataclasses import dataclass, field
from functools import partial

import msgpack
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fuzz.drawing import Draws
from fuzz.mutants import Corpus, mutate_bytes, mutate_header, mutate_tree, noise
from fuzz.verdicts import INPUTS, Tally
from tenants import signing_key

from schemas.codec import MAX_MESSAGE_BYTES, decode, encode
from schemas.envelope import MAX_PARTS, Envelope, VerifyingParty, open_envelope, seal_envelope, signed_text
from schemas.errors import EquivocationError
from schemas.parts import Offered, PartAssembler, whole_id
from schemas.reasons import ReasonCode
from schemas.topics import Role

ROLES = {"a": Role.OWNER, "b": Role.OWNER, "c": Role.CLIENT, "mu": Role.MU, "su": Role.SU}
KEYS = {name: signing_key(f"fuzz {name}") for name in ROLES}
PARTIES = {name: VerifyingParty(name, role, KEYS[name].public_key(), 1) for name, role in ROLES.items()}
WRITES = {"a": "chunks", "b": "chunks", "c": "queries", "mu": "journal", "su": "rounds.replies"}
TENANT = "small"


def good_fields(draws: Draws) -> list[object]:
    sender = draws.pick(list(ROLES))
    part, parts = draws.pick(((0, 1), (0, 1), (1, 2), (255, 256)))
    body = draws.up_to(120)
    return [1, TENANT, WRITES[sender], sender, 1, draws.below(40), "kind", part, parts, body]


def sign(signed: bytes, key: Ed25519PrivateKey) -> bytes:
    wire: bytes = msgpack.packb([signed, key.sign(signed_text(signed))])
    return wire


@dataclass(slots=True)
class Post:
    """Messages as anybody may leave them, from outsiders to enrolled parties who sign nonsense."""

    draws: Draws
    signed: Corpus = field(init=False)
    wires: Corpus = field(init=False)

    def __post_init__(self) -> None:
        self.signed = Corpus.of_msgpack([msgpack.packb(good_fields(self.draws)) for _ in range(64)])
        senders = [str(tree[3]) for tree in self.signed.trees]
        wires = [sign(signed, KEYS[name]) for signed, name in zip(self.signed.messages, senders, strict=True)]
        self.wires = Corpus.of_msgpack(wires)

    def message(self) -> tuple[bytes, bool]:
        """Return bytes, and whether they are a valid message, changed."""
        draws = self.draws
        match draws.below(16):
            case 0:
                return noise(draws), False
            case 1:
                return draws.pick(self.wires.messages), False
            case 2:
                # Nonsense, but signed.
                return sign(noise(draws), KEYS[draws.pick(list(KEYS))]), False
            case 3 | 4 | 5 | 6 | 7 | 8:
                return self.wires.mutant(draws)
            case 9 | 10:
                # The signature of one message on another.
                at, to = draws.below(64), draws.below(64)
                return msgpack.packb([self.signed.messages[at], self.wires.trees[to][1]]), at != to
            case _:
                index = draws.below(64)
                tree, good = self.signed.trees[index], self.signed.messages[index]
                match draws.below(4):
                    case 0:
                        changed = mutate_bytes(draws, good, draws.pick(self.signed.messages))
                    case 1:
                        changed = mutate_header(draws, good)
                    case _:
                        changed = msgpack.packb(mutate_tree(draws, tree, draws.pick(self.signed.trees)))
                return sign(changed, KEYS[tree[3]]), changed != good


def test_any_bytes_are_an_envelope_or_a_reason() -> None:
    draws, tally = Draws("envelopes"), Tally()
    post = Post(draws)
    topics = sorted({*WRITES.values(), "answers"})
    for _ in range(INPUTS):
        data, mutated = post.message()
        named = next((topic for topic in topics if topic.encode() in data), "chunks")
        topic = draws.pick(topics) if draws.chance(8) else named
        tenant = TENANT if not draws.chance(20) else "large"
        tally.judge_call(
            partial(open_envelope, data, topic, tenant, PARTIES.get),
            data,
            mutated=mutated,
            again=sealed_again,
            # The reader knows the topic's name; an error may say it.
            known=topic.encode(),
        )
    before_the_body = {"malformed", "unsupported_version", "unknown_sender", "wrong_topic", "bad_signature"}
    tally.check(reasons=before_the_body | {"wrong_tenant", "wrong_key_epoch"})
    # A changed message was accepted only where the sender itself signed the change.
    assert tally.accepted > 1000


def sealed_again(envelope: Envelope) -> bytes:
    fields = {
        name: getattr(envelope, name) for name in Envelope.__struct_fields__ if name != "format_version"
    }
    return seal_envelope(**fields, signing_key=KEYS[envelope.sender])


def test_sizes_around_the_limit() -> None:
    tally = Tally()
    good = seal_envelope(
        tenant=TENANT, topic="chunks", sender="a", key_epoch=1, sequence=0, kind="kind",
        body=bytes(MAX_MESSAGE_BYTES - 500), signing_key=KEYS["a"],
    )  # fmt: skip
    for size in (len(good) - 1, len(good), len(good) + 1, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1, 1 << 26):
        data = good[:size] + bytes(max(0, size - len(good)))
        changed = size != len(good)
        tally.judge(
            lambda d: open_envelope(d, "chunks", TENANT, PARTIES.get), data, mutated=changed, secret=b""
        )
    assert (tally.accepted, tally.refused) == (1, {"malformed": 3, "too_large": 2})


# --- parts

BUDGET = 1500
GROUPS = 3


@dataclass(slots=True)
class Reference:
    """What an assembler may hold at most, and what each whole must be made of."""

    first: dict[tuple[str, str, int], dict[int, Envelope]] = field(default_factory=dict)

    def watch(self, envelope: Envelope, offered: Offered, assembler: PartAssembler) -> None:
        """Hold what came of a part against the parts that were accepted before."""
        key = (envelope.topic, envelope.sender, envelope.sequence)
        for dropped in offered.dropped:
            gone = self.first.pop((dropped.topic, dropped.sender, dropped.sequence))
            assert (len(gone), dropped.reason) == (dropped.parts_seen, ReasonCode.INCOMPLETE_PARTS)
        if envelope.parts > 1:
            self.first.setdefault(key, {}).setdefault(envelope.part, envelope)
        if offered.whole is not None:
            parts = self.first.pop(key) if envelope.parts > 1 else {0: envelope}
            ordered = [parts[i] for i in range(envelope.parts)]
            assert offered.whole.body == b"".join(part.body for part in ordered)
            assert offered.whole.message_id == whole_id([part.message_id() for part in ordered])
            assert offered.whole.envelope == ordered[0]
        held = sum(len(part.body) for group in self.first.values() for part in group.values())
        assert assembler.bytes_held == held <= BUDGET
        assert (assembler.oldest_mark is None) == (not self.first)
        for sender in ROLES:
            assert sum(key[1] == sender for key in self.first) <= GROUPS


def parts_of(draws: Draws) -> list[Envelope]:
    """Return the parts of one message, in any order."""
    sender, sequence = draws.pick(("a", "b", "c")), draws.below(6)
    count = draws.pick((1, 2, 3, 5, 20))
    limit = draws.pick((0, 1, 30, 300))
    parts = [
        Envelope(1, TENANT, WRITES[sender], sender, 1, sequence, "kind", i, count, draws.up_to(limit))
        for i in range(count)
    ]
    for i in range(count - 1, 0, -1 if draws.chance(2) else -count):
        j = draws.below(i + 1)
        parts[i], parts[j] = parts[j], parts[i]
    return parts


def changed_part(draws: Draws, part: Envelope) -> Envelope:
    """Return a part that says something else; still one that its sender may sign."""
    fields = {name: getattr(part, name) for name in Envelope.__struct_fields__}
    parts = draws.pick((1, 2, 3, 255, MAX_PARTS))
    changes: tuple[dict[str, object], ...] = (
        {"body": draws.up_to(300)},
        {"body": bytes(BUDGET)},
        {"body": bytes(BUDGET + 1)},
        {"body": b""},
        {"parts": parts, "part": draws.below(parts)},
        {"part": draws.below(part.parts)},
        {"kind": "other"},
        {"sender": "b"},
        {"sequence": draws.pick((0, 2**63 - 1, draws.below(9)))},
    )
    changed = Envelope(**{**fields, **draws.pick(changes)})
    return decode(Envelope, encode(changed))


def test_parts_in_any_order_are_their_message_or_a_reason() -> None:
    draws, tally = Draws("parts"), Tally()
    wholes = 0
    while tally.inputs < INPUTS:
        assembler, reference = PartAssembler(BUDGET, GROUPS), Reference()
        waiting = [parts_of(draws) for _ in range(4)]
        for mark in range(60):
            source = draws.pick(waiting)
            part = source.pop() if len(source) > 1 and not draws.chance(6) else draws.pick(source)
            if mutated := not draws.chance(3):
                part, original = changed_part(draws, part), part
                mutated = part != original
            whole = offer(tally, assembler, reference, part, mark, mutated=mutated)
            wholes += whole
            if draws.chance(10):
                waiting[draws.below(4)] = parts_of(draws)
    tally.check(reasons=["equivocation", "too_large"])
    assert wholes > 1000


def offer(
    tally: Tally, assembler: PartAssembler, reference: Reference, part: Envelope, mark: int, *, mutated: bool
) -> bool:
    offered = tally.judge(lambda _: assembler.offer(part, mark), part.body, mutated=mutated, secret=part.body)
    if offered is None:
        # A group that alone is too large takes others of its sender with it.
        kept = assembler._groups.keys()
        reference.first = {key: group for key, group in reference.first.items() if key in kept}
        assert assembler.bytes_held <= BUDGET
        return False
    reference.watch(part, offered, assembler)
    return offered.whole is not None


def test_a_refused_part_leaves_its_group_whole() -> None:
    draws = Draws("second thoughts")
    refused = 0
    for _ in range(400):
        parts = parts_of(draws)
        assembler = PartAssembler(1 << 20, GROUPS)
        for number, part in enumerate(parts):
            offered = assembler.offer(part)
            for earlier in parts[: number + 1] if offered.whole is None else ():
                other = msgspec.structs.replace(earlier, body=earlier.body + b"x")
                with pytest.raises(EquivocationError):
                    assembler.offer(other)
                assert assembler.offer(earlier) == Offered()
                refused += 1
        assert offered.whole is not None
        assert offered.whole.body == b"".join(part.body for part in sorted(parts, key=lambda p: p.part))
    assert refused > 1000
