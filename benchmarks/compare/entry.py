"""One line of the comparison, and how its times are taken."""

from dataclasses import dataclass, field

from benchmarks.measure import Benchmark, PowerMeter, Prepared, Work, measure

BAYES = "Naive Bayes, Nursery"
LOGISTIC = "Logistic regression, lbw (seven Nesterov iterations)"
LINEAR = "A linear classifier's query, WDBC"
TREE = "A tree of five leaves, Nursery"
TASKS = (BAYES, LOGISTIC, LINEAR, TREE)

LEVELS = {512: "none (512)", 1024: "80 (1024)", 2048: "112 (2048)", 3072: "128 (3072)"}
"""Bits of security by bits of the modulus."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one system needs for one task. A figure that does not exist is None.

    Attributes:
        task: One of `TASKS`.
        key: Short name, by which the headline ratios find the entry.
        system: Name and variant.
        level: Bits of security, roughly.
        trust: Who must not collude, and who learns the model.
        train_cpu: Seconds of all parties per record.
        train_bytes: Bytes of all parties per record.
        query_cpu: Seconds of all parties per row.
        query_bytes: Bytes of all parties per row.
        query_rounds: Round trips per message, the client's with its servers included.
        accuracy: Percent right on the fifth of the records that was not learnt.
        published: What a paper gives for the same or the like, with its conditions.
    """

    task: str
    key: str
    system: str
    level: str
    trust: str
    train_cpu: float | None = None
    train_bytes: float | None = None
    query_cpu: float | None = None
    query_bytes: float | None = None
    query_rounds: int | None = None
    accuracy: float | None = None
    published: str = ""


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Times work as the benchmarks do.

    Attributes:
        quick: Two repetitions.
        repetitions: Else so many.
        meter: Powers are measured around every repetition, as in the other benchmarks.
    """

    quick: bool
    repetitions: int = 5
    meter: PowerMeter = field(default_factory=PowerMeter)

    def cpu(self, work: Work, units: float = 1, *, once: bool = False) -> float:
        """Return the median CPU seconds of a unit of work.

        Args:
            work: Does the same every time.
            units: How many units one call does.
            once: A single repetition, without one to warm up: for work of many seconds.
        """
        prepared = Prepared(work, units)
        repetitions = 1 if once else self.repetitions
        row = measure(
            Benchmark("compare", "", "", lambda: prepared, repetitions=repetitions, warm_up=not once),
            self.meter,
            quick=self.quick,
        )
        if row.cpu_seconds is None:
            raise RuntimeError("nothing was timed")
        return row.cpu_seconds
