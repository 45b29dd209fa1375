"""Open: packed ciphertexts become shares, and neither unit sees a value (docs/protocols.md §3.1).

MU masks every plaintext with a uniform ρ of kW + 80 bits and strips its half of the key; SU
strips the other half and holds S = V + ρ. The digits base 2^W of S (at SU) and ρ (at MU) differ
by the slot's value and an unknown carry; since slots hold 2v, the carry shows in the lowest bit.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.coins import Coins
from crypto.correlated_ot import receive_bits, send_bits
from crypto.dtpkc import Ciphertext, Parameters
from crypto.errors import PlaintextRangeError, RemoteProtocolError
from crypto.ot_extension import ReceivedRows, SentRows
from crypto.packing import SlotLayout
from crypto.profiles import MASK_BITS
from crypto.service_key import finish_open, half_open

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MaskedVector:
    """MU's half of an opening.

    Attributes:
        digits: Digits of the masks as bits, shape (values, W).
        masked: D of every ciphertext, |N²| bits each, for SU.
    """

    digits: Bits = field(repr=False)
    masked: bytes = field(repr=False)


def mask_vector(
    parameters: Parameters,
    layout: SlotLayout,
    ciphertexts: Sequence[Ciphertext],
    theta_m: int,
    coins: Coins,
    pool: ThreadPoolExecutor | None = None,
) -> MaskedVector:
    """Mask every plaintext and strip MU's half of the key (step 1, MU).

    Args:
        parameters: N and g.
        layout: Of the vector.
        ciphertexts: Shape (layout.ciphertexts,), each covered by a verified proof of plaintext
            knowledge, or a product of such.
        theta_m: MU's half of the service key.
        coins: Bound to these very ciphertexts: a mask serves one vector.
        pool: Threads for the powers.

    Security:
        S = V + ρ is 2^-80-close to uniform; SU's view (D, T2) is a function of S, T2 and θ_S.

    Cost:
        One short power per ciphertext and one batch inversion.

    Source:
        Liu et al. 2016 (DT-PKC), joint decryption; docs/protocols.md §3.1.
    """
    masks = [coins.integer_bits(layout.packed_bits + MASK_BITS) for _ in ciphertexts]
    half_opened = half_open(parameters, ciphertexts, theta_m, masks, pool)
    width = parameters.component_bytes
    return MaskedVector(layout.digit_bits(masks), b"".join(d.to_bytes(width, "big") for d in half_opened))


def open_masked(
    parameters: Parameters,
    layout: SlotLayout,
    masked: bytes,
    t2s: Sequence[int],
    theta_s: int,
    pool: ThreadPoolExecutor | None = None,
) -> Bits:
    """Strip SU's half of the key and return the digits of the masked plaintexts (step 2, SU).

    Returns:
        Shape (values, W).

    Raises:
        NotOpenableError: D and T2 do not belong to one ciphertext under the service key.
        PlaintextRangeError: A masked plaintext is 2^(kW+81) or more: `out_of_range`.

    Cost:
        One short power per ciphertext and one batch inversion.
    """
    width = parameters.component_bytes
    if len(masked) != width * len(t2s):
        raise RemoteProtocolError("as many masked values as ciphertexts are due")
    values = [int.from_bytes(masked[i : i + width], "big") for i in range(0, len(masked), width)]
    opened = finish_open(parameters, values, t2s, theta_s, pool)
    if any(value >> (layout.packed_bits + MASK_BITS + 1) for value in opened):
        raise PlaintextRangeError("a masked plaintext is longer than its slots and mask")
    return layout.digit_bits(opened)


def encode_t2(parameters: Parameters, ciphertexts: Sequence[Ciphertext]) -> bytes:
    """Return the T2 of ciphertexts that SU has no copy of, |N²| bits each (MU)."""
    width = parameters.component_bytes
    return b"".join(ciphertext.t2.to_bytes(width, "big") for ciphertext in ciphertexts)


def decode_t2(parameters: Parameters, data: bytes) -> tuple[int, ...]:
    """Return the T2 that MU sent (SU).

    Raises:
        RemoteProtocolError: One is not in (0, N²).
    """
    width = parameters.component_bytes
    values = tuple(int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width))
    if any(not 0 < value < parameters.n_squared for value in values):
        raise RemoteProtocolError("a component is out of range")
    return values


def bit_choices(digits: Bits) -> Bits:
    """Return MU's choices for the carries of bit slots: r⁰ of every digit (step 1, MU)."""
    return np.ascontiguousarray(digits[:, 0])


def share_bits_secondary(digits: Bits, rows: SentRows, block_hash: BlockHash) -> tuple[Bits, bytes]:
    """Return SU's shares of the opened bits, and the corrections for MU (step 2, SU).

    v = d¹ ⊕ r¹ ⊕ (¬d⁰ ∧ r⁰): with 2v in the slot, d⁰ ⊕ r⁰ is the carry, and it reaches bit 1
    exactly where r⁰ = 1 and d⁰ = 0. The product is one transfer: MU's r⁰ chooses, SU's ¬d⁰ is
    the correlation. SU is the sender, so it knows its own shares at once.

    Cost:
        One transfer and one bit per value.
    """
    shares, corrections = send_bits(rows, digits[:, 0] ^ np.uint8(1), block_hash)
    return digits[:, 1] ^ shares, corrections


def share_bits_master(digits: Bits, rows: ReceivedRows, corrections: bytes, block_hash: BlockHash) -> Bits:
    """Return MU's shares of the opened bits (step 3, MU)."""
    return digits[:, 1] ^ receive_bits(rows, corrections, block_hash)
