"""Division of unsigned words, the exact floor."""

import numpy as np

from crypto.circuits.arithmetic import full_adders
from crypto.circuits.engine import Engine, Wires
from crypto.circuits.selection import is_zero
from crypto.errors import LocalProtocolError


def divide(engine: Engine, x: Wires, y: Wires, quotient_bits: int) -> Wires:
    """Return ⌊x / y⌋ by non-restoring division, `quotient_bits` bits.

    The remainder R lies in [−y, y). In every step 2R plus the next bit of x is brought back into
    that range by subtracting y where R ≥ 0 and adding it where R < 0; the new sign, inverted, is
    the quotient bit.

    Args:
        engine: The engine.
        x: Shape (m, …, batch), m ≥ `quotient_bits`.
        y: Shape (b, …, batch), b ≥ m − `quotient_bits`, and y > ⌊x / 2^quotient_bits⌋, which
            says that the quotient fits and that y > 0.
        quotient_bits: Bits of the quotient.

    Raises:
        LocalProtocolError: The widths do not match.

    Cost:
        b gates for each quotient bit, in as many layers.
    """
    width = len(y)
    if not len(x) - width <= quotient_bits <= len(x):
        raise LocalProtocolError("the divisor is too short for a quotient of that many bits")
    zero = engine.zeros_like(x[:1])
    head = x[quotient_bits:]
    remainder = np.concatenate([head, *[zero] * (width + 1 - len(head))])
    divisor = np.concatenate([y, zero])
    subtracts = engine.not_(zero)[0]
    quotient = []
    for bit in reversed(range(quotient_bits)):
        doubled = np.concatenate([x[bit : bit + 1], remainder[:-1]])
        remainder = _add_or_subtract(engine, doubled, divisor, subtracts)
        subtracts = engine.not_(remainder[-1])
        quotient.append(subtracts)
    return np.stack(quotient[::-1])


def at_least_one(engine: Engine, x: Wires) -> Wires:
    """Return max(x, 1) for an unsigned word.

    Cost:
        w − 1 gates.
    """
    return np.concatenate([engine.xor(x[:1], is_zero(engine, x)[np.newaxis]), x[1:]])


def _add_or_subtract(engine: Engine, x: Wires, y: Wires, subtracts: Wires) -> Wires:
    """Return x − y where the bit is set, else x + y; w − 1 gates."""
    carry, result = subtracts, []
    for index, (a, b) in enumerate(zip(x, y, strict=True)):
        # x − y = x + ¬y + 1
        flipped = engine.xor(b, subtracts)
        if index + 1 == len(x):
            result.append(engine.xor(engine.xor(a, flipped), carry))
        else:
            low, carry = full_adders(engine, a, flipped, carry)
            result.append(low)
    return np.stack(result)
