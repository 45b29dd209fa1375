"""Deterministic coins: one XOF call gives a key, AES-CTR expands it, slots are read in order.

Every random choice of a unit is a function of its epoch seed, the place in the conversation
and everything the coin will hide (docs/protocols.md §8). A restarted unit therefore re-issues
the same bytes, and one mask for two plaintexts is impossible by construction. Owners, clients
and key generation draw their key from the operating system instead.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from crypto.arithmetic import gcd

Field = bytes | str | int | Sequence[Any]
Words = TypeVar("Words", np.uint16, np.uint32, np.uint64)

KEY_BYTES = 32


def frame(*fields: Field) -> bytes:
    """Encode fields so that two different lists never give the same bytes.

    Each field is its type tag, its length (8 bytes, big-endian) and its content; a tuple or
    list is framed recursively. Integers may be negative.

    Raises:
        TypeError: A field is of another type.
    """
    parts: list[bytes] = []
    for field in fields:
        if isinstance(field, bytes | bytearray | memoryview):
            tag, content = b"b", bytes(field)
        elif isinstance(field, str):
            tag, content = b"s", field.encode()
        elif isinstance(field, bool):
            raise TypeError("frame booleans as 0 or 1")
        elif isinstance(field, int):
            tag, content = b"i", field.to_bytes(field.bit_length() // 8 + 1, "big", signed=True)
        elif isinstance(field, tuple | list):
            tag, content = b"t", frame(*field)
        else:
            raise TypeError(f"cannot frame a {type(field).__name__}")
        parts += (tag, len(content).to_bytes(8, "big"), content)
    return b"".join(parts)


def digest(domain: str, *fields: Field) -> bytes:
    """Return SHA3-256 over the framed domain and fields, 32 bytes."""
    return hashlib.sha3_256(frame(domain, *fields)).digest()


def xof(domain: str, *fields: Field, length: int) -> bytes:
    """Return `length` bytes of SHAKE256 over the framed domain and fields."""
    return hashlib.shake_256(frame(domain, *fields)).digest(length)


class Coins:
    """A stream of uniform values under one 256-bit key.

    Reading is stateful: the order of reads is part of the protocol. A `Coins` is used by one
    thread, for one purpose, and then dropped.

    Security:
        AES-256 in counter mode is taken as a pseudo-random generator. The object shows no
        state in its repr and cannot be pickled.

    Source:
        docs/protocols.md §8.
    """

    __slots__ = ("_stream",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a coin key has {KEY_BYTES} bytes")
        self._stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    @classmethod
    def fresh(cls) -> "Coins":
        """Return coins under a key from the operating system."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes, label: Sequence[Field], *bindings: bytes) -> "Coins":
        """Return the coins of one place in the conversation.

        Args:
            seed: The unit's epoch seed, 32 bytes from the operating system.
            label: Protocol version, plan digest, role, purpose, tenant, key id, key epoch,
                session, step, op; framed injectively.
            bindings: Hash of the transcript and input bytes, then of every secret that these
                coins will hide, so that another input draws other coins.
        """
        return cls(xof("privml/coins/1", seed, tuple(label), tuple(bindings), length=KEY_BYTES))

    def __repr__(self) -> str:
        return "Coins(<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("coins are secret and are not pickled")

    def bytes(self, length: int) -> bytes:
        """Return the next `length` bytes of the stream."""
        return self._stream.update(bytes(length))

    def integer_bits(self, bits: int) -> int:
        """Return an integer uniform in [0, 2^bits)."""
        size = (bits + 7) // 8
        return int.from_bytes(self.bytes(size), "big") >> (8 * size - bits)

    def below(self, bound: int) -> int:
        """Return an integer 2^-128-close to uniform in [0, bound), in constant reads.

        Raises:
            ValueError: `bound` is not positive.
        """
        if bound <= 0:
            raise ValueError("bound must be positive")
        return self.integer_bits(bound.bit_length() + 128) % bound

    def unit_below(self, modulus: int) -> int:
        """Return an invertible residue, uniform in [1, modulus) up to 2^-128."""
        while True:
            candidate = self.below(modulus)
            if gcd(candidate, modulus) == 1:
                return candidate

    def words(self, shape: int | tuple[int, ...], dtype: type[Words]) -> npt.NDArray[Words]:
        """Return uniform unsigned words of that shape and width."""
        flat = np.frombuffer(self.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype=dtype)
        return flat.reshape(shape).copy()

    def bits(self, shape: int | tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Return uniform bits as uint8 zeros and ones."""
        size = int(np.prod(shape))
        packed = np.frombuffer(self.bytes((size + 7) // 8), dtype=np.uint8)
        return np.unpackbits(packed, count=size, bitorder="little").reshape(shape)

    def blocks(self, count: int) -> npt.NDArray[np.uint64]:
        """Return `count` uniform 128-bit blocks, shape (count, 2)."""
        return self.words((count, 2), np.uint64)
