"""Priv-LR from a batch of records to an opened answer: owners, MU, both units, clients.

Everything is signed, sealed, verified, journaled and hashed as in the services; what is left out is
the log itself. Every answer is held against the plaintext twin before anything is timed.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from benchmarks.data_sets import DataSet, available, data_set, title
from benchmarks.deployment import CLIENT, Deployment
from benchmarks.exchange import exchanged, sign
from benchmarks.learner import CHUNK_RECORDS, Learner
from benchmarks.measure import Benchmark, Prepared, Row
from benchmarks.number_sets import SHAPES, made_up, number_set
from crypto.coins import Coins
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_training import TrainingShape
from roles.client import make_query
from roles.plan import Step
from schemas.codec import encode
from schemas.models import LogisticSpec
from schemas.topics import TopicName

COLUMNS = 20
FURTHER = 10
BATCH_ROWS = 100
NUMBERS = f"{CHUNK_RECORDS} × {COLUMNS} numbers"
WALL_TARGETS = {"edin": 120.0, "lbw": 45.0}
SIZES = ("lr.pass_trips", "lr.pass_bytes", "lr.lbw_bytes")
"""Figures that follow from the plans."""
NESTEROV = LogisticSpec("lr", passes=7, momentum_16=14, rate_256=2048)
"""Seven Nesterov iterations over a whole chunk."""


def numbers() -> DataSet:
    """Return a chunk of twenty numbers a record."""
    return made_up(CHUNK_RECORDS, COLUMNS)


@cache
def threads() -> ThreadPoolExecutor:
    """Return the threads that a unit has for its powers: one per core, as in its process."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1)


class Logistic:
    """The benchmarks of Priv-LR on chunks of numbers, and on the data sets at hand."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._learners: dict[tuple[str, LogisticSpec, bool], Learner] = {}

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks; targets stand with the shapes that they were set for."""
        rows = self._training("numbers", f"Chunks of {NUMBERS}", (0.06, 0.006))
        if "adult" in available():
            rows += self._training("adult", f"{title('adult')}, chunks of {CHUNK_RECORDS}", (None, None))
        rows += [
            Benchmark(
                f"lr.learn_{name}",
                f"{name} ({records:,} × {columns} numbers), seven Nesterov iterations over one chunk: "
                "both units by turns, wall",
                "chunk",
                partial(self._learn_whole, name),
                target=WALL_TARGETS[name],
                repetitions=5,
                by_wall=True,
            )
            for name, (records, columns) in SHAPES.items()
        ]
        return [*rows, *self._queries("numbers", f"{COLUMNS} numbers")]

    def _training(
        self, name: str, prefix: str, targets: tuple[float | None, float | None]
    ) -> list[Benchmark]:
        return [
            Benchmark(
                f"lr.encrypt_{name}",
                f"{prefix}: scale, encrypt, prove, sign (owner)",
                "record",
                partial(self._publish, name),
                repetitions=5,
            ),
            Benchmark(
                f"lr.first_{name}",
                f"{prefix}: first pass, from the owner's message to the sealed weights, both units",
                "record",
                partial(self._first_pass, name),
                target=targets[0],
                repetitions=5,
            ),
            Benchmark(
                f"lr.further_{name}",
                f"{prefix}: every further pass, both units",
                "record",
                partial(self._further_pass, name),
                target=targets[1],
                repetitions=5,
            ),
        ]

    def _queries(self, name: str, prefix: str) -> list[Benchmark]:
        found = []
        for rows, target in ((1, 3.0), (BATCH_ROWS, 0.6)):
            how = "one query" if rows == 1 else f"a query message of {rows} rows"
            found += [
                Benchmark(
                    f"lr.query_{name}_{rows}",
                    f"{prefix}: {how}, both units",
                    "row",
                    partial(self._answer, name, rows),
                    target=target,
                ),
                Benchmark(
                    f"lr.ask_{name}_{rows}",
                    f"{prefix}: {how}, the client's encryption and proof",
                    "row",
                    partial(self._ask, name, rows),
                ),
                Benchmark(
                    f"lr.read_{name}_{rows}",
                    f"{prefix}: {how}, the client's opening of the answer",
                    "row",
                    partial(self._read, name, rows),
                ),
            ]
        return found

    def sizes(self, names: Sequence[str]) -> list[Row]:
        """Return the figures of those names: they follow from the plans, nothing is timed."""
        if not names:
            return []
        of_pass = self._steps("numbers", LogisticSpec("lr", passes=2))[5:]
        lbw = self._steps("lbw", NESTEROV)
        each = _bytes(of_pass) / CHUNK_RECORDS
        figures: dict[str, tuple[str, float, str, float]] = {
            SIZES[0]: (f"Chunks of {NUMBERS}: round trips of a pass", len(of_pass), "", 4),
            SIZES[1]: (f"Chunks of {NUMBERS}: per record and further pass", each, "bytes", 12e3),
            SIZES[2]: ("lbw, seven Nesterov iterations: between the units", _bytes(lbw), "bytes", 12e6),
        }
        return [
            Row(name, what, "", value, unit, target=target)
            for name, (what, value, unit, target) in figures.items()
            if name in names
        ]

    def _steps(self, name: str, spec: LogisticSpec) -> tuple[Step, ...]:
        learner = self._learner(name, spec)
        public = learner.learner
        if not isinstance(public, LogisticLearner):
            raise TypeError("the model is another one")
        return TrainingShape(public.training, self._chunk(learner), 0).plan.steps

    @staticmethod
    def _chunk(learner: Learner) -> int:
        """Return the records of the chunk that a row is about."""
        whole = len(learner.data.records)
        return whole if learner.data.name in SHAPES else min(CHUNK_RECORDS, whole)

    def _learner(self, name: str, spec: LogisticSpec, *, threaded: bool = False) -> Learner:
        place = name, spec, threaded
        if place not in self._learners:
            data = numbers() if name == "numbers" else number_set(name) if name in SHAPES else data_set(name)
            pool = threads() if threaded else None
            self._learners[place] = Learner(self._deployment, data, spec, pool)
        return self._learners[place]

    def _publish(self, name: str) -> Prepared:
        learner = self._learner(name, LogisticSpec("lr"))
        records = learner.data.batch(CHUNK_RECORDS)
        size = sum(map(len, learner.publish(records, 0)))
        return Prepared(
            lambda: learner.publish(records, 0),
            CHUNK_RECORDS,
            f"{_shape(learner)}; {size:,} bytes a chunk",
        )

    def _first_pass(self, name: str) -> Prepared:
        learner = self._learner(name, LogisticSpec("lr"))
        chunks = learner.chunks(1)
        plan_bytes = _bytes(self._steps(name, LogisticSpec("lr"))) / CHUNK_RECORDS
        note = f"{_shape(learner)}; {plan_bytes:,.0f} bytes a record between the units in 5 round trips"
        return Prepared(lambda: learner.learn(chunks), CHUNK_RECORDS, note)

    def _further_pass(self, name: str) -> Prepared:
        once = self._learner(name, LogisticSpec("lr"))
        often = self._learner(name, LogisticSpec("lr", passes=1 + FURTHER))
        of_once, of_often = once.chunks(1), often.chunks(1)
        return Prepared(
            lambda: often.learn(of_often),
            CHUNK_RECORDS * FURTHER,
            f"{1 + FURTHER} passes less one",
            less=lambda: once.learn(of_once),
        )

    def _learn_whole(self, name: str) -> Prepared:
        learner = self._learner(name, NESTEROV, threaded=True)
        chunks = [learner.publish(learner.data.records, 0)]
        steps = self._steps(name, NESTEROV)
        source = "made-up records of its shape" if learner.data.name != name else "from its file"
        cores = os.cpu_count() or 1
        note = (
            f"{source}; {cores} threads for the powers; {_bytes(steps):,} bytes between the units "
            f"in {len(steps)} round trips"
        )
        return Prepared(lambda: learner.learn(chunks), note=note)

    def _answer(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name, LogisticSpec("lr"))
        asked, prepared = learner.ask(rows), learner.prepared
        if learner.read(asked, learner.answer(asked.wires, prepared)) != asked.expected:
            raise RuntimeError(f"{name}: the answer is not the twin's")
        note = f"{_shape(learner)}; {exchanged(learner.query_plan(asked.query))}"
        return Prepared(lambda: learner.answer(asked.wires, prepared), rows, note)

    def _ask(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name, LogisticSpec("lr"))
        records = learner.data.batch(rows)
        keys = self._deployment.signing_keys

        def ask() -> None:
            query = make_query(learner.learner, CLIENT, records, Coins.fresh())
            sign(keys, learner.tenant, CLIENT, TopicName.QUERIES, "query", encode(query))

        return Prepared(ask, rows, "with tables of g and h")

    def _read(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name, LogisticSpec("lr"))
        asked = learner.ask(rows)
        wires = learner.answer(asked.wires, learner.prepared)
        return Prepared(lambda: learner.read(asked, wires), rows)


def _bytes(steps: Iterable[Step]) -> int:
    return sum(step.bytes_exchanged for step in steps)


def _shape(learner: Learner) -> str:
    public = learner.learner
    if not isinstance(public, LogisticLearner):
        raise TypeError("the model is another one")
    records = public.training.records
    return (
        f"{records.words} numbers and {len(records.bit_columns)} one-hot columns, {records.classes} classes"
    )
