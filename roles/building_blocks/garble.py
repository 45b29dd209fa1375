"""Garble: SU garbles, MU evaluates, one round trip (docs/protocols.md §3.3).

MU's choices ride on its request. SU's reply carries the salt, the tables and one colour bit for
each output that MU may read; a circuit's outputs are masked with words of SU, so that what MU
reads is its word share.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.circuit import Circuit
from crypto.coins import frame
from crypto.garbling import evaluate, garble, open_revealed, reveal
from crypto.garbling_engines import TABLE_BYTES
from crypto.ot_extension import ReceiverRows, SenderRows
from roles.plan import Section
from roles.session import Session, array_bytes

Bits = npt.NDArray[np.uint8]


def garbled_sections(circuit: Circuit, batch: int, revealed_bits: int) -> tuple[Section, Section, Section]:
    """Return the sizes of SU's sections: salt, tables, colours of the revealed outputs."""
    return (
        Section("salt", SALT_BYTES),
        Section("tables", circuit.and_gates(batch) * TABLE_BYTES),
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
