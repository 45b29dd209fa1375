"""Choose: extend a vector of choice bits in either direction (docs/protocols.md §3.2).

The receiver's sections are its nonce and the extension message; they ride on whatever message
it sends next. The nonce is synthetic: other choices at the same place give another nonce.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.ot_extension import NONCE_BYTES, ReceiverRows, SenderRows
from roles.plan import Section
from roles.session import Session
from roles.unit_secrets import UnitSecrets

ROW_BYTES = 16
_GROUP = 128


@dataclass(frozen=True, slots=True)
class Chosen:
    """The receiver's half of an extension.

    Attributes:
        sections: Nonce and message, for the peer.
        rows: One row per choice, each handed out once.
    """

    sections: tuple[bytes, bytes]
    rows: ReceiverRows = field(repr=False)


def transfer_sections(choices: int, name: str = "transfers") -> tuple[Section, Section]:
    """Return the sizes of the receiver's sections: 16 bytes a choice, in groups of 128."""
    padded = -(-choices // _GROUP) * _GROUP
    extension = Section(f"{name}.extension", padded * ROW_BYTES, transfers=choices)
    return Section(f"{name}.nonce", NONCE_BYTES), extension


def choose(
    session: Session, secrets: UnitSecrets, purpose: str, choices: npt.NDArray[np.uint8], inputs: bytes = b""
) -> Chosen:
    """Extend this unit's choices (receiver).

    Args:
        session: Where we are.
        secrets: This unit's base of the direction in which it chooses.
        purpose: Unique within the step.
        choices: Shape (n,), zeros and ones.
        inputs: Bytes of whatever else the message carries.

    Cost:
        n rows of the extension, 16 bytes each.
    """
    nonce = session.nonce(purpose, choices, inputs)
    message, rows = secrets.receiver.extend(choices, nonce)
    return Chosen((nonce, message), rows)


def chosen_rows(secrets: UnitSecrets, sections: Sequence[bytes], size: int) -> SenderRows:
    """Return the sender's rows of a peer's choices (sender)."""
    nonce, message = sections
    return secrets.sender.extend(message, nonce, size)
