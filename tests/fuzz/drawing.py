"""Reproducible choices for fuzzing: a small generator from SHAKE256, the same on every machine."""

import builtins
import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_BLOCK_BYTES = 1 << 16


class Draws:
    """A stream of choices named by a seed; another seed is another stream."""

    def __init__(self, seed: str) -> None:
        self._words = _words(seed)

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound), bound at most 2^63; close enough to uniform for a test."""
        return next(self._words) % bound

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high], of any size."""
        width = high - low + 1
        if width <= 1 << 62:
            return low + next(self._words) % width
        return low + int.from_bytes(self.bytes(width.bit_length() // 8 + 8), "little") % width

    def chance(self, one_in: int) -> bool:
        """Return True once in so many calls."""
        return next(self._words) % one_in == 0

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[next(self._words) % len(choices)]

    def bytes(self, size: int) -> builtins.bytes:
        """Return that many bytes."""
        words = self._words
        return b"".join([next(words).to_bytes(8, "little") for _ in range((size + 7) >> 3)])[:size]

    def up_to(self, size: int) -> builtins.bytes:
        """Return at most that many bytes, short ones as often as long ones."""
        return self.bytes(self.below(self.pick((2, 17, size + 1))))


def _words(seed: str) -> Iterator[int]:
    block = 0
    while True:
        data = hashlib.shake_256(f"privml/fuzz/{seed}/{block}".encode()).digest(_BLOCK_BYTES)
        yield from np.frombuffer(data, dtype="<u8").tolist()
        block += 1
