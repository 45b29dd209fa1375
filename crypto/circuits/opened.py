"""Circuits on the digits of an opening: what a slot held, from S at SU and the mask ρ at MU.

A digit d of S is v + r + c mod 2^W: the slot's value, the mask's digit, and the carry out of the
digits below, which neither unit knows (docs/protocols.md §3.1).
"""

from dataclasses import dataclass

import numpy as np

from crypto.circuits.arithmetic import halve_difference, subtract
from crypto.circuits.circuit import Circuit, Input, Owner
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.selection import less_than
from crypto.circuits.signed_words import shift_right, sign_extend
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
        value_bits: Bits of v to keep, in two's complement; of the digits one more is read.
        word_bits: Where the units need words as well: their width; 0 for none.
        word_shift: The words are those of ⌊v/2^word_shift⌋.

    Cost:
        `value_bits` gates per value, and word_bits − 1 for a word.

    Source:
        docs/protocols.md §3.4.
    """

    value_bits: int
    word_bits: int = 0
    word_shift: int = 0

    def __post_init__(self) -> None:
        if self.value_bits < 1 or not 0 <= self.word_shift < self.value_bits:
            raise LocalProtocolError("a value has at least one bit")
        if self.word_bits and self.word_bits < self.value_bits - self.word_shift:
            raise LocalProtocolError("a word has room for the value")

    def inputs(self) -> tuple[Input, ...]:
        """Return MU's digits and SU's, without the bits above those that count, and SU's mask."""
        digits = (
            Input("digits_mu", Owner.EVALUATOR, (self.value_bits + 1,)),
            Input("digits_su", Owner.GARBLER, (self.value_bits + 1,)),
        )
        return (*digits, Input("mask", Owner.GARBLER, (self.word_bits,))) if self.word_bits else digits

    def evaluate(self, engine: Engine, *wires: Wires) -> tuple[Wires, ...]:
        """Return v mod 2^value_bits, shape (value_bits, batch), and the masked word if there is one."""
        digits_mu, digits_su, *masks = wires
        value = np.asarray(halve_difference(engine, digits_su, digits_mu))
        if not masks:
            return (value,)
        word = sign_extend(shift_right(value, self.word_shift), self.word_bits)
        return value, subtract(engine, word, masks[0])
