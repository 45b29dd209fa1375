"""What a unit holds while it trains: its shares of tests, records and counts.

Both halves of a window's program (`roles.classifiers.hoeffding_tree_training`) keep the same things
and derive the same inputs from them; only the shares differ.
"""

from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crypto.circuits.words import word_bits
from crypto.ot_extension import ReceivedRows, SentRows
from roles.classifiers.hoeffding_tree_growth import bits_of_tests, words_of_tests
from roles.classifiers.hoeffding_tree_shape import TreeModel
from roles.classifiers.hoeffding_tree_window import Block, WindowShape
from roles.plan import Sections
from roles.session import Session
from roles.unit_secrets import UnitSecrets

Bits = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]
Result = TypeVar("Result")
Trip = Generator[Sections, Sections, Result]
"""A part of a program: some round trips and what they leave at this unit."""


@dataclass(slots=True)
class WindowHalf:
    """One unit's running state in a window.

    Attributes:
        tests: Shape (I, F): its shares of the nodes' tests, opened with the first chunk.
        choosing: Rows of these as its choices; they serve every chunk, each under its own salt.
        sending: Rows of the peer's.
        counts: Shape (L·C, J): its shares of the window's counts.
        valid: Valid records of the chunks so far (MU).
    """

    session: Session
    secrets: UnitSecrets
    shape: WindowShape
    pool: ThreadPoolExecutor | None
    tests: Bits = field(repr=False)
    counts: Words = field(repr=False)
    choosing: ReceivedRows | None = field(default=None, repr=False)
    sending: SentRows | None = field(default=None, repr=False)
    valid: list[int] = field(default_factory=list)

    @property
    def seen(self) -> np.uint32:
        """This unit's share of the number of valid records so far."""
        return np.uint32(self.counts[:, -1].sum(dtype=np.uint32))

    def opens_tests(self, chunk: int) -> bool:
        """Whether the nodes' tests are opened with this chunk."""
        return chunk == 0 and self.shape.inner > 0


@dataclass(frozen=True, slots=True)
class RecordShares:
    """One unit's shares of a chunk's records.

    Attributes:
        bits: All bits, record after record.
        labels: Shape (n, C).
        tests: Shape (n, F).
    """

    bits: Bits = field(repr=False)
    labels: Bits = field(repr=False)
    tests: Bits = field(repr=False)


@dataclass(frozen=True, slots=True)
class TestShares:
    """One unit's shares of what step 2 finds.

    Attributes:
        outcomes: Shape (I, n); None for a tree without inner nodes.
        words: Shape (n, record bits).
    """

    outcomes: Bits | None = field(repr=False)
    words: Words = field(repr=False)


def window_half(
    session: Session, secrets: UnitSecrets, shape: WindowShape, pool: ThreadPoolExecutor | None
) -> WindowHalf:
    """Return the state of a unit before the first chunk of a window."""
    tests = np.zeros((0, shape.model.tests), dtype=np.uint8)
    counts = np.zeros((shape.kinds, shape.columns), dtype=np.uint32)
    return WindowHalf(session, secrets, shape, pool, tests, counts)


def split_records(model: TreeModel, bits: Bits) -> RecordShares:
    """Cut one unit's opened bits of a chunk into records."""
    rows = bits.reshape(-1, model.record_bits)
    onehot = np.ascontiguousarray(rows[:, : model.onehot])
    return RecordShares(bits, rows[:, model.onehot :], bits_of_tests(onehot, model.attributes))


def counted_columns(shape: WindowShape, words: Words, constant: int) -> Words:
    """Return one unit's word shares of the test columns and of the constant 1, (n, J)."""
    ones = np.full((len(words), 1), constant, dtype=np.uint32)
    if not shape.is_growing:
        return ones
    tests = words_of_tests(words[:, : shape.model.onehot], shape.model.attributes)
    return np.concatenate([tests, ones], axis=1)


def route_inputs(
    shape: WindowShape, records: RecordShares, tested: TestShares, *, is_master: bool
) -> Mapping[str, Bits]:
    """Return one unit's shares of the circuit's inputs.

    The check bits, (K, n), XOR to 0 iff every one-hot group of columns sums to 1. The columns are
    bits, so that a sum of 1 is one set column, and s_M + s_S = 1 mod 2^k is the equality
    s_M = 1 − s_S of what the units hold.
    """
    groups = shape.model.group_sizes
    starts = np.cumsum([0, *groups])[:-1]
    sums = np.add.reduceat(tested.words, starts, axis=1, dtype=np.uint32)
    compared = sums if is_master else np.uint32(1) - sums
    checks = [word_bits(compared[:, k], size.bit_length()) for k, size in enumerate(groups)]
    inputs = {"labels": np.ascontiguousarray(records.labels.T), "checks": np.concatenate(checks)}
    return inputs if tested.outcomes is None else inputs | {"outcomes": tested.outcomes}


def block_inputs(inputs: Mapping[str, Bits], block: Block) -> Mapping[str, Bits]:
    """Return the inputs of a block's records."""
    return {name: np.ascontiguousarray(bits[:, block.part]) for name, bits in inputs.items()}


def indicators_of(counted: Bits) -> Bits:
    """Return a circuit's (L, C, n) as (n, L·C)."""
    return np.ascontiguousarray(counted.reshape(-1, counted.shape[-1]).T)
