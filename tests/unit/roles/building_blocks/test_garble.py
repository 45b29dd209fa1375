"""Garble: both units' halves against the circuit itself on plain bits."""

import numpy as np
import numpy.typing as npt
import pytest
from doubles import seeded_coins
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_blocks import Pair, pair
from tenants import small_tenant

from crypto.circuits.circuit import Circuit, Owner
from crypto.circuits.logarithm import NaiveBayesTable
from crypto.circuits.selection import NaiveBayesArgmax
from crypto.errors import LocalProtocolError, RemoteProtocolError
from roles.building_blocks.garble import evaluate_garbled, garble_reply, garbled_sections

SMALL = small_tenant()
Bits = npt.NDArray[np.uint8]

ARGMAX = NaiveBayesArgmax((3, 2), classes=3, score_bits=12, label_bits=4)
TABLE = NaiveBayesTable(count_bits=5, constants=(256, 512, 0), output_bits=32, zero_value=-(1 << 30))


def run(
    circuit: Circuit, batch: int, values: dict[str, Bits], name: int | str
) -> tuple[tuple[Bits, ...], Pair]:
    """Share the inputs, run both halves, and return what MU reads."""
    both = pair(SMALL, name)
    coins = seeded_coins(f"shares {name}")
    mu, su = {}, {}
    for item in circuit.inputs():
        if item.owner is Owner.SHARED:
            su[item.name] = coins.bits(values[item.name].shape)
            mu[item.name] = values[item.name] ^ su[item.name]
        elif item.owner is Owner.EVALUATOR:
            mu[item.name] = values[item.name]
        else:
            su[item.name] = values[item.name]
    received, sent = both.choices_of_mu(circuit.choices(batch, mu))
    reply = garble_reply(both.su, circuit, batch, sent, su, SMALL.secondary.sender.delta)
    outputs = sum(int(np.prod(o.shape[:-1])) for o in circuit.evaluate_plain(batch, values))
    sizes = tuple(section.size for section in garbled_sections(circuit, batch, outputs))
    assert tuple(len(section) for section in reply) == sizes
    assert sent.remaining == 0
    return evaluate_garbled(both.mu, circuit, batch, received, reply), both


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([ARGMAX, TABLE]), st.integers(1, 4), st.integers(0, 1 << 30))
def test_mu_reads_what_the_circuit_says(circuit: Circuit, batch: int, seed: int) -> None:
    batch = len(TABLE.constants) if circuit is TABLE else batch
    coins = seeded_coins(seed)
    values = {item.name: coins.bits((*item.shape, batch)) for item in circuit.inputs()}
    read, _ = run(circuit, batch, values, seed)
    for found, expected in zip(read, circuit.evaluate_plain(batch, values), strict=True):
        assert (found == expected).all()


def test_the_same_inputs_at_the_same_place_are_the_same_bytes_and_others_are_not() -> None:
    coins = seeded_coins("again")
    values = {item.name: coins.bits((*item.shape, 2)) for item in ARGMAX.inputs() if item.name != "scores_mu"}
    replies = []
    for flip in (0, 0, 1):
        both = pair(SMALL, "again")
        _, sent = both.choices_of_mu(np.zeros(ARGMAX.choice_count(2), dtype=np.uint8))
        inputs = {**values, "mask": values["mask"] ^ np.uint8(flip)}
        replies.append(garble_reply(both.su, ARGMAX, 2, sent, inputs, SMALL.secondary.sender.delta))
    assert replies[0] == replies[1]
    assert replies[0][0] != replies[2][0]
    assert replies[0][1] != replies[2][1]


def test_a_reply_with_padding_bits_or_of_another_length_is_refused() -> None:
    both = pair(SMALL, "padding")
    received, sent = both.choices_of_mu(np.zeros(ARGMAX.choice_count(1), dtype=np.uint8))
    inputs = {
        item.name: np.zeros((*item.shape, 1), dtype=np.uint8)
        for item in ARGMAX.inputs()
        if item.owner is not Owner.EVALUATOR
    }
    salt, tables, colours = garble_reply(both.su, ARGMAX, 1, sent, inputs, SMALL.secondary.sender.delta)
    with pytest.raises(RemoteProtocolError):
        evaluate_garbled(both.mu, ARGMAX, 1, received, (salt, tables[:-32], colours))
    # A failed attempt has spent MU's rows; the session ends with it.
    with pytest.raises(LocalProtocolError):
        evaluate_garbled(both.mu, ARGMAX, 1, received, (salt, tables, colours))
    fresh, _ = pair(SMALL, "padding").choices_of_mu(np.zeros(ARGMAX.choice_count(1), dtype=np.uint8))
    with pytest.raises(RemoteProtocolError):
        evaluate_garbled(both.mu, ARGMAX, 1, fresh, (salt, tables, bytes([colours[0] | 0x80])))
