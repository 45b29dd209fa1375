"""State at rest: words that no unit knows, sealed as 2v in slots and opened again exactly.

A slot holds 2x_M + 2x_S: twice the word, and 2^33 more where the shares wrapped. The circuit that
opens it adds the digits and drops the low bit, which is the carry's, so that nothing of the mask
ever gets into a value (docs/protocols.md §3.4). Each session seals its state afresh from exact
shares, so that a slot is one seal at any time and never runs out of room.
"""

import numpy as np
import numpy.typing as npt

from crypto.circuits.opened import OpenedState
from crypto.coins import Coins
from crypto.dtpkc import Ciphertext, PublicKey
from crypto.packing import SlotLayout

Bits = npt.NDArray[np.uint8]

WORD_BITS = 32
SLOT_BITS = WORD_BITS + 1
"""w: bits of 2v."""

STRIDE_BITS = SLOT_BITS + 1
"""W: one bit for the wrap of two shares; a sum of seals would need more."""


def state_layout(modulus_bits: int, meaning: str, values: int) -> SlotLayout:
    """Return the layout of sealed words: 87 a ciphertext at 3072 bits."""
    bound = 4 * ((1 << WORD_BITS) - 1)
    return SlotLayout.fitting(modulus_bits, meaning, values, SLOT_BITS, STRIDE_BITS, bound)


def public_state(key: PublicKey, layout: SlotLayout, coins: Coins) -> tuple[Ciphertext, ...]:
    """Return encryptions of zeros under public coins: the state of a new model, for all to check."""
    return tuple(key.encrypt_many([0] * layout.ciphertexts, coins))


def state_inputs(circuit: OpenedState, digits: Bits) -> Bits:
    """Return the low bits of digits as the circuit takes them, shape (bits + 1, values)."""
    return np.ascontiguousarray(digits[:, : circuit.value_bits + 1].T)
