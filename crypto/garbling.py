"""Garble a circuit at SU, evaluate it at MU, and what may be shown of its outputs.

All inputs come without bytes: labels are rows of the transfer extension or are expanded from the
reply's salt. So SU's reply holds the tables, 32 bytes per AND gate, the salt, and one colour bit
for every output that MU may read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crypto.block_hash import SALT_BYTES, Blocks
from crypto.circuits.circuit import Circuit, Owner, checked_bits
from crypto.circuits.engine import Bits
from crypto.coins import Field, xof
from crypto.errors import LocalProtocolError, RemoteProtocolError
from crypto.garbling_engines import TABLE_BYTES, Evaluator, Garbler, GarblingStreams

__all__ = [
    "Garbled",
    "GarblingStreams",
    "colours",
    "evaluate",
    "garble",
    "open_revealed",
    "reply_salt",
    "reveal",
]


def reply_salt(seed: bytes, label: Sequence[Field], request: bytes, secret_inputs: bytes) -> bytes:
    """Return the salt of one reply, 16 bytes, sent in the clear with it.

    Args:
        seed: The epoch seed of the unit that replies.
        label: Protocol version, circuit and plan digest, session, step; framed injectively.
        request: The exact bytes that are answered.
        secret_inputs: Every secret of the replying unit that enters the reply, in an injective
            encoding.

    Security:
        Any difference in what is answered, or with what, gives other hash keys. Under equal keys
        two replies to one request XOR to Δ, which opens everything of the key epoch.

    Source:
        docs/protocols.md §3.3.
    """
    bound = hashlib.sha256(request).digest(), hashlib.sha256(secret_inputs).digest()
    return xof("privml/reply-salt/1", seed, tuple(label), *bound, length=SALT_BYTES)


@dataclass(frozen=True, slots=True)
class Garbled:
    """A garbled circuit at SU.

    Attributes:
        tables: For MU, 32 bytes per AND gate.
        outputs: Zero labels of the outputs, each (…, batch, 2). They stay at SU: `colours` makes
            bit shares of them, and `reveal` what MU may get.
    """

    tables: bytes = field(repr=False)
    outputs: tuple[Blocks, ...] = field(repr=False)


def garble(
    circuit: Circuit,
    batch: int,
    rows: Blocks,
    bits: Mapping[str, Bits],
    *,
    delta: bytes,
    streams: GarblingStreams,
) -> Garbled:
    """Garble a circuit at SU.

    Args:
        circuit: The circuit, with its parameters.
        batch: Width of the batch.
        rows: SU's rows of the transfer extension for MU's choices, shape (n, 2) with
            n = `circuit.choice_count(batch)`, used for nothing else.
        bits: By name, SU's bits (owner `GARBLER`) and SU's shares (`SHARED`), (*shape, batch).
        delta: SU's choice string Δ, 16 bytes.
        streams: Hash and public labels of this reply, from `GarblingStreams(salt, transcript)`.

    Raises:
        LocalProtocolError: Rows, bits or Δ are not what the circuit needs.

    Security:
        The salt of the streams must come from `reply_salt`, and must depend on `bits`.

    Cost:
        Four hashes and 32 bytes per AND gate.

    Source:
        docs/protocols.md §3.3.
    """
    engine = Garbler(batch, delta, streams, circuit.and_gates(batch))
    inputs = circuit.inputs()
    if set(bits) != {item.name for item in inputs if item.owner is not Owner.EVALUATOR}:
        raise LocalProtocolError("the garbler's inputs are not those of the circuit")
    supply = _RowSupply(circuit, batch, rows)
    wires = []
    for item in inputs:
        shape = (*item.shape, batch)
        if item.owner is Owner.EVALUATOR:
            wires.append(supply.take(shape))
        elif item.owner is Owner.SHARED:
            wires.append(engine.shared_input(supply.take(shape), checked_bits(item, batch, bits[item.name])))
        else:
            wires.append(engine.own_input(checked_bits(item, batch, bits[item.name])))
    outputs = circuit.evaluate(engine, *wires)
    return Garbled(engine.tables(), outputs)


def evaluate(
    circuit: Circuit, batch: int, rows: Blocks, tables: bytes, streams: GarblingStreams
) -> tuple[Blocks, ...]:
    """Evaluate a garbled circuit at MU.

    Args:
        circuit: The circuit, with its parameters.
        batch: Width of the batch.
        rows: MU's rows of the transfer extension under `circuit.choices(…)`, shape (n, 2).
        tables: From SU.
        streams: As at SU: same salt, same transcript, same circuits before.

    Returns:
        Active labels of the outputs, each (…, batch, 2): for `colours` or `open_revealed`.

    Raises:
        RemoteProtocolError: The tables have another length.
        LocalProtocolError: There are too few or too many rows.

    Cost:
        Two hashes per AND gate.

    Source:
        docs/protocols.md §3.3.
    """
    if len(tables) != circuit.and_gates(batch) * TABLE_BYTES:
        raise RemoteProtocolError("the tables have another length than the circuit needs")
    engine = Evaluator(batch, streams, tables)
    supply = _RowSupply(circuit, batch, rows)
    wires = [
        engine.foreign_input((*item.shape, batch))
        if item.owner is Owner.GARBLER
        else supply.take((*item.shape, batch))
        for item in circuit.inputs()
    ]
    outputs = circuit.evaluate(engine, *wires)
    engine.finish()
    return outputs


class _RowSupply:
    """Hand out the rows of the transfer extension in declared order."""

    def __init__(self, circuit: Circuit, batch: int, rows: Blocks) -> None:
        if rows.shape != (circuit.choice_count(batch), 2) or rows.dtype != np.uint64:
            raise LocalProtocolError("a circuit takes one row of the transfer extension per choice")
        self._rows = rows
        self._taken = 0

    def take(self, shape: tuple[int, ...]) -> Blocks:
        end = self._taken + int(np.prod(shape))
        rows = self._rows[self._taken : end].reshape(*shape, 2)
        self._taken = end
        return rows


def colours(labels: Blocks) -> Bits:
    """Return the unit's XOR shares of the wires' values, shape (…, batch).

    Security:
        For internal use of each unit. SU's colours sent to MU reveal the value to MU.
    """
    return (labels[..., 0] & np.uint64(1)).astype(np.uint8)


def reveal(outputs: Sequence[Blocks]) -> bytes:
    """Encode at SU what MU needs to read the outputs: one colour bit per wire, packed.

    Security:
        Only for outputs that the leakage table lets MU see. A colour says nothing about labels.
    """
    flat = [colours(labels).reshape(-1) for labels in outputs]
    return np.packbits(np.concatenate([np.zeros(0, np.uint8), *flat]), bitorder="little").tobytes()


def open_revealed(outputs: Sequence[Blocks], revealed: bytes) -> tuple[Bits, ...]:
    """Return at MU the values of the outputs, each (…, batch), from its labels and SU's colours.

    Raises:
        RemoteProtocolError: There are more or fewer bytes, or set bits behind the last wire.
    """
    sizes = [labels.size // 2 for labels in outputs]
    total = sum(sizes)
    if len(revealed) != (total + 7) // 8:
        raise RemoteProtocolError("there is one colour bit for every revealed wire")
    bits = np.unpackbits(np.frombuffer(revealed, dtype=np.uint8), bitorder="little")
    if bits[total:].any():
        raise RemoteProtocolError("padding bits are zero")
    values, begin = [], 0
    for labels, size in zip(outputs, sizes, strict=True):
        own = colours(labels)
        values.append(own ^ bits[begin : begin + size].reshape(own.shape))
        begin += size
    return tuple(values)
