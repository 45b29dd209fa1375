"""Base oblivious transfers out of DT-PKC: the 128 seeds that a direction of extension starts from.

Three steps. The receiver encrypts its choice bits under its own key; the sender draws a pair of
seeds for each and returns [k0 + b(k1 − k0)]; the receiver opens the seeds that it chose. In the
extension afterwards the parts are swapped: who received here, with the bits of Δ, sends there.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from crypto.arithmetic import inverses, powers, products_pairwise
from crypto.bit_matrix import COLUMNS
from crypto.coins import Coins
from crypto.counting import count
from crypto.dtpkc import PublicKey, WeakPrivateKey
from crypto.errors import InvalidKeyError, RemoteProtocolError
from crypto.ot_extension import SEED_BYTES, ReceiverBase
from crypto.parameters import Ciphertext, Parameters, decode_ciphertexts, encode_ciphertexts
from crypto.validation import validate_ciphertexts

Bits = npt.NDArray[np.uint8]

_SEED_BITS = 8 * SEED_BYTES


def start_base_transfers(
    key: PublicKey, choices: Bits, coins: Coins, pool: ThreadPoolExecutor | None = None
) -> bytes:
    """Encrypt the receiver's 128 choice bits for the sender (step 1).

    Args:
        key: The receiver's own key, best one that was generated for this exchange; never the
            service key, of which the sender holds one half.
        choices: Shape (128,), the bits of Δ: `choices_of_delta`.
        coins: From the operating system.
        pool: Threads for the powers.

    Raises:
        InvalidKeyError: The modulus has no room for a seed.
        ValueError: There are not 128 bits.

    Cost:
        256 powers with exponents of the profile's length; 128 ciphertexts.

    Source:
        docs/protocols.md §3.2.
    """
    _check_room(key.parameters)
    if choices.shape != (COLUMNS,) or choices.dtype != np.uint8 or choices.max() > 1:
        raise ValueError(f"the choices are {COLUMNS} bits")
    count(base_ots=COLUMNS)
    request = key.encrypt_many([int(bit) for bit in choices], coins, pool)
    return encode_ciphertexts(key.parameters, request)


def answer_base_transfers(
    receiver_key: PublicKey, request: bytes, coins: Coins, pool: ThreadPoolExecutor | None = None
) -> tuple[bytes, ReceiverBase]:
    """Draw both seeds of every transfer and let the receiver have the chosen ones (step 2).

    Args:
        receiver_key: The peer's key, made for this exchange alone; its form has been checked.
        request: What `start_base_transfers` returned at the peer.
        coins: From the operating system.
        pool: Threads for the powers.

    Returns:
        The reply, and this unit's side of the extension, in which it is the receiver.

    Raises:
        InvalidKeyError: The modulus has no room for a seed.
        RemoteProtocolError: The request is not 128 ciphertexts long.
        InvalidCiphertextError: A ciphertext fails the checks of `crypto.validation`.

    Security:
        b(k1 − k0) alone would be a known power of the request, against which the receiver could
        test guesses of the seed that it did not choose; a fresh encryption of k0 on top hides the
        power, under the short-exponent assumption that all ciphertexts rest on. A receiver that
        encrypts another number than 0 or 1 gets k0 + b(k1 − k0) and neither seed: the units
        follow the protocol, so that no proof of the bits is asked for.

    Cost:
        256 powers with 128-bit exponents, 256 with exponents of the profile's length, the checks
        of 128 ciphertexts, one inversion; 128 ciphertexts.

    Source:
        docs/protocols.md §3.2.
    """
    parameters = receiver_key.parameters
    _check_room(parameters)
    bits = _decode(parameters, request)
    count(base_ots=COLUMNS)
    zero = [coins.bytes(SEED_BYTES) for _ in range(COLUMNS)]
    one = [coins.bytes(SEED_BYTES) for _ in range(COLUMNS)]
    lows = [int.from_bytes(seed, "big") for seed in zero]
    factors = [int.from_bytes(seed, "big") - low for seed, low in zip(one, lows, strict=True)]
    # [k0] + (k1 − k0)·[b] = [k0 + b(k1 − k0)], an integer in [0, 2^128) for b in {0, 1}
    offsets = receiver_key.encrypt_many(lows, coins, pool)
    scaled = _scale_each(parameters, bits, factors, pool)
    modulus = parameters.n_squared
    t1s = products_pairwise([c.t1 for c in scaled], [c.t1 for c in offsets], modulus)
    t2s = products_pairwise([c.t2 for c in scaled], [c.t2 for c in offsets], modulus)
    reply = [Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True)]
    return encode_ciphertexts(parameters, reply), ReceiverBase(tuple(zero), tuple(one))


def finish_base_transfers(
    key: WeakPrivateKey, reply: bytes, pool: ThreadPoolExecutor | None = None
) -> tuple[bytes, ...]:
    """Open the chosen seeds (step 3).

    Args:
        key: The private key of step 1.
        reply: What `answer_base_transfers` returned at the peer.
        pool: Threads for the powers.

    Returns:
        128 seeds, for `SenderBase` (or `SenderBase.for_garbling`) together with Δ.

    Raises:
        RemoteProtocolError: The reply is not 128 ciphertexts long, or a plaintext is no seed.
        InvalidCiphertextError: A ciphertext fails the checks of `crypto.validation`.
        NotOpenableError: A ciphertext is not under this key.

    Cost:
        128 powers with exponents of the profile's length, the checks of 128 ciphertexts.

    Source:
        docs/protocols.md §3.2.
    """
    opened = key.decrypt_many(_decode(key.public.parameters, reply), pool)
    if any(plaintext.bit_length() > _SEED_BITS for plaintext in opened):
        raise RemoteProtocolError("a base transfer opens to something that is no seed")
    return tuple(plaintext.to_bytes(SEED_BYTES, "big") for plaintext in opened)


def _scale_each(
    parameters: Parameters,
    ciphertexts: Sequence[Ciphertext],
    factors: Sequence[int],
    pool: ThreadPoolExecutor | None,
) -> list[Ciphertext]:
    """Return factor · ciphertext for each pair; one inversion serves all negative factors."""
    modulus = parameters.n_squared
    bases = [[ciphertext.t1, ciphertext.t2] for ciphertext in ciphertexts]
    negative = [index for index, factor in enumerate(factors) if factor < 0]
    inverted = inverses([component for index in negative for component in bases[index]], modulus)
    for place, index in enumerate(negative):
        bases[index] = inverted[2 * place : 2 * place + 2]
    # Two powers have the exponent in common, so that two threads share each pair evenly.
    return [
        Ciphertext(*powers(pair, abs(factor), modulus, pool))
        for pair, factor in zip(bases, factors, strict=True)
    ]


def _decode(parameters: Parameters, data: bytes) -> list[Ciphertext]:
    due = COLUMNS * parameters.ciphertext_bytes
    if len(data) != due:
        raise RemoteProtocolError(f"{due} bytes of base transfers due, {len(data)} came")
    ciphertexts = decode_ciphertexts(parameters, data)
    validate_ciphertexts(parameters, ciphertexts)
    return ciphertexts


def _check_room(parameters: Parameters) -> None:
    if parameters.profile.modulus_bits <= _SEED_BITS + 1:
        raise InvalidKeyError("the modulus has no room for a base seed")
