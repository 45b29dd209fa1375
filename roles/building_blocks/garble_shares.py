"""Garble with outputs that stay shared: each unit keeps the colours of its labels (§3.3).

As `roles.building_blocks.garble`, but what MU reads is only what the leakage table lists; the
other outputs are XOR shares at both units, for a later step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES
from crypto.circuits.circuit import Circuit
from crypto.coins import frame
from crypto.garbling import colours, evaluate, garble
from crypto.ot_extension import ReceiverRows, SenderRows
from roles.building_blocks.garble import table_section
from roles.plan import Section
from roles.session import Session, array_bytes

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SharedOutputs:
    """SU's half of a garbling.

    Attributes:
        sections: Salt and tables, for MU.
        shares: Of every output, SU's XOR share, (…, batch).
    """

    sections: tuple[bytes, bytes]
    shares: tuple[Bits, ...] = field(repr=False)


def shared_sections(circuit: Circuit, batch: int) -> tuple[Section, Section]:
    """Return the sizes of SU's sections: salt and tables."""
    return Section("salt", SALT_BYTES), table_section(circuit, batch)


def garble_to_shares(
    session: Session, circuit: Circuit, batch: int, rows: SenderRows, bits: Mapping[str, Bits], delta: bytes
) -> SharedOutputs:
    """Garble a circuit and keep SU's shares of the outputs (SU).

    Security:
        The salt depends on every secret input of this reply.

    Cost:
        32 bytes and four hashes per AND gate.
    """
    secret_inputs = frame(*((name, array_bytes(bits[name])) for name in sorted(bits)))
    salt = session.salt("garble", secret_inputs)
    taken = rows.take(circuit.choice_count(batch))
    garbled = garble(circuit, batch, taken.rows, bits, delta=delta, streams=session.garbling_streams(salt))
    return SharedOutputs((salt, garbled.tables), tuple(colours(labels) for labels in garbled.outputs))


def evaluate_to_shares(
    session: Session, circuit: Circuit, batch: int, rows: ReceiverRows, sections: Sequence[bytes]
) -> tuple[Bits, ...]:
    """Evaluate SU's reply and return MU's shares of the outputs (MU).

    Cost:
        Two hashes per AND gate.
    """
    salt, tables = sections
    taken = rows.take(circuit.choice_count(batch))
    outputs = evaluate(circuit, batch, taken.rows, tables, session.garbling_streams(salt))
    return tuple(colours(labels) for labels in outputs)
