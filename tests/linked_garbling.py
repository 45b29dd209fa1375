"""A garbler and an evaluator linked in memory, for tests of circuits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from doubles import seeded_coins

from crypto.block_hash import Blocks
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Bits, Engine, Wires
from crypto.coins import digest
from crypto.garbling import GarblingStreams, colours, evaluate, garble, open_revealed, reveal

TRANSCRIPT = bytes(32)


@dataclass(frozen=True)
class Text(Circuit):
    """A function on wires as a circuit: its inputs take turns between the three kinds of owner."""

    function: Callable[..., Wires]
    shapes: tuple[tuple[int, ...], ...]

    def inputs(self) -> tuple[Input, ...]:
        owners = list(Owner)
        return tuple(Input(f"x{k}", owners[k % 3], shape) for k, shape in enumerate(self.shapes))

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        return (self.function(engine, *wires),)

    def digest(self) -> bytes:
        return digest("test circuit", self.function.__qualname__, self.shapes)


@dataclass(frozen=True)
class Link:
    """Everything that both units hold for one garbling."""

    delta: bytes
    rows_su: Blocks
    rows_mu: Blocks
    bits_su: Mapping[str, Bits]

    def offset(self) -> Blocks:
        return np.frombuffer(self.delta, dtype=np.uint64)


def link(circuit: Circuit, batch: int, values: Mapping[str, Bits], seed: int | str = 0) -> Link:
    """Share the values as the circuit's owners say and make rows t = q ⊕ b·Δ."""
    coins = seeded_coins(seed)
    raw = bytearray(coins.bytes(16))
    raw[0] |= 1
    mu, su = {}, {}
    for item in circuit.inputs():
        value = values[item.name]
        if item.owner is Owner.SHARED:
            su[item.name] = coins.bits(value.shape)
            mu[item.name] = value ^ su[item.name]
        elif item.owner is Owner.EVALUATOR:
            mu[item.name] = value
        else:
            su[item.name] = value
    choices = circuit.choices(batch, mu)
    rows = coins.blocks(len(choices))
    delta = np.frombuffer(bytes(raw), dtype=np.uint64)
    active = rows ^ (np.where(choices[:, np.newaxis] == 1, delta, np.uint64(0)))
    return Link(bytes(raw), rows, active, su)


def run_linked(circuit: Circuit, batch: int, values: Mapping[str, Bits], seed: int = 0) -> tuple[Bits, ...]:
    """Garble and evaluate, and check both ways of output against each other."""
    pair = link(circuit, batch, values, seed)
    salt = seeded_coins(f"salt {seed}").bytes(16)
    garbled = garble(
        circuit,
        batch,
        pair.rows_su,
        pair.bits_su,
        delta=pair.delta,
        streams=GarblingStreams(salt, TRANSCRIPT),
    )
    active = evaluate(circuit, batch, pair.rows_mu, garbled.tables, GarblingStreams(salt, TRANSCRIPT))
    for zero, label in zip(garbled.outputs, active, strict=True):
        difference = zero ^ label
        is_delta = (difference == pair.offset()).all(axis=-1)
        assert (is_delta | (difference == 0).all(axis=-1)).all()
    opened = open_revealed(active, reveal(garbled.outputs))
    for value, zero, label in zip(opened, garbled.outputs, active, strict=True):
        np.testing.assert_array_equal(value, colours(zero) ^ colours(label))
    return opened


def to_bits(values: npt.ArrayLike, width: int) -> Bits:
    """Return integers as little-endian bits, shape (width, *values.shape); negative ones wrap."""
    array = np.asarray(values, dtype=np.int64)
    shifts = np.arange(width).reshape(-1, *[1] * array.ndim)
    return ((array[np.newaxis] >> shifts) & 1).astype(np.uint8)


def to_integers(bits: Bits) -> npt.NDArray[np.int64]:
    """Return little-endian bits as unsigned integers."""
    weights = (1 << np.arange(len(bits), dtype=np.int64)).reshape(-1, *[1] * (bits.ndim - 1))
    return np.asarray((bits.astype(np.int64) * weights).sum(axis=0))
