"""Garbler and evaluator against plain bits, and what each refuses."""

from collections.abc import Callable

import numpy as np
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_garbling import TRANSCRIPT, Text, link, run_linked

from crypto.circuits import arithmetic, one_hot, selection
from crypto.circuits.circuit import Circuit
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.logarithm import log2
from crypto.counting import counting
from crypto.errors import LocalProtocolError, RemoteProtocolError
from crypto.garbling import GarblingStreams, colours, evaluate, garble, open_revealed, reply_salt, reveal
from crypto.garbling_engines import TABLE_BYTES, Evaluator, Garbler

SALT = bytes(range(16))


def popcount_and_halves(engine: Engine, x: Wires, y: Wires) -> Wires:
    halves = arithmetic.halve(engine, x, y), arithmetic.halve_difference(engine, x, y)
    return np.concatenate([arithmetic.popcount(engine, x), *halves])


def comparisons(engine: Engine, x: Wires, y: Wires) -> Wires:
    return np.stack(
        [
            selection.less_than(engine, x, y),
            selection.less_than_signed(engine, x, y),
            selection.equal(engine, x, y),
            selection.is_zero(engine, x),
        ]
    )


def argmax(engine: Engine, x: Wires, y: Wires) -> Wires:
    return np.concatenate(selection.argmax(engine, arithmetic.add(engine, x, y), 3))


def constants(engine: Engine, x: Wires, y: Wires) -> Wires:
    """Public constants may enter every operation."""
    ones = engine.constant(np.ones((3, 1), np.uint8))
    per_item = engine.constant(np.arange(engine.batch)[np.newaxis] % 2)
    product = engine.and_(engine.and_(ones, x), engine.xor(per_item, y))
    return engine.and_(engine.not_(product), engine.xor(engine.zeros_like(x), ones))


TEXTS: dict[str, tuple[Callable[..., Wires], tuple[tuple[int, ...], ...]]] = {
    "add": (arithmetic.add_with_carry, ((9,), (9,))),
    "subtract": (arithmetic.subtract, ((9,), (9,))),
    "negate": (arithmetic.negate, ((9,),)),
    "increment": (lambda engine, x, y: arithmetic.increment_if(engine, x, y[0]), ((5,), (1,))),
    "add_public": (lambda engine, x: arithmetic.add_public(engine, x, [12], 9), ((6,),)),
    "popcount_and_halves": (popcount_and_halves, ((7,), (7,))),
    "multiply": (arithmetic.multiply, ((4,), (6,))),
    "comparisons": (comparisons, ((9,), (9,))),
    "mux": (lambda engine, c, x, y: selection.mux(engine, c[0], x, y), ((1,), (4,), (4,))),
    "argmax": (argmax, ((5, 7), (5, 7))),
    "decode": (one_hot.decode, ((5,),)),
    "validity": (lambda engine, x: one_hot.is_valid_one_hot(engine, x, [2, 3, 4])[np.newaxis], ((9,),)),
    "log2": (lambda engine, x: log2(engine, x, 28, -3), ((19,),)),
    "constants": (constants, ((3,), (3,))),
}


def random_values(circuit: Circuit, batch: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {item.name: rng.integers(0, 2, (*item.shape, batch), np.uint8) for item in circuit.inputs()}


@pytest.mark.parametrize("batch", [1, 3, 130, 2100])
@pytest.mark.parametrize("name", TEXTS)
def test_garbled_agrees_with_plain(name: str, batch: int) -> None:
    circuit = Text(*TEXTS[name])
    values = random_values(circuit, batch, batch)
    for seen, expected in zip(
        run_linked(circuit, batch, values), circuit.evaluate_plain(batch, values), strict=True
    ):
        np.testing.assert_array_equal(seen, expected)


@given(name=st.sampled_from(sorted(TEXTS)), batch=st.integers(1, 70), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_garbled_agrees_with_plain_at_any_width(name: str, batch: int, seed: int) -> None:
    circuit = Text(*TEXTS[name])
    values = random_values(circuit, batch, seed)
    np.testing.assert_array_equal(
        run_linked(circuit, batch, values, seed)[0], circuit.evaluate_plain(batch, values)[0]
    )


def test_both_sides_count_the_announced_gates_and_bytes() -> None:
    circuit = Text(*TEXTS["argmax"])
    for batch in (1, 3, 130):
        pair = link(circuit, batch, random_values(circuit, batch, 1))
        with counting() as garbling:
            garbled = garble(
                circuit,
                batch,
                pair.rows_su,
                pair.bits_su,
                delta=pair.delta,
                streams=GarblingStreams(SALT, TRANSCRIPT),
            )
        with counting() as evaluating:
            evaluate(circuit, batch, pair.rows_mu, garbled.tables, GarblingStreams(SALT, TRANSCRIPT))
        gates = circuit.and_gates(batch)
        assert garbling.ands == evaluating.ands == gates
        assert len(garbled.tables) == TABLE_BYTES * gates
        assert (garbling.hashes, evaluating.hashes) == (4 * gates, 2 * gates)


def test_two_circuits_of_one_reply_share_streams() -> None:
    circuit = Text(*TEXTS["add"])
    pair = link(circuit, 5, random_values(circuit, 5, 1))
    su, mu = GarblingStreams(SALT, TRANSCRIPT), GarblingStreams(SALT, TRANSCRIPT)
    tables = []
    for _ in range(2):
        garbled = garble(circuit, 5, pair.rows_su, pair.bits_su, delta=pair.delta, streams=su)
        active = evaluate(circuit, 5, pair.rows_mu, garbled.tables, mu)
        tables.append(garbled.tables)
        (value,) = open_revealed(active, reveal(garbled.outputs))
        np.testing.assert_array_equal(value, circuit.evaluate_plain(5, random_values(circuit, 5, 1))[0])
    assert tables[0] != tables[1]


def test_tables_of_another_length_are_the_peers_fault() -> None:
    circuit = Text(*TEXTS["add"])
    pair = link(circuit, 3, random_values(circuit, 3, 1))
    tables = garble(
        circuit,
        3,
        pair.rows_su,
        pair.bits_su,
        delta=pair.delta,
        streams=GarblingStreams(SALT, TRANSCRIPT),
    ).tables
    for wrong in (b"", tables[:-1], tables[:-TABLE_BYTES], tables + bytes(TABLE_BYTES)):
        with pytest.raises(RemoteProtocolError):
            evaluate(circuit, 3, pair.rows_mu, wrong, GarblingStreams(SALT, TRANSCRIPT))
    engine = Evaluator(1, GarblingStreams(SALT, TRANSCRIPT), bytes(TABLE_BYTES))
    with pytest.raises(RemoteProtocolError):
        engine.finish()
    labels = np.ones((2, 1, 2), np.uint64)
    with pytest.raises(RemoteProtocolError):
        engine.and_(labels, labels)
    with pytest.raises(RemoteProtocolError):
        Evaluator(1, GarblingStreams(SALT, TRANSCRIPT), bytes(TABLE_BYTES - 1))


def test_delta_with_an_even_low_bit_is_refused() -> None:
    for delta in (bytes(16), b"\x02" + b"\xff" * 15, b"\x01" * 15, b"\x01" * 17):
        with pytest.raises(LocalProtocolError):
            Garbler(1, delta, GarblingStreams(SALT, TRANSCRIPT), 1)
    Garbler(1, b"\x01" + bytes(15), GarblingStreams(SALT, TRANSCRIPT), 1)


def test_the_garbler_holds_the_circuit_to_its_count() -> None:
    engine = Garbler(1, b"\x01" * 16, GarblingStreams(SALT, TRANSCRIPT), 1)
    labels = np.ones((2, 1, 2), np.uint64)
    with pytest.raises(LocalProtocolError):
        engine.and_(labels, labels)
    with pytest.raises(LocalProtocolError):
        engine.tables()


def test_inputs_are_checked() -> None:
    circuit = Text(*TEXTS["mux"])
    values = random_values(circuit, 3, 1)
    pair = link(circuit, 3, values)
    streams = GarblingStreams(SALT, TRANSCRIPT)

    def attempt(rows: np.ndarray, bits: dict[str, np.ndarray]) -> None:
        with pytest.raises(LocalProtocolError):
            garble(circuit, 3, rows, bits, delta=pair.delta, streams=streams)

    good = dict(pair.bits_su)
    attempt(pair.rows_su[:-1], good)
    attempt(pair.rows_su, {"x1": good["x1"]})
    attempt(pair.rows_su, good | {"x0": values["x0"]})
    attempt(pair.rows_su, good | {"x1": good["x1"][:, :2]})
    attempt(pair.rows_su, good | {"x1": good["x1"] + np.uint8(2)})
    attempt(pair.rows_su, good | {"x1": good["x1"].astype(np.int64)})
    with pytest.raises(LocalProtocolError):
        circuit.choices(3, {"x0": values["x0"]})


def test_revealed_colours_are_checked() -> None:
    labels = (np.ones((3, 3, 2), np.uint64), np.zeros((1, 2, 2), np.uint64))
    encoded = reveal(labels)
    assert len(encoded) == 2
    first, second = open_revealed(labels, encoded)
    assert (first.shape, second.shape) == ((3, 3), (1, 2))
    assert not first.any()
    assert not second.any()
    for wrong in (encoded[:1], encoded + b"\0", encoded[:1] + bytes([encoded[1] | 0x80])):
        with pytest.raises(RemoteProtocolError):
            open_revealed(labels, wrong)
    np.testing.assert_array_equal(colours(labels[0]), np.ones((3, 3)))


def test_what_is_revealed_depends_on_colours_alone() -> None:
    labels = seeded_coins("labels").blocks(40).reshape(4, 10, 2)
    others = seeded_coins("others").blocks(40).reshape(4, 10, 2)
    others[..., 0] ^= (others[..., 0] ^ labels[..., 0]) & np.uint64(1)
    assert reveal((labels,)) == reveal((others,))
    assert len(reveal((labels,))) == 5


def test_digest_names_text_and_parameters() -> None:
    first = selection.NaiveBayesArgmax((2, 3), 2, 16, 8)
    others = [
        selection.NaiveBayesArgmax((3, 2), 2, 16, 8),
        selection.NaiveBayesArgmax((2, 3), 3, 16, 8),
        selection.NaiveBayesArgmax((2, 3), 2, 8, 16),
    ]
    digests = {circuit.digest() for circuit in [first, *others]}
    assert len(digests) == 4
    assert first.digest() == selection.NaiveBayesArgmax((2, 3), 2, 16, 8).digest()


def test_salt_depends_on_everything() -> None:
    def salt(
        seed: bytes = b"s" * 32,
        label: tuple[str | int, ...] = ("v1", 2),
        request: bytes = b"r",
        secret: bytes = b"x",
    ) -> bytes:
        return reply_salt(seed, label, request, secret)

    variants = [
        salt(),
        salt(seed=b"t" * 32),
        salt(label=("v1", 3)),
        salt(label=("v12",)),
        salt(request=b"q"),
        salt(secret=b"y"),
        salt(request=b"rx", secret=b""),
    ]
    assert len(set(variants)) == len(variants)
    assert {len(variant) for variant in variants} == {16}
    assert salt() == salt()


def test_secrets_do_not_print_or_travel() -> None:
    circuit = Text(*TEXTS["add"])
    pair = link(circuit, 3, random_values(circuit, 3, 1))
    streams = GarblingStreams(SALT, TRANSCRIPT)
    garbled = garble(circuit, 3, pair.rows_su, pair.bits_su, delta=pair.delta, streams=streams)
    assert repr(garbled) == "Garbled()"
    engine = Garbler(3, seeded_coins(1).bytes(15).join([b"\x01", b""]), streams, 0)
    assert repr(engine) == "Garbler(batch=3)"
    for secret in (engine, streams):
        with pytest.raises(TypeError):
            secret.__reduce__()
