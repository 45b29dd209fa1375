"""Packing: many small values in one plaintext, and how they come apart again.

A plaintext is V = Σ v_j·2^(W·j) with k *slots* of stride W. Values are read mod 2^w, w ≤ W.
A `SlotLayout` travels with every packed vector; it knows the largest integer a slot may hold,
and arithmetic that could pass it is refused before it happens (docs/protocols.md §2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crypto.coins import frame
from crypto.errors import LayoutError, PlaintextRangeError
from crypto.profiles import MASK_BITS

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

ROOM_BITS = MASK_BITS + 2
"""Bits kept free above the slots: the mask's excess, its carry, and the sign."""


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """How `values` integers lie in the plaintexts of consecutive ciphertexts.

    Attributes:
        meaning: What the values are, for instance ``counts``; part of every signed statement.
        values: Number of values in the vector.
        value_bits: w; a value is read mod 2^w. At most 64.
        stride_bits: W ≥ w; distance between slots.
        slots: k; values per ciphertext (the last one may hold fewer).
        bound: Largest integer that any slot holds as long as everybody is honest; < 2^W.
        doubled: Slots hold 2v, so that the lowest bit of an opened digit shows its carry.
    """

    meaning: str
    values: int
    value_bits: int
    stride_bits: int
    slots: int
    bound: int
    doubled: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.value_bits <= min(64, self.stride_bits):
            raise LayoutError(f"value width {self.value_bits} does not fit stride {self.stride_bits}")
        if self.values < 1 or self.slots < 1:
            raise LayoutError("a layout holds at least one value and one slot")
        if not 0 <= self.bound < 1 << self.stride_bits:
            raise LayoutError(f"slots of {self.stride_bits} bits of '{self.meaning}' would overflow")

    @classmethod
    def fitting(
        cls, modulus_bits: int, meaning: str, values: int, value_bits: int, stride_bits: int, bound: int
    ) -> "SlotLayout":
        """Return the layout with as many slots as the modulus has room for: kW + 82 ≤ |N|.

        Raises:
            LayoutError: Not even one slot fits.
        """
        slots = (modulus_bits - ROOM_BITS) // stride_bits
        return cls(meaning, values, value_bits, stride_bits, slots, bound)

    @property
    def ciphertexts(self) -> int:
        """Number of ciphertexts that hold the vector."""
        return -(-self.values // self.slots)

    @property
    def packed_bits(self) -> int:
        """k·W: bits below which all slots of one plaintext lie."""
        return self.slots * self.stride_bits

    @property
    def statement(self) -> bytes:
        """What a proof or signature says of the layout; injective, independent of the bound."""
        return frame(
            self.meaning, self.values, self.value_bits, self.stride_bits, self.slots, int(self.doubled)
        )

    def plus(self, other: "SlotLayout") -> "SlotLayout":
        """Return the layout of a slot-wise sum.

        Raises:
            LayoutError: The layouts differ in more than the bound, or a slot could overflow.
        """
        if replace(other, bound=self.bound) != self:
            raise LayoutError(f"cannot add '{other.meaning}' to '{self.meaning}': the layouts differ")
        return replace(self, bound=self.bound + other.bound)

    def minus(self, other: "SlotLayout") -> "SlotLayout":
        """Return the layout after taking out a vector that was added before.

        Raises:
            LayoutError: More would be taken out than was ever added (a slot would borrow).
        """
        if replace(other, bound=self.bound) != self or other.bound > self.bound:
            raise LayoutError(f"cannot take '{other.meaning}' out of '{self.meaning}'")
        return replace(self, bound=self.bound - other.bound)

    def with_bound(self, bound: int) -> "SlotLayout":
        """Return the same layout with another bound (checked)."""
        return replace(self, bound=bound)

    def pack(self, values: Sequence[int] | npt.NDArray[np.integer]) -> list[int]:
        """Return the plaintexts of a vector; doubles the values where the layout says so.

        Args:
            values: Shape ``(values,)``; each v ≥ 0 with v (or 2v) at most `bound`.

        Raises:
            PlaintextRangeError: Wrong length, or a value outside its range.
        """
        if len(values) != self.values:
            raise PlaintextRangeError(f"expected {self.values} values, got {len(values)}")
        integers = [int(value) << self.doubled for value in values]
        if any(not 0 <= value <= self.bound for value in integers):
            raise PlaintextRangeError(f"a value of '{self.meaning}' is outside its slot")
        size = -(-self.stride_bits // 8)
        raw = np.frombuffer(b"".join(v.to_bytes(size, "little") for v in integers), dtype=np.uint8)
        bits = np.unpackbits(raw.reshape(-1, size), axis=1, bitorder="little")[:, : self.stride_bits]
        return self.pack_bits(bits)

    def pack_bits(self, bits: Bits) -> list[int]:
        """Return the plaintexts of slot contents given as bits, shape ``(values, W)``."""
        plaintexts = []
        for start in range(0, self.values, self.slots):
            flat = np.packbits(bits[start : start + self.slots].reshape(-1), bitorder="little")
            plaintexts.append(int.from_bytes(flat.tobytes(), "little"))
        return plaintexts

    def digit_bits(self, integers: Sequence[int]) -> Bits:
        """Return the digits base 2^W of opened (or masking) integers, shape ``(values, W)``.

        What lies above the slots (the mask's excess) is dropped.

        Raises:
            PlaintextRangeError: Wrong number of integers.
        """
        if len(integers) != self.ciphertexts:
            raise PlaintextRangeError(f"expected {self.ciphertexts} integers, got {len(integers)}")
        size = -(-self.packed_bits // 8)
        low = (1 << self.packed_bits) - 1
        raw = b"".join((integer & low).to_bytes(size, "little") for integer in integers)
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8).reshape(-1, size), axis=1, bitorder="little")
        return bits[:, : self.packed_bits].reshape(-1, self.stride_bits)[: self.values]

    def unpack(self, plaintexts: Sequence[int]) -> list[int]:
        """Return the slot contents as integers (still doubled where the layout says so).

        For plaintexts opened whole, without a mask: answers at a client, and tests.
        """
        mask = (1 << self.stride_bits) - 1
        if len(plaintexts) != self.ciphertexts:
            raise PlaintextRangeError(f"expected {self.ciphertexts} plaintexts, got {len(plaintexts)}")
        return [
            plaintexts[j // self.slots] >> (self.stride_bits * (j % self.slots)) & mask
            for j in range(self.values)
        ]


def words_of_bits(bits: Bits) -> Words:
    """Return the integers of little-endian bits along the last axis, at most 64 of them."""
    width = bits.shape[-1]
    if width > 64:
        raise LayoutError("words have at most 64 bits")
    padded = np.zeros((*bits.shape[:-1], 64), dtype=np.uint8)
    padded[..., :width] = bits
    packed = np.packbits(padded, axis=-1, bitorder="little")
    return packed.reshape(*bits.shape[:-1], 8).view("<u8").reshape(bits.shape[:-1]).astype(np.uint64)


def bits_of_words(words: npt.NDArray[np.unsignedinteger], width: int) -> Bits:
    """Return the `width` low bits of unsigned words along a new last axis, little-endian."""
    raw = np.ascontiguousarray(words.astype("<u8")).view(np.uint8).reshape(*words.shape, 8)
    return np.unpackbits(raw, axis=-1, bitorder="little")[..., :width]
