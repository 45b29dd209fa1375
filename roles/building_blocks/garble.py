"""Garble: SU garbles, MU evaluates, one round trip (docs/protocols.md §3.3).

MU's choices ride on its request. SU's reply carries the salt, the tables and one colour bit for
each output that MU may read; a circuit's outputs are masked with words of SU, so that what MU
reads is its word share. Outputs that go on into the next circuit stay as bit shares.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.circuit import Circuit
from crypto.coins import frame
from crypto.garbling import colours, evaluate, garble, open_revealed, reveal
from crypto.garbling_engines import TABLE_BYTES
from crypto.ot_extension import ReceiverRows, SenderRows
from roles.plan import Section, Sections
from roles.session import Session, array_bytes

Bits = npt.NDArray[np.uint8]


def table_section(circuit: Circuit, batch: int, name: str = "tables") -> Section:
    """Return the size of a circuit's tables: 32 bytes per AND gate."""
    return Section(name, circuit.and_gates(batch) * TABLE_BYTES, layers=circuit.and_layers(batch))


def garbled_sections(circuit: Circuit, batch: int, revealed_bits: int) -> tuple[Section, Section, Section]:
    """Return the sizes of SU's sections: salt, tables, colours of the revealed outputs."""
    return (
        Section("salt", SALT_BYTES),
        table_section(circuit, batch),
        Section("colours", -(-revealed_bits * batch // 8)),
    )


def garble_reply(
    session: Session, circuit: Circuit, batch: int, rows: SenderRows, bits: Mapping[str, Bits], delta: bytes
) -> tuple[bytes, bytes, bytes]:
    """Garble a circuit whose outputs MU may read (SU).

    Args:
        session: Where we are: the request is in the transcript.
        circuit: With its parameters.
        batch: Width of the batch.
        rows: SU's rows of MU's choices.
        bits: SU's inputs and shares, by name.
        delta: SU's Δ.

    Security:
        The salt depends on every secret input of this reply: the same request under other
        inputs has other hash keys.

    Cost:
        32 bytes and four hashes per AND gate.
    """
    secret_inputs = frame(*((name, array_bytes(bits[name])) for name in sorted(bits)))
    salt = session.salt("garble", secret_inputs)
    streams = session.garbling_streams(salt)
    taken = rows.take(circuit.choice_count(batch))
    garbled = garble(circuit, batch, taken.rows, bits, delta=delta, streams=streams)
    return salt, garbled.tables, reveal(garbled.outputs)


def evaluate_garbled(
    session: Session, circuit: Circuit, batch: int, rows: ReceiverRows, sections: tuple[bytes, ...]
) -> tuple[Bits, ...]:
    """Evaluate SU's reply and return the outputs' values (MU).

    Cost:
        Two hashes per AND gate.
    """
    salt, tables, revealed = sections
    taken = rows.take(circuit.choice_count(batch))
    outputs = evaluate(circuit, batch, taken.rows, tables, session.garbling_streams(salt))
    return open_revealed(outputs, revealed)


def shared_sections(circuit: Circuit, batch: int, name: str, revealed_bits: int = 0) -> tuple[Section, ...]:
    """Return the sizes of SU's sections where outputs stay shared: salt, tables, colours if any."""
    sections = (
        Section(f"{name}.salt", SALT_BYTES),
        table_section(circuit, batch, f"{name}.tables"),
    )
    if not revealed_bits:
        return sections
    return (*sections, Section(f"{name}.colours", -(-revealed_bits // 8)))


def garble_shares(
    session: Session,
    purpose: str,
    circuit: Circuit,
    batch: int,
    rows: SenderRows,
    bits: Mapping[str, Bits],
    delta: bytes,
    revealed: Sequence[int] = (),
) -> tuple[Sections, tuple[Bits, ...]]:
    """Garble a circuit whose outputs stay XOR-shared, but for those that MU may read (SU).

    Args:
        session: Where we are: the request is in the transcript.
        purpose: Unique within the step: a reply may hold several circuits.
        circuit: With its parameters.
        batch: Width of the batch.
        rows: SU's rows of MU's choices.
        bits: SU's inputs and shares, by name.
        delta: SU's Δ.
        revealed: Indices of the outputs that MU may read.

    Returns:
        The sections for MU, and SU's bit share of every output, (…, batch).

    Security:
        The colour of a zero label is SU's share; it leaves SU for the revealed outputs only.
    """
    secret_inputs = frame(*((name, array_bytes(bits[name])) for name in sorted(bits)))
    salt = session.salt(purpose, secret_inputs)
    taken = rows.take(circuit.choice_count(batch))
    streams = session.garbling_streams(salt)
    garbled = garble(circuit, batch, taken.rows, bits, delta=delta, streams=streams)
    sections: Sections = (salt, garbled.tables)
    if revealed:
        sections = (*sections, reveal([garbled.outputs[index] for index in revealed]))
    return sections, tuple(colours(labels) for labels in garbled.outputs)


def evaluate_shares(
    session: Session,
    circuit: Circuit,
    batch: int,
    rows: ReceiverRows,
    sections: Sequence[bytes],
    revealed: Sequence[int] = (),
) -> tuple[Bits, ...]:
    """Evaluate SU's reply; return MU's bit share of every output, or its value where revealed (MU)."""
    salt, tables, *shown = sections
    taken = rows.take(circuit.choice_count(batch))
    outputs = evaluate(circuit, batch, taken.rows, tables, session.garbling_streams(salt))
    found = [colours(labels) for labels in outputs]
    if revealed:
        values = open_revealed([outputs[index] for index in revealed], shown[0])
        for index, value in zip(revealed, values, strict=True):
            found[index] = value
    return tuple(found)
