"""The profile: whose turn the clock has, what a whole run's report says, its place in the page."""

import importlib
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.machine import this_machine
from benchmarks.page import markers
from benchmarks.profile.__main__ import MARKER, cases
from benchmarks.profile.clock import NOBODY, PartClock
from benchmarks.profile.parts import FUNCTIONS, GATES, METHODS, MODULES, PARTS, POWERS, REST
from benchmarks.profile.report import ProfileReport
from benchmarks.profile.runs import PARTIES, Case, Profiled, run_case
from crypto.counting import Tally
from crypto.profiles import profile
from pipeline.operation_rates import OperationRates

ROOT = Path(__file__).parents[3]
RATES = OperationRates(0.2, 0.1, 0, 0, 0, 0, 0, 0)


class Hours:
    """A processor's clock that goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "thread_time", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: self.now)

    def work(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


def test_time_is_given_to_the_innermost_part_alone(hours: Hours) -> None:
    clock = PartClock()
    inner = clock.wrapped(lambda: hours.work(5), "inner")

    def outside() -> None:
        hours.work(1)
        inner()
        hours.work(2)

    outer = clock.wrapped(outside, "outer")
    outer()
    hours.work(4)
    outer()
    assert clock.seconds() == {"outer": 6, "inner": 10, NOBODY: 4}
    clock.begin()
    outer()
    assert clock.seconds() == {"outer": 3, "inner": 5, NOBODY: 0}
    assert clock.start_seconds == 20


def test_a_part_that_fails_gives_the_clock_back(hours: Hours) -> None:
    clock = PartClock()

    def fail() -> None:
        hours.work(1)
        raise LookupError

    with pytest.raises(LookupError):
        clock.wrapped(fail, "part")()
    hours.work(7)
    clock.wrapped(lambda: hours.work(1), "other")()
    assert clock.seconds() == {"part": 1, "other": 1, NOBODY: 7}


SOURCE = """
def plain(): return 1
def generator(): yield 2
async def coroutine(): return 3
class Kind:
    def method(self): return 4
    @staticmethod
    def static(): return 5
    @classmethod
    def own(cls): return cls
"""


def test_plain_functions_and_methods_are_wrapped_and_still_do_the_same(
    hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, user = ModuleType("crypto.made_up"), ModuleType("crypto.made_up_user")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, "crypto.made_up", module)
    monkeypatch.setitem(sys.modules, "crypto.made_up_user", user)
    user.__dict__["plain"] = before = module.__dict__["plain"]
    monkeypatch.setattr(ThreadPoolExecutor, "submit", ThreadPoolExecutor.submit)
    clock = PartClock()
    clock.install({"crypto.made_up": "part"}, {}, {})
    kind = module.__dict__["Kind"]
    assert user.__dict__["plain"] is module.__dict__["plain"]
    assert user.__dict__["plain"] is not before
    assert (user.__dict__["plain"](), kind().method(), kind.static(), kind.own()) == (1, 4, 5, kind)
    for name in ("generator", "coroutine"):
        assert not hasattr(module.__dict__[name], "__wrapped__")


def test_what_a_part_hands_to_a_pool_counts_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPoolExecutor, "submit", ThreadPoolExecutor.submit)
    clock = PartClock()
    clock.follow_into_pools()

    def spin() -> int:
        return sum(range(300_000))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(spin).result()
        before = clock.seconds().get("part", 0.0)
        found = clock.wrapped(lambda: pool.submit(spin).result(), "part")()
    assert before == 0
    assert found == spin()
    # The caller itself only waits: what is there is the worker's.
    assert len(clock._hands) == 2
    assert clock._hands[1].seconds["part"] > 0


def test_every_listed_module_and_function_is_there() -> None:
    for name, part in MODULES.items():
        assert part in PARTS
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name
    for name, (function, _) in FUNCTIONS.items():
        assert f"def {function}(" in (ROOT / f"{name.replace('.', '/')}.py").read_text()
    for (name, kind), (part, *methods) in METHODS.items():
        assert part in PARTS
        assert all(hasattr(getattr(importlib.import_module(name), kind), method) for method in methods)


def test_the_report_divides_wall_time_by_counted_operations_on_two_cores() -> None:
    run = Profiled(
        Case("nb", "nb", "nursery", 100, 5),
        80,
        {"training": 1.0, "queries one by one": 2.0, "queries together": 1.0},
        {party: defaultdict(float, {POWERS: 1.0}) for party in PARTIES},
        tally=Tally(powers_full=5, powers_short=10),
    )
    run.seconds["mu"][GATES] = 0.5
    run.seconds["su"][REST] = 0.5
    assert run.overhead(RATES) == 4
    text = ProfileReport(this_machine(), "standard", True, RATES, [run]).markdown()
    assert "| 4, wanted ≤ 1.3 **not met** |" in text
    assert "| 1 s | 1 s | 1 s | 1 s | 80.0% |" in text
    assert "| 500 ms |" in text.replace("|  |", "|")
    assert "for 3 s" in text
    assert "not to be quoted" in text
    run.wall = {"training": 0.5}
    assert (
        "| 0.5, wanted ≤ 1.3 met |"
        in ProfileReport(this_machine(), "standard", False, RATES, [run]).markdown()
    )


@pytest.mark.slow
def test_a_whole_run_is_split_into_parts() -> None:
    (case,) = (case for case in cases(quick=True) if case.name == "nb")
    run = run_case(case, profile("toy"))
    assert run.trained > 100
    assert set(run.wall) == {"training", "queries one by one", "queries together"}
    assert all(seconds > 0 for seconds in run.wall.values())
    for party in PARTIES:
        assert set(run.seconds[party]) <= set(PARTS)
        assert run.seconds[party][POWERS] > 0
    assert run.seconds["mu"][GATES] > 0
    assert run.tally.ands > 0


def test_the_documentation_has_the_tables() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    begin, end = markers(MARKER)
    table = text[text.index(begin) : text.index(end)]
    for part in PARTS:
        assert f"| {part} |" in table
