"""Multiply: XOR-shared numbers times a matrix of which each unit holds a word share (§3.2).

out = A·X mod 2^32 with A = Σ_b 2^b·a_b from XOR-shared bits and X = X_M + X_S. Each unit sends for
its own share of the matrix, a row of which is the payload of every bit that multiplies it, and the
peer's shares of the bits choose. Both products of logistic regression are of this form: weights
times columns of records, and errors times records.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_bit_products
from crypto.errors import LocalProtocolError, RemoteProtocolError
from crypto.ot_extension import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

WORD_BYTES = 4

# Rows are worked off in runs whose payload stays in the cache. Both units hash row by row in the
# same order, so that the number changes neither bytes nor tweaks.
_RUN_BYTES = 1 << 17


@dataclass(frozen=True)
class NumberProducts:
    """The public shape of a product, and both halves of it.

    Attributes:
        lines: K, rows of A.
        parts: Numbers of consecutive columns of A whose products are summed apart; in all I.
        weights: What bit b of a number counts, mod 2^32.
        width: m, columns of X.
    """

    lines: int
    parts: tuple[int, ...]
    weights: tuple[int, ...]
    width: int

    @property
    def items(self) -> int:
        """I, columns of A and rows of X."""
        return sum(self.parts)

    @property
    def rows(self) -> int:
        """Rows of the transfer extension, K·I·B; as many choices."""
        return self.lines * self.items * len(self.weights)

    @property
    def payload_bytes(self) -> int:
        """Bytes of corrections in one direction."""
        return self.rows * self.width * WORD_BYTES

    def choices(self, bits: Bits) -> Bits:
        """Return shares of A, shape (B, K, I), as choices."""
        self._check(bits)
        return np.ascontiguousarray(bits.transpose(1, 2, 0)).reshape(-1)

    def send(self, rows: SentRows, bits: Bits, matrix: Words, block_hash: BlockHash) -> tuple[Words, bytes]:
        """Return this unit's shares of A·X for its own share of X, and the corrections.

        Args:
            rows: `rows` of them, whose choices are the peer's shares of the bits.
            bits: Shape (B, K, I): this unit's shares.
            matrix: Shape (I, m): this unit's share of X.
            block_hash: Made from this unit's salt, which is bound to `bits` and `matrix`.

        Returns:
            Shares of shape (parts, K, m), and `payload_bytes` for the peer.

        Cost:
            K·I·B transfers with m words of payload.

        Source:
            Gilboa 1999; docs/protocols.md §3.2 (bit × word vector).
        """
        choices = self.choices(bits)
        if matrix.shape != (self.items, self.width) or matrix.dtype != np.uint32:
            raise LocalProtocolError("the matrix has another shape")
        out, corrections = self._zeros(), []
        for line, part, items, taken in self._runs():
            words = np.repeat(matrix[items], len(self.weights), axis=0)
            run = SentRows(rows.rows[taken], rows.delta)
            products, bytes_of_run = send_bit_products(run, choices[taken], words, block_hash)
            corrections.append(bytes_of_run)
            out[part, line] += self._weighted(products)
        return out, b"".join(corrections)

    def receive(self, rows: ReceivedRows, corrections: bytes, block_hash: BlockHash) -> Words:
        """Return this unit's shares of A·X for the peer's share of X, shape (parts, K, m).

        Args:
            rows: `rows` of them, whose choices are `choices` of this unit's bits.
            corrections: What `send` returned at the peer.
            block_hash: Made from the salt that came with the corrections.

        Raises:
            RemoteProtocolError: The corrections have another length.
        """
        if len(corrections) != self.payload_bytes:
            raise RemoteProtocolError("corrections of another length came")
        out = self._zeros()
        view, row_bytes = memoryview(corrections), self.width * WORD_BYTES
        for line, part, _, taken in self._runs():
            run = ReceivedRows(rows.rows[taken], rows.choices[taken])
            of_run = bytes(view[taken.start * row_bytes : taken.stop * row_bytes])
            products = receive_words(run, of_run, self.width, np.uint32, block_hash)
            out[part, line] += self._weighted(products)
        return out

    def _zeros(self) -> Words:
        return np.zeros((len(self.parts), self.lines, self.width), dtype=np.uint32)

    def _weighted(self, products: Words) -> Words:
        sums = products.reshape(-1, len(self.weights), self.width).sum(axis=0, dtype=np.uint32)
        factors = np.array(self.weights, dtype=np.int64).astype(np.uint32)[:, np.newaxis]
        weighted: Words = (sums * factors).sum(axis=0, dtype=np.uint32)
        return weighted

    def _runs(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Yield (line, part, items, rows) of runs, in the order of the rows."""
        bits = len(self.weights)
        most = max(1, _RUN_BYTES // (bits * self.width * WORD_BYTES))
        for line in range(self.lines):
            first = 0
            for part, size in enumerate(self.parts):
                for start in range(first, first + size, most):
                    stop = min(start + most, first + size)
                    row = line * self.items
                    yield line, part, slice(start, stop), slice((row + start) * bits, (row + stop) * bits)
                first += size

    def _check(self, bits: Bits) -> None:
        if bits.shape != (len(self.weights), self.lines, self.items):
            raise LocalProtocolError("the bits have another shape than the numbers")
