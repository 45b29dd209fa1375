"""Oblivious transfer extension: many transfers out of 128 base transfers.

The receiver ends with a 128-bit row t_i per choice bit b_i, the sender with q_i, and
t_i = q_i ⊕ b_i·Δ for the sender's secret Δ. What becomes of the rows is in `crypto.transfer_rows`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.bit_matrix import COLUMNS, rows_of_columns
from crypto.coins import Coins, Field, digest, xof
from crypto.counting import count
from crypto.errors import RemoteProtocolError
from crypto.transfer_rows import ReceivedRows, ReceiverRows, SenderRows, SentRows

__all__ = [
    "DELTA_BYTES",
    "NONCE_BYTES",
    "SEED_BYTES",
    "ReceivedRows",
    "ReceiverBase",
    "ReceiverRows",
    "SenderBase",
    "SenderRows",
    "SentRows",
    "choices_of_delta",
    "draw_delta",
    "synthetic_nonce",
]

Bits = npt.NDArray[np.uint8]

NONCE_BYTES = 16
SEED_BYTES = 16
DELTA_BYTES = COLUMNS // 8

# The message is a whole number of 128-bit groups per column.
_ROW_GROUP = 128
_ZERO_IV = bytes(12)


@dataclass(frozen=True, slots=True)
class ReceiverBase:
    """What the receiver of a direction keeps for a key epoch: both seeds of every column.

    Attributes:
        seeds_zero: 128 seeds of 16 bytes.
        seeds_one: 128 seeds of 16 bytes.
    """

    seeds_zero: tuple[bytes, ...] = field(repr=False)
    seeds_one: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        _check_seeds(self.seeds_zero)
        _check_seeds(self.seeds_one)

    def __reduce__(self) -> NoReturn:
        raise TypeError("base seeds are secret and are not pickled")

    def extend(self, choices: Bits, nonce: bytes) -> tuple[bytes, ReceiverRows]:
        """Turn choice bits into rows and the message that gives the sender its own.

        Args:
            choices: Shape (n,), zeros and ones.
            nonce: 16 bytes from `synthetic_nonce` over these very choices.

        Returns:
            The message, 16·n bytes with n rounded up to a multiple of 128, and the rows.

        Raises:
            ValueError: The choices are not a bit vector, or the nonce has another length.

        Security:
            Column c of the message is G(k_c0) ⊕ G(k_c1) ⊕ b; the sender knows one of the two
            streams, so the message is pseudo-random to it. A second message under the same nonce
            would reveal b ⊕ b'.

        Cost:
            Two AES streams per column, one transposition: about 60 ns per row, 1 ms per call.

        Source:
            Ishai, Kilian, Nissim, Petrank 2003 (semi-honest); docs/protocols.md §3.2.
        """
        if choices.ndim != 1 or choices.dtype != np.uint8 or (choices.size and choices.max() > 1):
            raise ValueError("choices are a vector of zeros and ones")
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        size = len(choices)
        count(cots=size)
        column_bytes = _column_bytes(size)
        packed = np.zeros(column_bytes, dtype=np.uint8)
        packed[: (size + 7) // 8] = np.packbits(choices, bitorder="little")
        zeros = np.zeros((COLUMNS, column_bytes), dtype=np.uint8)
        columns = _xor_streams(self.seeds_zero, nonce, zeros)
        message = _xor_streams(self.seeds_one, nonce, columns)
        message ^= packed
        rows = rows_of_columns(columns.view(np.uint64))[:size]
        return message.tobytes(), ReceiverRows(ReceivedRows(rows, choices.copy()))


@dataclass(frozen=True, slots=True)
class SenderBase:
    """What the sender of a direction keeps for a key epoch: Δ, and the seed it chose per column.

    Attributes:
        delta: 16 bytes; bit c (of byte c // 8, low bit first) was the choice of column c.
        seeds: 128 seeds of 16 bytes: of each column's pair, the one that Δ chose.
    """

    delta: bytes = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.delta) != DELTA_BYTES:
            raise ValueError(f"delta has {DELTA_BYTES} bytes")
        _check_seeds(self.seeds)

    def __reduce__(self) -> NoReturn:
        raise TypeError("base seeds are secret and are not pickled")

    @classmethod
    def for_garbling(cls, delta: bytes, seeds: Sequence[bytes]) -> "SenderBase":
        """Build the base of the unit that garbles, whose Δ is also the offset of all labels.

        Raises:
            ValueError: Bit 0 of `delta` is 0, so that the two labels of a wire would have
                the same colour; or a length is wrong.
        """
        if not delta or delta[0] & 1 == 0:
            raise ValueError("bit 0 of the garbler's delta is 1")
        return cls(delta, tuple(seeds))

    def extend(self, message: bytes, nonce: bytes, size: int) -> SenderRows:
        """Turn the receiver's message into this side's rows.

        Args:
            message: What the receiver's `extend` returned.
            nonce: The nonce that came with it.
            size: Number of rows that both units expect at this step.

        Raises:
            RemoteProtocolError: Message or nonce have another length than the step asks for.

        Cost:
            One AES stream per column, one transposition: about 40 ns per row, 0.5 ms per call.

        Source:
            Ishai, Kilian, Nissim, Petrank 2003 (semi-honest); docs/protocols.md §3.2.
        """
        if size < 0:
            raise ValueError("a number of rows is not negative")
        column_bytes = _column_bytes(size)
        if len(message) != COLUMNS * column_bytes:
            raise RemoteProtocolError(f"{COLUMNS * column_bytes} bytes of transfers due, {len(message)} came")
        if len(nonce) != NONCE_BYTES:
            raise RemoteProtocolError(f"a nonce has {NONCE_BYTES} bytes, {len(nonce)} came")
        count(cots=size)
        chosen = np.frombuffer(message, dtype=np.uint8).reshape(COLUMNS, column_bytes)
        # The column of the message counts where Δ has a 1.
        masks = 0 - np.unpackbits(np.frombuffer(self.delta, dtype=np.uint8), bitorder="little")
        columns = _xor_streams(self.seeds, nonce, chosen & masks[:, np.newaxis])
        rows = rows_of_columns(columns.view(np.uint64))[:size]
        return SenderRows(SentRows(rows, np.frombuffer(self.delta, dtype=np.uint64)))


def draw_delta(coins: Coins, *, garbling: bool) -> bytes:
    """Return a sender's choice string for the base transfers; the garbler's has bit 0 set.

    Security:
        The two directions draw independent strings: a Δ shared between a unit's labels and its
        peer's pads would tie the two together.
    """
    delta = bytearray(coins.bytes(DELTA_BYTES))
    if garbling:
        delta[0] |= 1
    return bytes(delta)


def choices_of_delta(delta: bytes) -> Bits:
    """Return the 128 choice bits that the sender uses in the base transfers."""
    return np.unpackbits(np.frombuffer(delta, dtype=np.uint8), bitorder="little")


def synthetic_nonce(seed: bytes, label: Sequence[Field], choices: Bits, *inputs: bytes) -> bytes:
    """Return the nonce that belongs to these choices at this place of the conversation.

    Args:
        seed: The receiver's epoch seed.
        label: Protocol version, session, step, op.
        choices: The choice bits that are about to be extended.
        inputs: All other inputs of the step, as bytes.

    Security:
        A unit that is restarted, restored or patched may reach the same step with other choices.
        Then the nonce differs too, except with probability 2^-128, and U ⊕ U' stays random;
        under an equal nonce it would be b ⊕ b'. The nonce itself is pseudo-random, so it can be
        sent in the clear.

    Source:
        docs/protocols.md §3.2.
    """
    bound = digest("privml/ot-inputs/1", len(choices), np.packbits(choices).tobytes(), inputs)
    return xof("privml/ot-nonce/1", seed, tuple(label), bound, length=NONCE_BYTES)


def _check_seeds(seeds: tuple[bytes, ...]) -> None:
    if len(seeds) != COLUMNS or any(len(seed) != SEED_BYTES for seed in seeds):
        raise ValueError(f"{COLUMNS} base seeds have {SEED_BYTES} bytes each")


def _column_bytes(size: int) -> int:
    return -(-size // _ROW_GROUP) * (_ROW_GROUP // 8)


def _xor_streams(seeds: tuple[bytes, ...], nonce: bytes, columns: Bits) -> Bits:
    """Return the columns, each XORed with the stream of its seed under this nonce.

    The stream of a seed is AES-128 in counter mode under the key SHA-256(tag ‖ seed ‖ nonce): every
    nonce has a key of its own, so that streams of two nonces cannot overlap, as they could if the
    nonce were the first counter block of one key. It is taken from GCM, whose one call costs a
    third of setting up a cipher, and whose tag is dropped.
    """
    length = columns.shape[1]
    streams = np.empty(columns.shape, dtype=np.uint8)
    for index, seed in enumerate(seeds):
        key = hashlib.sha256(b"privml/ot-column/1" + seed + nonce).digest()[:16]
        encrypted = AESGCM(key).encrypt(_ZERO_IV, columns[index].data, None)
        streams[index] = np.frombuffer(encrypted, dtype=np.uint8, count=length)
    return streams
