"""The rows of an extension, and who may use which of them.

A row is either the active label of a garbled input wire or the seed of a transfer pad, never
both: both units take their rows from a stock, in the same order, and none is handed out twice.
Rows whose choices do not change may be kept and serve as pads again, under the salt of a later
message (docs/protocols.md §3.2).
"""

from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from crypto.errors import LocalProtocolError

Bits = npt.NDArray[np.uint8]
Blocks = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ReceivedRows:
    """Rows of the receiver: one block per choice.

    Attributes:
        rows: Shape (n, 2): the active labels, or the seeds of the receiver's pads.
        choices: Shape (n,), zeros and ones.
    """

    rows: Blocks = field(repr=False)
    choices: Bits = field(repr=False)

    def __post_init__(self) -> None:
        _check_blocks(self.rows)
        if self.choices.shape != self.rows.shape[:1] or self.choices.dtype != np.uint8:
            raise ValueError("every row has one choice")

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> NoReturn:
        raise TypeError("transfer rows are secret and are not pickled")


@dataclass(frozen=True, slots=True)
class SentRows:
    """Rows of the sender: the block of choice 0; `delta` leads to the block of choice 1.

    Attributes:
        rows: Shape (n, 2): the zero labels, or the seeds of the pads for choice 0.
        delta: Shape (2,), the correlation of all rows of a key epoch.
    """

    rows: Blocks = field(repr=False)
    delta: Blocks = field(repr=False)

    def __post_init__(self) -> None:
        _check_blocks(self.rows)
        if self.delta.shape != (2,) or self.delta.dtype != np.uint64:
            raise ValueError("delta is one block")

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> NoReturn:
        raise TypeError("transfer rows are secret and are not pickled")

    def both(self) -> Blocks:
        """Return the blocks of choice 0 and choice 1, shape (2, n, 2)."""
        return np.stack([self.rows, self.rows ^ self.delta])


class _Stock:
    """Hand out disjoint stretches of a batch of rows, in order."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used = 0

    def _next_slice(self, size: int, total: int) -> slice:
        if not 0 <= size <= total - self._used:
            raise LocalProtocolError(f"{size} rows asked for, {total - self._used} left")
        start = self._used
        self._used += size
        return slice(start, self._used)


class ReceiverRows(_Stock):
    """The receiver's rows of one extension; every row is handed out once."""

    __slots__ = ("_received",)

    def __init__(self, received: ReceivedRows) -> None:
        super().__init__()
        self._received = received

    @property
    def remaining(self) -> int:
        """Return how many rows are left."""
        return len(self._received) - self._used

    def take(self, size: int) -> ReceivedRows:
        """Hand out the next `size` rows with their choices.

        Raises:
            LocalProtocolError: Fewer rows are left. None is handed out then.
        """
        part = self._next_slice(size, len(self._received))
        return ReceivedRows(self._received.rows[part], self._received.choices[part])


class SenderRows(_Stock):
    """The sender's rows of one extension; every row is handed out once."""

    __slots__ = ("_sent",)

    def __init__(self, sent: SentRows) -> None:
        super().__init__()
        self._sent = sent

    @property
    def remaining(self) -> int:
        """Return how many rows are left."""
        return len(self._sent) - self._used

    def take(self, size: int) -> SentRows:
        """Hand out the next `size` rows.

        Raises:
            LocalProtocolError: Fewer rows are left. None is handed out then.
        """
        part = self._next_slice(size, len(self._sent))
        return SentRows(self._sent.rows[part], self._sent.delta)


def _check_blocks(rows: Blocks) -> None:
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype != np.uint64:
        raise ValueError("rows are blocks of shape (n, 2)")
