"""What a circuit text may ask of an engine, and the two engines without cryptography.

A circuit is written once, in terms of wires. A *bundle* of wires is an array whose last axis is
the batch (engines on labels add an axis of two 64-bit halves behind it); the axes before it are
bits, gates or items, little-endian where they are bits. Indexing, slicing, stacking and
concatenating the leading axes is plain numpy, and one call of `and_` garbles a whole layer.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]
# Bits (…, batch) in the plain engine, labels (…, batch, 2) in the garbling ones: a circuit
# text never looks inside.
Wires = npt.NDArray[Any]

# Below so many instances a call costs more than the gates in it: then the circuits with few
# layers (parallel prefix, trees) win although they have more gates.
NARROW_INSTANCES = 32


class Engine(Protocol):
    """The operations of which every circuit is made."""

    batch: int

    def xor(self, x: Wires, y: Wires) -> Wires:
        """Return x ⊕ y; free."""
        ...

    def xor_all(self, x: Wires) -> Wires:
        """Return the XOR over the first axis; free."""
        ...

    def not_(self, x: Wires) -> Wires:
        """Return ¬x; free."""
        ...

    def and_(self, x: Wires, y: Wires) -> Wires:
        """Return x ∧ y for broadcastable bundles; one gate per resulting wire."""
        ...

    def constant(self, bits: npt.ArrayLike) -> Wires:
        """Return wires for public bits of shape (…, batch) or (…, 1), broadcast to the batch; free."""
        ...

    def zeros_like(self, x: Wires) -> Wires:
        """Return wires for public zeros in the shape of a bundle; free."""
        ...

    def instances(self, x: Wires) -> int:
        """Return how many wires one entry of the first axis holds."""
        ...


def is_narrow(engine: Engine, x: Wires) -> bool:
    """Return whether layers are so narrow that a circuit of few layers is faster."""
    return engine.instances(x) < NARROW_INSTANCES


class PlainEngine:
    """Evaluate a circuit on bits: the oracle of the garbling engines.

    Attributes:
        batch: Width of the last axis.
        ands: Gates evaluated so far.
        layers: Layers that they came in.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.ands = self.layers = 0

    def xor(self, x: Wires, y: Wires) -> Wires:
        """Return x ⊕ y."""
        return x ^ y

    def xor_all(self, x: Wires) -> Wires:
        """Return the XOR over the first axis."""
        return np.asarray(np.bitwise_xor.reduce(x, axis=0))

    def not_(self, x: Wires) -> Wires:
        """Return ¬x."""
        return x ^ np.uint8(1)

    def and_(self, x: Wires, y: Wires) -> Wires:
        """Return x ∧ y and count the gates."""
        result = x & y
        self.ands += self._gates(result)
        self.layers += 1
        return result

    def constant(self, bits: npt.ArrayLike) -> Wires:
        """Return wires for public bits."""
        public = self._public(bits)
        return np.broadcast_to(public, (*public.shape[:-1], self._width()))

    def zeros_like(self, x: Wires) -> Wires:
        """Return wires for public zeros."""
        return np.zeros_like(x)

    def instances(self, x: Wires) -> int:
        """Return how many wires one entry of the first axis holds."""
        return int(np.prod(x.shape[1:]))

    def _gates(self, result: Wires) -> int:
        return int(result.size)

    def _width(self) -> int:
        return self.batch

    def _public(self, bits: npt.ArrayLike) -> Bits:
        return np.asarray(bits, dtype=np.uint8)


class CountingEngine(PlainEngine):
    """Count the gates of a circuit: one instance stands for the whole batch."""

    def instances(self, x: Wires) -> int:
        """Return how many wires one entry of the first axis would hold."""
        return super().instances(x) * self.batch

    def _gates(self, result: Wires) -> int:
        return int(result.size) * self.batch

    def _width(self) -> int:
        return 1

    def _public(self, bits: npt.ArrayLike) -> Bits:
        # The count does not depend on the value of a public bit, so that the first will do.
        return np.asarray(bits, dtype=np.uint8)[..., :1]
