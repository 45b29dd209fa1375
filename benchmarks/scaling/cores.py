"""What a second core brings: the same work on one core and on two, by turns, wall time.

In one process the units take turns, each with a thread per core for its powers. Whole runs have every role
as a process of its own.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.learner import Learner
from benchmarks.measure import Work
from benchmarks.number_sets import made_up
from benchmarks.profile.__main__ import cases
from benchmarks.profile.runs import run_case
from benchmarks.report import number_text, seconds_text
from benchmarks.scaling.laboratory import Laboratory, categorical
from schemas.models import LogisticSpec, NaiveBayesSpec

NAME = "cores"
CORES = (1, 2)
TURNS, QUICK_TURNS = 5, 2
ROWS = 100
RECORDS, NUMBERS = 200, 40

Making = Callable[[ThreadPoolExecutor], Work]


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """One kind of work.

    Attributes:
        what: In words.
        seconds: Wall times of every turn, by number of cores.
    """

    what: str
    seconds: dict[int, list[float]] = field(default_factory=lambda: {number: [] for number in CORES})


@contextmanager
def on_cores(number: int) -> Iterator[None]:
    """Have this thread, and the threads and processes that it starts within the block, share so many cores.

    Raises:
        RuntimeError: There are not so many.
    """
    before = os.sched_getaffinity(0)
    if len(before) < number:
        raise RuntimeError(
            f"this machine has {len(before)} core for this process; {number} are to be compared"
        )
    os.sched_setaffinity(0, set(sorted(before)[:number]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measured(laboratory: Laboratory) -> list[CoreTimes]:
    """Measure work in one process, then whole runs."""
    found = [by_turns(what, making, laboratory.quick) for what, making in works(laboratory)]
    return found + list(whole_runs(laboratory))


def works(laboratory: Laboratory) -> Iterator[tuple[str, Making]]:
    """Return what is measured in one process."""
    deployment = laboratory.deployment()

    def answering(rows: int) -> Making:
        def make(pool: ThreadPoolExecutor) -> Work:
            learner = Learner(deployment, categorical(2000), NaiveBayesSpec("nb"), pool)
            asked, prepared = learner.ask(rows), learner.prepared
            return lambda: learner.answer(asked.wires, prepared)

        return make

    def learning(pool: ThreadPoolExecutor) -> Work:
        learner = Learner(deployment, made_up(RECORDS, NUMBERS), LogisticSpec("lr"), pool)
        chunks = [learner.publish(learner.data.records, 0)]
        return lambda: learner.learn(chunks)

    yield "Naive Bayes: one row, both units", answering(1)
    yield f"Naive Bayes: a message of {ROWS} rows, both units", answering(ROWS)
    yield f"Logistic regression: a lesson of {RECORDS} records of {NUMBERS} numbers, both units", learning


def by_turns(what: str, making: Making, quick: bool) -> CoreTimes:
    """Time one kind of work, on one core and on two by turns."""
    found = CoreTimes(what)
    with ExitStack() as stack:
        ready: dict[int, Work] = {}
        for number in CORES:
            with on_cores(number):
                ready[number] = making(stack.enter_context(ThreadPoolExecutor(number)))
                # Twice, as everywhere: what a process keeps from call to call is there.
                ready[number]()
                ready[number]()
        for _ in range(QUICK_TURNS if quick else TURNS):
            for number, work in ready.items():
                with on_cores(number):
                    start = time.perf_counter()
                    work()
                    found.seconds[number].append(time.perf_counter() - start)
    _say(found)
    return found


def whole_runs(laboratory: Laboratory) -> Iterator[CoreTimes]:
    """Make whole runs of every learner, once on each number of cores; yield their phases."""
    for case in cases(quick=laboratory.quick)[: 1 if laboratory.quick else None]:
        phases: dict[str, CoreTimes] = {}
        for number in CORES:
            with on_cores(number):
                run = run_case(case, laboratory.profile)
            for phase, seconds in run.wall.items():
                what = f"Whole run, {case.what}, {run.trained:,} records, {case.queries} queries: {phase}"
                phases.setdefault(phase, CoreTimes(what)).seconds[number].append(seconds)
        for found in phases.values():
            _say(found)
        yield from phases.values()


def table(found: Sequence[CoreTimes]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        "| what is timed | one core, wall | two cores, wall | one by two |",
        "| --- | ---: | ---: | ---: |",
    ]
    for times in found:
        one, two = (times.seconds[number] for number in CORES)
        ratio = number_text(median(a / b for a, b in zip(one, two, strict=True)))
        lines.append(f"| {times.what} | {_cell(one)} | {_cell(two)} | {ratio} |")
    return lines


def _cell(seconds: Sequence[float]) -> str:
    if len(seconds) == 1:
        return seconds_text(seconds[0])
    return f"{seconds_text(median(seconds))} ({seconds_text(min(seconds))} to {seconds_text(max(seconds))})"


def _say(times: CoreTimes) -> None:
    print(
        f"{times.what}: {', '.join(_cell(seconds) for seconds in times.seconds.values())}",
        file=sys.stderr,
        flush=True,
    )
