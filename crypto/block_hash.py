"""The correlation-robust hash of labels and transfer rows, on AES with a key per message.

H(x, i) = AES_k(K) ⊕ K with K = σ(x) ⊕ i and σ(hi, lo) = (hi ⊕ lo, hi), a linear orthomorphism.
The key k is derived from a purpose, the message's salt and the transcript, and is replaced
before it has served 2^16 calls. Garbled gates and transfer pads are all made of this hash.
"""

import hashlib
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from crypto.coins import frame
from crypto.counting import count

Blocks = npt.NDArray[np.uint64]

SALT_BYTES = 16
BLOCK_BYTES = 16

# Whoever garbles or sends hashes both values of a wire under one tweak, so that 2^15 tweaks are
# 2^16 calls. Both sides change keys by tweaks, since the other side hashes one value of the two.
VALUES_PER_TWEAK = 2
TWEAKS_PER_KEY = 1 << 15


@dataclass(frozen=True, slots=True)
class Tweaks:
    """Consecutive hash indices, set aside for one use by `BlockHash.reserve`."""

    start: int
    count: int


class BlockHash:
    """Hash 128-bit blocks under tweaks that never repeat.

    Both units build the same object and ask for the same numbers of tweaks in the same order;
    then they hash under equal keys and indices. Blocks are uint64 arrays whose last axis is
    (low, high), in the byte order of the machine, which must be little-endian.

    Security:
        Under a fixed key, a table of 2^t guesses hits one of C observed hashes after 2^(128-t)/C
        more ([GKWY] broke fixed-key half gates that way at about 80 bits). A key that is fresh
        per salt and serves at most 2^16 calls bounds that loss: at least 110 bits remain in the
        ideal-cipher model. The salt must depend on the request and on all secret inputs, so that
        two replies never share a key (docs/protocols.md §3.3).

    Cost:
        One AES call per block, 10 to 25 ns in batches of thousands; about 5 µs per batch and
        10 µs per key besides.

    Source:
        Guo, Katz, Wang, Yu 2020 (TMMO hash, MITCCRH re-keying); docs/protocols.md §3.3.
    """

    __slots__ = ("_binding", "_encryptor", "_encryptor_index", "_next")

    def __init__(self, purpose: str, salt: bytes, transcript: bytes) -> None:
        if len(salt) != SALT_BYTES:
            raise ValueError(f"a salt has {SALT_BYTES} bytes")
        if len(transcript) != hashlib.sha256().digest_size:
            raise ValueError("a transcript hash has 32 bytes")
        self._binding = (purpose, salt, transcript)
        self._next = 0
        self._encryptor_index = 0
        self._encryptor = self._encryptor_of(0)

    def __repr__(self) -> str:
        return f"BlockHash(purpose={self._binding[0]!r}, tweaks_used={self._next})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a hash in use is not pickled: its counter must not be forked")

    def reserve(self, size: int) -> Tweaks:
        """Consume `size` tweaks, for values that are hashed with `hash_reserved`."""
        if size < 0:
            raise ValueError("a number of tweaks is not negative")
        tweaks = Tweaks(self._next, size)
        self._next += size
        return tweaks

    def hash(self, blocks: Blocks) -> Blocks:
        """Hash every block under the next tweak.

        Args:
            blocks: Shape (n, 2). Consumes n tweaks.
        """
        hashed: Blocks = self.hash_reserved(blocks[np.newaxis], self.reserve(len(blocks)))[0]
        return hashed

    def hash_reserved(self, blocks: Blocks, tweaks: Tweaks) -> Blocks:
        """Hash the blocks of one wire, or its two possible values, under the same tweak.

        Args:
            blocks: Shape (k, n, 2), k = 1 or 2: `blocks[v, i]` is hashed under tweak i.
            tweaks: n tweaks of this object, used for these values and never again.

        Returns:
            Shape (k, n, 2).

        Raises:
            ValueError: The shapes differ, or k > 2.
        """
        self._check_shape(blocks)
        if blocks.shape[1] != tweaks.count:
            raise ValueError("every block needs one tweak")
        return self._hash_rows(blocks, tweaks.start, 1).reshape(blocks.shape)

    def pads(self, blocks: Blocks, length: int) -> npt.NDArray[np.uint8]:
        """Expand every block into `length` pseudo-random bytes.

        Block r is hashed under the ⌈length/16⌉ consecutive tweaks of its own. Consumes
        n·⌈length/16⌉ tweaks.

        Args:
            blocks: Shape (k, n, 2), k = 1 or 2, as in `hash_reserved`.
            length: Bytes per block, at least 1.

        Returns:
            Shape (k, n, length), a view whose last axis is contiguous.

        Raises:
            ValueError: The shape is another one, or `length` < 1.
        """
        if length < 1:
            raise ValueError("a pad has at least one byte")
        width = -(-length // BLOCK_BYTES)
        self._check_shape(blocks)
        tweaks = self.reserve(blocks.shape[1] * width)
        return self._hash_rows(blocks, tweaks.start, width).view(np.uint8)[..., :length]

    @staticmethod
    def _check_shape(blocks: Blocks) -> None:
        if blocks.ndim != 3 or blocks.shape[2] != 2 or blocks.dtype != np.uint64:
            raise ValueError("blocks are uint64 arrays of shape (k, n, 2)")
        if blocks.shape[0] > VALUES_PER_TWEAK:
            raise ValueError("a tweak serves the two values of one wire")

    def _hash_rows(self, blocks: Blocks, start: int, width: int) -> Blocks:
        """Hash (k, n, 2) blocks under `width` tweaks each, into shape (k, n, 2·width)."""
        values, rows = blocks.shape[:2]
        total = rows * width
        count(hashes=values * total)
        # The encryptor asks for room of one more block than it fills.
        hashed = np.empty((values * total + 1) * BLOCK_BYTES, dtype=np.uint8)
        inputs = np.empty((values, rows, width, 2), dtype=np.uint64)
        low, high = blocks[..., np.newaxis, 0], blocks[..., np.newaxis, 1]
        tweaks = np.arange(start, start + total, dtype=np.uint64).reshape(rows, width)
        np.bitwise_xor(high, tweaks, out=inputs[..., 0])
        np.bitwise_xor(high, low, out=inputs[..., 1])
        flat = inputs.reshape(-1)
        source, target = flat.view(np.uint8).data, hashed.data
        for offset, size, index in self._spans(start, total, values):
            begin, end = offset * BLOCK_BYTES, (offset + size) * BLOCK_BYTES
            self._use_key(index).update_into(source[begin:end], target[begin : end + BLOCK_BYTES])
        result = hashed[:-BLOCK_BYTES].view(np.uint64)
        result ^= flat
        return result.reshape(values, rows, 2 * width)

    @staticmethod
    def _spans(start: int, total: int, values: int) -> list[tuple[int, int, int]]:
        """Return (offset, size, key index) of runs under one key, for `values` copies of the tweaks."""
        if total == 0 or values == 0:
            return []
        first, last = start // TWEAKS_PER_KEY, (start + total - 1) // TWEAKS_PER_KEY
        if first == last:
            return [(0, values * total, first)]
        spans = []
        for index in range(first, last + 1):
            begin = max(index * TWEAKS_PER_KEY, start) - start
            end = min((index + 1) * TWEAKS_PER_KEY - start, total)
            spans += [(value * total + begin, end - begin, index) for value in range(values)]
        # In ascending order of offsets within a value the spare block past a run is written later;
        # across values it is not, and the encryptor never writes it.
        return spans

    def _use_key(self, index: int) -> CipherContext:
        if index != self._encryptor_index:
            self._encryptor = self._encryptor_of(index)
            self._encryptor_index = index
        return self._encryptor

    def _encryptor_of(self, index: int) -> CipherContext:
        key = hashlib.sha256(frame(*self._binding, index)).digest()[:16]
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - a permutation, not a mode
