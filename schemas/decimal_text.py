"""Numbers as decimal text: the one reading and the one spelling of bin edges and cells.

A float is never built: edges travel as text, cells are read as text, and both are compared as
exact decimals, so that every party on every platform puts a value into the same bin.
"""

import re
from decimal import Context, Decimal

from crypto.errors import SchemaError

MAX_NUMBER_CHARACTERS = 100
MAX_EXPONENT = 300  # beyond any measurement, and inside what float readers of the same file accept
# Wider than MAX_NUMBER_CHARACTERS digits, so that stripping zeros never rounds. No traps: every
# operand is finite and checked before it gets here.
_EXACT = Context(prec=2 * MAX_NUMBER_CHARACTERS, Emin=-2000, Emax=2000, traps=[])
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NON_FINITE = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE)


def parse_decimal(text: str) -> Decimal | None:
    """Read a finite decimal number, or return None where the text is not one.

    ASCII digits, an optional sign, point and exponent: nothing else that `Decimal` would accept
    (underscores, other scripts' digits, NaN, Infinity). Magnitudes beyond 10^±300 are not numbers.
    """
    if len(text) > MAX_NUMBER_CHARACTERS or _NUMBER.fullmatch(text) is None:
        return None
    value = Decimal(text)
    return value if value.is_zero() or abs(value.adjusted()) <= MAX_EXPONENT else None


def is_non_finite(text: str) -> bool:
    """Tell whether the text spells an infinity, or a number whose magnitude is beyond 10^±300."""
    if _NON_FINITE.fullmatch(text) is not None:
        return True
    return _NUMBER.fullmatch(text) is not None and parse_decimal(text) is None


def canonical_decimal(value: Decimal) -> str:
    """Spell a finite decimal in the only way the wire allows: no spare zeros, `e` only where long.

    Raises:
        SchemaError: The value is not finite, too long or beyond 10^±300.
    """
    if not value.is_finite():
        raise SchemaError("a bin edge or range must be a finite number")
    plain = value.normalize(_EXACT)
    if plain.is_zero():
        return "0"
    text = f"{plain:f}" if -7 <= plain.adjusted() <= 15 else f"{plain:e}"
    if parse_decimal(text) is None:
        raise SchemaError(f"a bin edge or range has more than {MAX_NUMBER_CHARACTERS} digits or is too large")
    return text


def exact_decimal(text: str) -> Decimal:
    """Read a number that must be spelled canonically.

    Raises:
        SchemaError: The text is no number or another spelling of it.
    """
    value = parse_decimal(text)
    if value is None or canonical_decimal(value) != text:
        raise SchemaError("a number in the schema is not in canonical decimal form")
    return value
