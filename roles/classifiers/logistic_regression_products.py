"""Priv-LR: the two products of a step, z = X·w and g = Xᵀ·e, over records of numbers and bits.

For numbers (words and the constant), the bits of weights and errors choose and the records are
the payload. For one-hot bits it is the other way round: the records' bits choose, once and for all
passes, and words of weights and errors are the payload under a new salt each time. Both sums have
22 and 20 fractional bits, whichever way a column came (docs/protocols.md §6).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from crypto.block_hash import SALT_BYTES, BlockHash
from crypto.circuits.logistic import SIGMOID_BITS
from crypto.ot_extension import ReceivedRows, SentRows
from roles.building_blocks.multiply import (
    receive_column_sums,
    receive_row_sums,
    send_column_sums,
    send_row_sums,
)
from roles.building_blocks.number_products import NumberProducts
from roles.classifiers.logistic_regression_schedule import FORWARD_SHIFT, WEIGHT_BITS, part_sizes
from roles.plan import Section, Sections
from roles.session import Session, array_bytes

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

FORWARD_BITS = WEIGHT_BITS - FORWARD_SHIFT
_WORD_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class RecordShares:
    """One unit's shares of records, and the rows of their bits.

    Attributes:
        numbers: Word shares of words and constant, shape (n, words + 1).
        bits: Bit shares of the bits that are features, shape (n, columns).
        own_rows: Rows under this unit's bits, record by record.
        peer_rows: Rows under the peer's.
    """

    numbers: Words = field(repr=False)
    bits: Bits = field(repr=False)
    own_rows: ReceivedRows = field(repr=False)
    peer_rows: SentRows = field(repr=False)

    def batch(self, start: int, stop: int) -> "RecordShares":
        """Return some of the records."""
        columns = self.bits.shape[1]
        rows = slice(start * columns, stop * columns)
        return RecordShares(
            np.ascontiguousarray(self.numbers[start:stop]),
            self.bits[start:stop],
            ReceivedRows(self.own_rows.rows[rows], self.own_rows.choices[rows]),
            SentRows(self.peer_rows.rows[rows], self.peer_rows.delta),
        )


@dataclass(frozen=True)
class RecordProducts:
    """The public shape of both products over a batch of records, and both halves of them.

    Attributes:
        problems: K.
        words: Columns that are narrow words.
        columns: Columns that are bits.
        records: n.
    """

    problems: int
    words: int
    columns: int
    records: int

    @cached_property
    def forward(self) -> NumberProducts:
        """Weights times columns of numbers: the payload of a bit is a column of n records."""
        weights = tuple(1 << bit for bit in range(FORWARD_BITS - 1))
        signed = (*weights, -(1 << (FORWARD_BITS - 1)))
        return NumberProducts(self.problems, (self.words + 1,), signed, self.records)

    @cached_property
    def backward(self) -> NumberProducts:
        """Errors times numbers: 2^(b+1) for a bit of m, −2^10 for the label, in units of 2^−10."""
        weights = (*(2 << bit for bit in range(SIGMOID_BITS)), -(2 << SIGMOID_BITS))
        return NumberProducts(self.problems, part_sizes(self.records), weights, self.words + 1)

    @property
    def starts(self) -> tuple[int, ...]:
        """First record of every part whose gradient is summed apart."""
        return (0, *accumulate(self.backward.parts[:-1]))

    def forward_sections(self) -> tuple[Section, ...]:
        """Return what one direction of the first product sends: salt, corrections."""
        return self._sections("forward", self.forward)

    def backward_sections(self) -> tuple[Section, ...]:
        """Return what one direction of the second product sends."""
        return self._sections("gradient", self.backward)

    def send_forward(
        self, session: Session, weights: Bits, led: Words, records: RecordShares, rows: SentRows
    ) -> tuple[Sections, Words]:
        """Return salt and corrections, and this unit's shares of its part of z, shape (K, n).

        Args:
            session: Where we are; the salt's purpose is ``forward``.
            weights: Bit shares of the weights of numbers, shape (18, K, words + 1).
            led: Word shares of ⌊w/2^6⌋·2^10 of the weights of bits, shape (columns, K).
            records: This unit's.
            rows: Under the peer's choices, for the numbers.

        Cost:
            18(words + 1)K transfers of n words, and n·columns of K words.
        """
        matrix = np.ascontiguousarray(records.numbers.T)
        salt = session.salt("forward", array_bytes(weights, matrix, records.bits, led))
        block_hash = _hash(session, "forward", salt, sends=True)
        scores, corrections = self.forward.send(rows, weights, matrix, block_hash)
        total: Words = scores[0]
        if not self.columns:
            return (salt, corrections), total
        block_hash = _hash(session, "forward bits", salt, sends=True)
        of_bits, more = send_row_sums(records.peer_rows, records.bits, led, block_hash)
        return (salt, corrections, more), total + of_bits.T.astype(np.uint32)

    def receive_forward(
        self, session: Session, sent: Sequence[bytes], records: RecordShares, rows: ReceivedRows
    ) -> Words:
        """Return this unit's shares of the peer's part of z, shape (K, n)."""
        salt, corrections, *more = sent
        scores = self.forward.receive(rows, corrections, _hash(session, "forward", salt, sends=False))
        total: Words = scores[0]
        if not self.columns:
            return total
        block_hash = _hash(session, "forward bits", salt, sends=False)
        shape = (self.records, self.columns, self.problems)
        of_bits = receive_row_sums(records.own_rows, more[0], shape, np.uint32, block_hash)
        return total + of_bits.T.astype(np.uint32)

    def send_backward(
        self, session: Session, errors: Bits, error_words: Words, records: RecordShares, rows: SentRows
    ) -> tuple[Sections, Words]:
        """Return salt and corrections, and this unit's shares of its part of g, shape (parts, K, d + 1).

        Args:
            session: Where we are; the salt's purpose is ``gradient``.
            errors: Bit shares of m and label, shape (10, K, n).
            error_words: Word shares of e·2^20, shape (n, K), for records with bits.
            records: This unit's.
            rows: Under the peer's choices, for the numbers.

        Cost:
            10nK transfers of words + 1 words, and n·columns of K words.
        """
        salt = session.salt("gradient", array_bytes(errors, records.numbers, records.bits, error_words))
        block_hash = _hash(session, "gradient", salt, sends=True)
        numbers, corrections = self.backward.send(rows, errors, records.numbers, block_hash)
        # Σ x: the halves that m + ½ leaves out.
        numbers += np.add.reduceat(records.numbers, self.starts, axis=0, dtype=np.uint32)[:, np.newaxis]
        if not self.columns:
            return (salt, corrections), numbers
        block_hash = _hash(session, "gradient bits", salt, sends=True)
        of_bits, more = send_column_sums(
            records.peer_rows, records.bits, error_words, self.starts, block_hash
        )
        return (salt, corrections, more), self._joined(numbers, of_bits)

    def receive_backward(
        self, session: Session, sent: Sequence[bytes], records: RecordShares, rows: ReceivedRows
    ) -> Words:
        """Return this unit's shares of the peer's part of g, shape (parts, K, d + 1)."""
        salt, corrections, *more = sent
        numbers = self.backward.receive(rows, corrections, _hash(session, "gradient", salt, sends=False))
        if not self.columns:
            return numbers
        block_hash = _hash(session, "gradient bits", salt, sends=False)
        shape = (self.records, self.columns, self.problems)
        of_bits = receive_column_sums(records.own_rows, more[0], shape, self.starts, np.uint32, block_hash)
        return self._joined(numbers, of_bits)

    def _joined(self, numbers: Words, of_bits: npt.NDArray[np.unsignedinteger]) -> Words:
        """Put columns in order: words, bits, constant."""
        middle = of_bits.transpose(0, 2, 1).astype(np.uint32)
        return np.concatenate([numbers[..., :-1], middle, numbers[..., -1:]], axis=2)

    def _sections(self, name: str, numbers: NumberProducts) -> tuple[Section, ...]:
        sections = (Section(f"{name}.salt", SALT_BYTES), Section(f"{name}.words", numbers.payload_bytes))
        if not self.columns:
            return sections
        of_bits = self.records * self.columns * self.problems * _WORD_BYTES
        return (*sections, Section(f"{name}.bits", of_bits))


def sent_sections(fields: dict[str, bytes], name: str) -> list[bytes]:
    """Return salt and corrections of a product from a message's fields."""
    return [data for field_name, data in fields.items() if field_name.split(".")[0] == name]


def _hash(session: Session, purpose: str, salt: bytes, *, sends: bool) -> BlockHash:
    """Return the hash of pads that travel from MU with a request, or from SU with a reply."""
    in_request = sends == (session.unit == "mu")
    return session.request_hash(purpose, salt) if in_request else session.reply_hash(purpose, salt)
