"""Count the operations that cost: powers, transfers, gates.

A `Tally` is bound to the current context (`contextvars`), so that code below needs no extra
argument and two sessions in two threads do not mix. Work handed to a thread pool is counted
by the caller before it is handed over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Tally:
    """Operations counted since the tally was opened.

    Attributes:
        powers_full: Exponentiations mod N or N² with an exponent of more than |N|/2 bits.
        powers_short: Exponentiations with a shorter exponent.
        fixed_base: Exponentiations by a fixed-base table.
        multi_bases: Bases that entered a multi-exponentiation.
        base_ots: Base oblivious transfers.
        cots: Rows of the oblivious transfer extension.
        cot_payload_bytes: Bytes of corrections sent for correlated transfers.
        ands: AND gates garbled or evaluated by this unit.
        hashes: Calls of the block hash.
    """

    powers_full: int = 0
    powers_short: int = 0
    fixed_base: int = 0
    multi_bases: int = 0
    base_ots: int = 0
    cots: int = 0
    cot_payload_bytes: int = 0
    ands: int = 0
    hashes: int = 0

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


_current: ContextVar[tuple[Tally, ...]] = ContextVar("privml_tallies", default=())


@contextmanager
def counting() -> Iterator[Tally]:
    """Collect what the current context counts; tallies nest, the outer ones see all."""
    tally = Tally()
    token = _current.set((*_current.get(), tally))
    try:
        yield tally
    finally:
        _current.reset(token)


def count(**amounts: int) -> None:
    """Add to every open tally of this context, by field name of `Tally`."""
    for tally in _current.get():
        for name, amount in amounts.items():
            setattr(tally, name, getattr(tally, name) + amount)
