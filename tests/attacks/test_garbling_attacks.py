"""Two replies to one request: with equal salts their tables give Δ, with proper salts nothing.

SU answers the same request twice (a restored backup, a rotated seed, another build), over the
same rows of the transfer extension, with some difference in its secret inputs or its circuit.
MU, who has both replies, looks for relations among the table rows.
"""

from collections.abc import Mapping

import numpy as np
from doubles import seeded_coins
from linked_garbling import TRANSCRIPT, Link, Text, link

from crypto.block_hash import BlockHash, Blocks
from crypto.circuits import arithmetic, selection
from crypto.circuits.circuit import Circuit
from crypto.circuits.engine import Bits, Engine, Wires
from crypto.garbling import GarblingStreams, colours, garble, reply_salt

BATCH = 40
SHARED_SALT = bytes(range(16))
REQUEST = b"the request, byte for byte"


def lower(engine: Engine, mine: Wires, shared: Wires, yours: Wires) -> Wires:
    return selection.mux(engine, selection.less_than(engine, mine, shared), shared, yours)


def sum_of_all(engine: Engine, mine: Wires, shared: Wires, yours: Wires) -> Wires:
    return arithmetic.add(engine, arithmetic.add(engine, mine, shared), yours)


SHAPES = ((4,), (4,), (4,))
COMPARE = Text(lower, SHAPES)
SUM = Text(sum_of_all, SHAPES)


def request() -> tuple[Link, dict[str, Bits]]:
    """Return one request's rows and MU's secret bits."""
    coins = seeded_coins("request")
    values = {item.name: coins.bits((*item.shape, BATCH)) for item in COMPARE.inputs()}
    return link(COMPARE, BATCH, values, "link"), values


def flipped(bits: Mapping[str, Bits], name: str) -> dict[str, Bits]:
    """Return other secret inputs of SU: one bit of one item differs."""
    changed = {key: value.copy() for key, value in bits.items()}
    changed[name][0, 0] ^= 1
    return changed


def reply(circuit: Circuit, pair: Link, bits: Mapping[str, Bits], salt: bytes) -> Blocks:
    """Return SU's table rows, shape (rows, 2)."""
    garbled = garble(
        circuit,
        BATCH,
        pair.rows_su,
        bits,
        delta=pair.delta,
        streams=GarblingStreams(salt, TRANSCRIPT),
    )
    return np.frombuffer(garbled.tables, dtype=np.uint64).reshape(-1, 2)


def derived_salt(seed: bytes, circuit: Circuit, bits: Mapping[str, Bits]) -> bytes:
    secret = b"".join(name.encode() + bits[name].tobytes() for name in sorted(bits))
    return reply_salt(seed, ("privml/1", circuit.digest(), "session", 1), REQUEST, secret)


def relations(first: Blocks, second: Blocks, delta: Blocks) -> int:
    """Count pairs of rows, one of each reply, whose XOR is 0 or Δ."""
    total = 0
    for offset in (np.zeros(2, np.uint64), delta):
        wanted = {row.tobytes() for row in first ^ offset}
        total += sum(row.tobytes() in wanted for row in second)
    return total


def test_equal_salts_give_delta_and_then_every_value() -> None:
    pair, values = request()
    first = reply(COMPARE, pair, pair.bits_su, SHARED_SALT)
    second = reply(COMPARE, pair, flipped(pair.bits_su, "x1"), SHARED_SALT)
    # The flipped share exchanges the labels of one operand: T_G ⊕ T_G' = p_b·Δ ⊕ p_b'·Δ = Δ,
    # in the same place. MU sees it without knowing Δ: it is the most frequent non-zero difference.
    differences = first ^ second
    different = differences[differences.any(axis=1)]
    rows, seen = np.unique(different, axis=0, return_counts=True)
    candidate = rows[seen.argmax()]
    np.testing.assert_array_equal(candidate, pair.offset())
    # With Δ, MU hashes both labels of the first operand, and T_G tells the second one's permute
    # bit, hence its value, which neither unit may know: here the lowest bit of the shared word.
    gates = np.arange(BATCH)
    first_operand, second_operand = pair.rows_mu[gates], pair.rows_mu[4 * BATCH + gates]
    hashes = BlockHash("garble", SHARED_SALT, TRANSCRIPT)
    both = hashes.hash_reserved(np.stack([first_operand, first_operand ^ candidate]), hashes.reserve(BATCH))
    permute = (first[gates] ^ both[0] ^ both[1]).any(axis=1)
    np.testing.assert_array_equal(permute ^ colours(second_operand), values["x1"][0])


def test_equal_salts_give_delta_through_an_input_of_su_alone() -> None:
    pair, _ = request()
    first = reply(COMPARE, pair, pair.bits_su, SHARED_SALT)
    second = reply(COMPARE, pair, flipped(pair.bits_su, "x2"), SHARED_SALT)
    differences = first ^ second
    assert (differences == pair.offset()).all(axis=1).any()


def test_equal_salts_relate_two_circuits() -> None:
    pair, _ = request()
    first = reply(COMPARE, pair, pair.bits_su, SHARED_SALT)
    second = reply(SUM, pair, pair.bits_su, SHARED_SALT)
    # Both begin with x0_0 ∧ x1_0 (once with x0 inverted): the same labels under the same tweak.
    assert relations(first, second, pair.offset()) > 0


def test_derived_salts_leave_no_relation() -> None:
    pair, _ = request()
    seeds = b"a" * 32, b"b" * 32
    other = flipped(pair.bits_su, "x1"), flipped(pair.bits_su, "x2")
    answers = [
        (seeds[0], COMPARE, pair.bits_su),
        (seeds[1], COMPARE, pair.bits_su),
        (seeds[0], COMPARE, other[0]),
        (seeds[0], COMPARE, other[1]),
        (seeds[0], SUM, pair.bits_su),
        (seeds[1], SUM, other[0]),
    ]
    replies = [
        reply(circuit, pair, bits, derived_salt(seed, circuit, bits)) for seed, circuit, bits in answers
    ]
    for index, first in enumerate(replies):
        for second in replies[index + 1 :]:
            assert relations(first, second, pair.offset()) == 0


def test_the_same_answer_is_the_same_bytes() -> None:
    pair, _ = request()
    salt = derived_salt(b"a" * 32, COMPARE, pair.bits_su)
    np.testing.assert_array_equal(
        reply(COMPARE, pair, pair.bits_su, salt), reply(COMPARE, pair, pair.bits_su, salt)
    )


def test_within_one_reply_no_rows_are_related() -> None:
    pair, _ = request()
    rows = reply(COMPARE, pair, pair.bits_su, SHARED_SALT)
    assert len({row.tobytes() for row in rows} | {row.tobytes() for row in rows ^ pair.offset()}) == 2 * len(
        rows
    )
