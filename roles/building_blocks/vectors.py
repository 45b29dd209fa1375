"""Packed vectors on their way between the units: second components, and seals of a part of one.

A model's vectors are opened whole and sealed in part: what a seal adds lies at known slots of a
few ciphertexts, and zeros elsewhere (docs/protocols.md §3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crypto.arithmetic import products_pairwise
from crypto.dtpkc import Ciphertext
from crypto.errors import LocalProtocolError, RemoteProtocolError
from crypto.packing import SlotLayout
from crypto.parameters import Parameters

ZERO = Ciphertext(1, 1)
"""The public encryption of zero: a fresh or a reset vector."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive values of a packed vector, and the ciphertexts that they touch.

    Attributes:
        whole: Layout of a vector; its length does not matter.
        start: First value.
        values: Number of values, at least 1.
    """

    whole: SlotLayout
    start: int
    values: int

    @property
    def first(self) -> int:
        """Index of the first ciphertext touched."""
        return self.start // self.whole.slots

    @property
    def ciphertexts(self) -> int:
        """Number of ciphertexts touched."""
        return -(-(self.start + self.values) // self.whole.slots) - self.first

    @property
    def layout(self) -> SlotLayout:
        """Layout of exactly these ciphertexts."""
        return replace(self.whole, values=self.ciphertexts * self.whole.slots)

    def placed(self, values: npt.NDArray[np.unsignedinteger]) -> list[int]:
        """Return the slot values of these ciphertexts: `values` in their places, else zeros.

        Fewer values than the segment has leave its end zero.
        """
        if len(values) > self.values:
            raise LocalProtocolError(f"{len(values)} values do not fit a segment of {self.values}")
        offset = self.start - self.first * self.whole.slots
        whole = [0] * (self.ciphertexts * self.whole.slots)
        whole[offset : offset + len(values)] = [int(value) for value in values]
        return whole


def encode_t2s(parameters: Parameters, ciphertexts: Sequence[Ciphertext]) -> bytes:
    """Return the second components at fixed width: what SU needs beside D (MU)."""
    width = parameters.component_bytes
    return b"".join(ciphertext.t2.to_bytes(width, "big") for ciphertext in ciphertexts)


def decode_t2s(parameters: Parameters, data: bytes) -> list[int]:
    """Return the second components (SU).

    Raises:
        RemoteProtocolError: One of them is no residue.
    """
    width = parameters.component_bytes
    values = [int.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
    if any(not 0 < value < parameters.n_squared for value in values):
        raise RemoteProtocolError("a component is out of range")
    return values


def multiply_in(
    parameters: Parameters, vector: Sequence[Ciphertext], first: int, factors: Sequence[Ciphertext]
) -> tuple[Ciphertext, ...]:
    """Add sealed values to a vector, slot by slot.

    Args:
        parameters: N.
        vector: The ciphertexts so far.
        first: Index of the ciphertext that the first factor belongs to, at most `len(vector)`;
            factors beyond the end lengthen the vector.
        factors: The seals.

    Cost:
        Two multiplications mod N² per factor.
    """
    end = first + len(factors)
    padded = [*vector, *[ZERO] * (end - len(vector))]
    part = padded[first:end]
    t1s = products_pairwise([c.t1 for c in part], [c.t1 for c in factors], parameters.n_squared)
    t2s = products_pairwise([c.t2 for c in part], [c.t2 for c in factors], parameters.n_squared)
    padded[first:end] = [Ciphertext(t1, t2) for t1, t2 in zip(t1s, t2s, strict=True)]
    return tuple(padded)
