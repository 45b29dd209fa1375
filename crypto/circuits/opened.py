"""Circuits on the digits of an opening: what a slot held, from S at SU and the mask ρ at MU.

A digit d of S is v + r + c mod 2^W: the slot's value, the mask's digit, and the carry out of the
digits below, which neither unit knows (docs/protocols.md §3.1).
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import halve_difference
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.selection import less_than
from crypto.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class SlotCarries(Circuit):
    """β = [d < r] of every slot: it wrapped, and carried into the next one.

    The batch is the slots.

    Attributes:
        stride_bits: W, all bits of a digit.

    Cost:
        W gates per slot.

    Source:
        docs/protocols.md §3.1 (narrow words).
    """

    stride_bits: int

    def inputs(self) -> tuple[Input, ...]:
        """Return MU's digits and SU's, W bits each."""
        return (
            Input("digits_mu", Owner.EVALUATOR, (self.stride_bits,)),
            Input("digits_su", Owner.GARBLER, (self.stride_bits,)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return β, shape (batch,)."""
        digits_mu, digits_su = wires
        return (less_than(engine, digits_su, digits_mu),)


@dataclass(frozen=True, slots=True)
class OpenedState(Circuit):
    """The low bits of v from a slot that holds 2v: an adder that drops the carry's bit.

    The batch is the values.

    Attributes:
        value_bits: Bits of v to keep; of the digits one more is read.

    Cost:
        `value_bits` gates per value.

    Source:
        docs/protocols.md §3.4.
    """

    value_bits: int

    def __post_init__(self) -> None:
        if self.value_bits < 1:
            raise LocalProtocolError("a value has at least one bit")

    def inputs(self) -> tuple[Input, ...]:
        """Return MU's digits and SU's, without the bits above those that count."""
        return (
            Input("digits_mu", Owner.EVALUATOR, (self.value_bits + 1,)),
            Input("digits_su", Owner.GARBLER, (self.value_bits + 1,)),
        )

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return v mod 2^value_bits, shape (value_bits, batch)."""
        digits_mu, digits_su = wires
        return (np.asarray(halve_difference(engine, digits_su, digits_mu)),)
