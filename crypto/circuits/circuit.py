"""A circuit as a value: parameters, declared inputs, its text, its size and its digest."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache
from typing import ClassVar

import numpy as np

from crypto.circuits.engine import Bits, CountingEngine, Engine, PlainEngine, Wires
from crypto.coins import digest
from crypto.errors import LocalProtocolError


class Owner(Enum):
    """Who knows the bits of an input."""

    EVALUATOR = "evaluator"
    """MU's own bits: they were MU's choices in the transfer extension."""
    SHARED = "shared"
    """MU's choices XOR bits of SU: one wire, and neither knows its value."""
    GARBLER = "garbler"
    """SU's own bits: no transfer, no bytes."""


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input of a circuit: its name, its owner, its shape without the batch axis."""

    name: str
    owner: Owner
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Circuit(ABC):
    """Base of all circuits: a frozen dataclass of public parameters.

    A subclass raises `VERSION` with every change of its text that moves a gate, so that two
    builds never garble different circuits under one digest.
    """

    VERSION: ClassVar[int] = 1

    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """Return the inputs in the order in which `evaluate` takes them."""

    @abstractmethod
    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Run the circuit; `wires` and the result are bundles of shape (…, batch)."""

    def digest(self) -> bytes:
        """Return 32 bytes that name this text with these parameters."""
        parameters = tuple((field.name, _framed(getattr(self, field.name))) for field in fields(self))
        return digest("privml/circuit/1", type(self).__name__, self.VERSION, parameters)

    def and_gates(self, batch: int) -> int:
        """Return how many AND gates one garbling at that batch width has; each is 32 bytes."""
        return _size(self, batch)[0]

    def and_layers(self, batch: int) -> int:
        """Return in how many layers the gates are garbled: what is paid whatever the batch is."""
        return _size(self, batch)[1]

    def choice_count(self, batch: int) -> int:
        """Return how many rows of the transfer extension the circuit consumes."""
        return sum(
            int(np.prod(item.shape)) * batch for item in self.inputs() if item.owner is not Owner.GARBLER
        )

    def choices(self, batch: int, bits: Mapping[str, Bits]) -> Bits:
        """Join MU's bits into the choices of the transfer extension.

        Args:
            batch: Width of the batch.
            bits: For every input of owner `EVALUATOR` or `SHARED`, by name, MU's bits or share,
                shape (*shape, batch).

        Returns:
            Shape (choice_count,), in declared order.

        Raises:
            LocalProtocolError: An input is missing, unknown or has another shape.
        """
        names = [item.name for item in self.inputs() if item.owner is not Owner.GARBLER]
        if set(bits) != set(names):
            raise LocalProtocolError(f"the evaluator's inputs are {names}")
        parts = [
            checked_bits(item, batch, bits[item.name]).reshape(-1)
            for item in self.inputs()
            if item.owner is not Owner.GARBLER
        ]
        return np.concatenate([np.zeros(0, dtype=np.uint8), *parts])

    def evaluate_plain(self, batch: int, bits: Mapping[str, Bits]) -> tuple[Bits, ...]:
        """Run the circuit on plain bits, by input name; an XOR-shared input takes the joined bits."""
        wires = [checked_bits(item, batch, bits[item.name]) for item in self.inputs()]
        return self.evaluate(PlainEngine(batch), *wires)


def checked_bits(item: Input, batch: int, bits: Bits) -> Bits:
    """Return the bits of a declared input.

    Raises:
        LocalProtocolError: They have another shape, or are not uint8 zeros and ones.
    """
    if bits.shape != (*item.shape, batch):
        raise LocalProtocolError(f"input {item.name} has shape {(*item.shape, batch)}, not {bits.shape}")
    if bits.dtype != np.uint8 or (bits.size and int(bits.max()) > 1):
        raise LocalProtocolError(f"input {item.name} takes uint8 zeros and ones")
    return bits


@lru_cache(maxsize=256)
def _size(circuit: Circuit, batch: int) -> tuple[int, int]:
    engine = CountingEngine(batch)
    circuit.evaluate(engine, *(np.zeros((*item.shape, 1), dtype=np.uint8) for item in circuit.inputs()))
    return engine.ands, engine.layers


def _framed(value: object) -> int | str | bytes | tuple[object, ...]:
    if isinstance(value, Circuit):
        return value.digest()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | str | bytes):
        return value
    if isinstance(value, tuple):
        return tuple(_framed(item) for item in value)
    raise TypeError(f"a circuit has no parameters of type {type(value).__name__}")
