"""How a figure comes about: repeated work, and the price of one exponentiation around it.

A machine that others use as well is slow and fast by turns. So every figure is also a ratio to
1 PM, one power mod N² with a full 3072-bit exponent and a random base, measured before and after
each repetition of the work itself.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from crypto.arithmetic import power
from crypto.coins import Coins
from crypto.counting import counting

Work = Callable[[], object]
"""The thing to be timed."""

SHORTEST_SECONDS = 0.05
"""Shorter work is called again and again within one repetition, until it takes about so long."""

MOST_CALLS = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report.

    Attributes:
        name: Group, dot, name.
        what: What was measured, in words.
        unit: What the figure is for: one ciphertext, one record, …
        value: The figure itself.
        value_unit: Its unit; ``PM`` for everything that was timed here.
        target: What it shall not exceed, or with `at_least` shall reach.
        at_least: The target is a lower bound.
        cpu_seconds: Median CPU time of the process per unit, all threads.
        cpu_range: Least and greatest CPU time per unit.
        wall_seconds: Median wall time per unit.
        pm_seconds: 1 PM at the time: the median of all powers between the repetitions.
        repetitions: How often the work was timed.
        counts: Counted operations per unit, summed over the parties whose work this is.
        note: Sizes and circumstances.
    """

    name: str
    what: str
    unit: str
    value: float
    value_unit: str = "PM"
    target: float | None = None
    at_least: bool = False
    cpu_seconds: float | None = None
    cpu_range: tuple[float, float] | None = None
    wall_seconds: float | None = None
    pm_seconds: float | None = None
    repetitions: int = 1
    counts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Prepared:
    """Work that is ready to be timed.

    Attributes:
        work: Does the same every time it is called.
        units: How many units one call does.
        note: Sizes and circumstances.
        less: Work that is a part of `work` and does not count: timed by turns, and taken off.
    """

    work: Work
    units: float = 1
    note: str = ""
    less: Work | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What can be measured.

    Attributes:
        name: Group, dot, name.
        what: In words.
        unit: What the figure is for.
        prepare: Makes whatever the work needs; not timed.
        target: In PM per unit.
        repetitions: How often to time it.
        warm_up: Call the work once before: tables and circuits are kept from call to call.
        by_wall: The figure is the wall time; else the CPU time of all threads.
    """

    name: str
    what: str
    unit: str
    prepare: Callable[[], Prepared]
    target: float | None = None
    repetitions: int = 9
    warm_up: bool = True
    by_wall: bool = False


class PowerMeter:
    """Times 1 PM.

    Args:
        modulus_bits: |N|. The modulus is the square of a random odd number of that length: the
            price of a power does not depend on its factors, and the first thing to be measured
            is the making of keys.
    """

    def __init__(self, modulus_bits: int = 3072) -> None:
        self._coins = Coins.fresh()
        top = 1 << (modulus_bits - 1)
        self._modulus = (top | self._coins.integer_bits(modulus_bits) | 1) ** 2
        self._exponent_bits = modulus_bits
        self.measured: list[float] = []

    def measure(self, times: int = 2) -> list[float]:
        """Time that many powers, each with a base and an exponent of its own."""
        seconds = []
        for _ in range(times):
            base = self._coins.below(self._modulus)
            exponent = 1 << (self._exponent_bits - 1) | self._coins.integer_bits(self._exponent_bits)
            start = time.process_time()
            power(base, exponent, self._modulus)
            seconds.append(time.process_time() - start)
        self.measured += seconds
        return seconds


def measure(benchmark: Benchmark, meter: PowerMeter, *, quick: bool = False) -> Row:
    """Time a benchmark and return its row.

    Args:
        benchmark: What to time.
        meter: Of this run.
        quick: Two repetitions: to see that everything runs, not to report.
    """
    prepared = benchmark.prepare()
    calls = 1
    if benchmark.warm_up:
        # Twice: the first call may make what is kept from then on, and tells nothing of the next.
        prepared.work()
        if prepared.less is not None:
            prepared.less()
        start = time.process_time()
        prepared.work()
        calls = math.ceil(SHORTEST_SECONDS / max(time.process_time() - start, 1e-6))
        calls = min(max(1, calls), MOST_CALLS)
    repetitions = min(2, benchmark.repetitions) if quick else benchmark.repetitions
    times: list[_Timed] = []
    powers = meter.measure()
    for _ in range(repetitions):
        timed = _timed(prepared.work, calls)
        if prepared.less is not None:
            timed = timed.without(_timed(prepared.less, calls))
        times.append(timed)
        powers += meter.measure()
    pm, each = median(powers), calls * prepared.units
    cpu, wall = (
        [amount / each for amount in kind] for kind in zip(*((t.cpu, t.wall) for t in times), strict=True)
    )
    return Row(
        benchmark.name,
        benchmark.what,
        benchmark.unit,
        median(wall if benchmark.by_wall else cpu) / pm,
        target=benchmark.target,
        cpu_seconds=median(cpu),
        cpu_range=(min(cpu), max(cpu)),
        wall_seconds=median(wall),
        pm_seconds=pm,
        repetitions=repetitions,
        counts={name: n / each for name, n in times[0].counts.items() if n},
        note=prepared.note,
    )


@dataclass(frozen=True, slots=True)
class _Timed:
    """One repetition: seconds and counted operations."""

    cpu: float
    wall: float
    counts: Mapping[str, int]

    def without(self, less: "_Timed") -> "_Timed":
        counts = {name: amount - less.counts.get(name, 0) for name, amount in self.counts.items()}
        return _Timed(self.cpu - less.cpu, self.wall - less.wall, counts)


def _timed(work: Work, calls: int) -> _Timed:
    with counting() as tally:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(calls):
            work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return _Timed(cpu, wall, tally.as_dict())
