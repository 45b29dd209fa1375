"""Squares: from shares of class counts to shares of Σ_c L², Σ_c N·L and Σ_c N² (§7).

With x = x_M + x_S the cross terms are 2·x_M·x_S, N_M·x_S and N_S·x_M. SU's bits of x_S choose
(2·x_M, N_M), its bits of N_S choose all of MU's counts of the class, each shifted to the weight
of the bit; everything else is local. MU is the sender, so that it knows its shares at once.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crypto.block_hash import BlockHash
from crypto.correlated_ot import receive_words, send_words
from crypto.ot_extension import ReceivedRows, SentRows

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

WORD_BITS = 32
_WEIGHTS = np.arange(WORD_BITS, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class SquareSums:
    """One unit's shares of the sums over classes, of every leaf.

    Attributes:
        squares: Shape (d, F + 1): Σ_c L_fc²; the last column is Σ_c N_c².
        products: Shape (d, F): Σ_c N_c·L_fc.
    """

    squares: Words = field(repr=False)
    products: Words = field(repr=False)

    def sides(self) -> tuple[Words, Words]:
        """Return shares of A = Σ L² and B = Σ (N − L)², the null split first, both (d, F + 1)."""
        null = self.squares[:, -1:]
        passed = self.squares[:, :-1]
        failed = null - np.uint32(2) * self.products + passed
        return np.concatenate([null, passed], axis=1), np.concatenate([np.zeros_like(null), failed], axis=1)


@dataclass(frozen=True, slots=True)
class SquareShape:
    """Sizes: d leaves, F tests, C classes."""

    leaves: int
    tests: int
    classes: int

    @property
    def test_rows(self) -> int:
        """Choices among SU's bits of the tests' counts."""
        return self.leaves * self.tests * self.classes * WORD_BITS

    @property
    def class_rows(self) -> int:
        """Choices among SU's bits of the class counts."""
        return self.leaves * self.classes * WORD_BITS

    @property
    def choices(self) -> int:
        """All of SU's choices."""
        return self.test_rows + self.class_rows

    @property
    def correction_bytes(self) -> tuple[int, int]:
        """Bytes of MU's corrections for either kind."""
        return self.test_rows * 2 * 4, self.class_rows * (self.tests + 1) * 4


def count_choices(counts: Words) -> Bits:
    """Return SU's choices: the bits of its shares, tests first.

    Args:
        counts: Shape (d, F + 1, C): SU's shares of L_fc, then of N_c.
    """
    bits = (counts[..., np.newaxis] >> _WEIGHTS & np.uint32(1)).astype(np.uint8)
    return np.concatenate([bits[:, :-1].reshape(-1), bits[:, -1].reshape(-1)])


def send_squares(
    rows: tuple[SentRows, SentRows], counts: Words, block_hash: BlockHash
) -> tuple[SquareSums, tuple[bytes, bytes]]:
    """Return MU's shares, and the corrections for SU.

    Args:
        rows: Of SU's choices among the tests' bits, and among the class counts' bits.
        counts: Shape (d, F + 1, C): MU's shares.
        block_hash: Made from MU's salt, which is bound to `counts`.

    Cost:
        32·(F + 1)·C transfers per leaf, with 2 words for a test's bit, F + 1 for a class's.
    """
    leaves, columns, classes = counts.shape
    null = counts[:, -1]
    pair = np.stack(
        [np.uint32(2) * counts[:, :-1], np.broadcast_to(null[:, np.newaxis], counts[:, :-1].shape)], axis=-1
    )
    weighed = pair[..., np.newaxis, :] << _WEIGHTS[:, np.newaxis]
    crossed, first = send_words(rows[0], weighed.reshape(-1, 2), block_hash)
    every = np.moveaxis(counts, 1, 2)[:, :, np.newaxis, :] << _WEIGHTS[:, np.newaxis]
    by_class, second = send_words(rows[1], np.ascontiguousarray(every.reshape(-1, columns)), block_hash)
    shares = _joined(counts, np.uint32(0) - crossed, np.uint32(0) - by_class, (leaves, columns, classes))
    return shares, (first, second)


def receive_squares(
    rows: tuple[ReceivedRows, ReceivedRows],
    corrections: tuple[bytes, bytes],
    counts: Words,
    block_hash: BlockHash,
) -> SquareSums:
    """Return SU's shares.

    Args:
        rows: Of its choices, as `count_choices` orders them.
        corrections: From MU.
        counts: Shape (d, F + 1, C): SU's shares.
        block_hash: Made from the salt that came with the corrections.
    """
    leaves, columns, classes = counts.shape
    crossed = receive_words(rows[0], corrections[0], 2, np.uint32, block_hash)
    by_class = receive_words(rows[1], corrections[1], columns, np.uint32, block_hash)
    return _joined(counts, crossed, by_class, (leaves, columns, classes))


def _joined(counts: Words, crossed: Words, by_class: Words, shape: tuple[int, int, int]) -> SquareSums:
    """Add up local products and shares of cross terms."""
    leaves, columns, classes = shape
    tests = crossed.reshape(leaves, columns - 1, classes * WORD_BITS, 2).sum(axis=2, dtype=np.uint32)
    totals = by_class.reshape(leaves, classes * WORD_BITS, columns).sum(axis=1, dtype=np.uint32)
    squares = (counts * counts).sum(axis=2, dtype=np.uint32)
    products = (counts * counts[:, -1:]).sum(axis=2, dtype=np.uint32)
    squares[:, :-1] += tests[..., 0]
    squares[:, -1] += np.uint32(2) * totals[:, -1]
    products = products[:, :-1] + tests[..., 1] + totals[:, :-1]
    return SquareSums(squares, products)
