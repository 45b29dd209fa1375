"""PrivML's own lines: every task at one profile, from signed message to signed message, without the log."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from benchmarks.compare.entry import BAYES, LEVELS, LINEAR, LOGISTIC, TREE, Entry, Stopwatch
from benchmarks.compare.splits import Split, lbw, split, twin_accuracy
from benchmarks.data_sets import data_set
from benchmarks.deployment import Deployment
from benchmarks.learner import CHUNK_RECORDS, Learner
from benchmarks.logistic import NESTEROV
from benchmarks.naive_bayes import CHUNKS_TOGETHER
from benchmarks.tree_learner import GrownTree
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_training import TrainingShape
from schemas.models import LogisticSpec, NaiveBayesSpec, TreeSpec

TRUST = "two units that must not collude; nobody learns the model"
TOGETHER = 100
"""Rows of a query message, for the lines that are not about single rows."""
LEAVES = 5
TREE_CHUNK = GrownTree.chunk_records


@dataclass(frozen=True, slots=True)
class Ours:
    """PrivML at one profile.

    Attributes:
        deployment: Everybody's keys.
        watch: Takes the times.
    """

    deployment: Deployment
    watch: Stopwatch
    level: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", LEVELS[self.deployment.profile.modulus_bits])

    @property
    def name(self) -> str:
        """How its entries are called."""
        return f"PrivML, profile `{self.deployment.profile.name}`"

    def entries(self) -> Iterator[Entry]:
        """Measure every task."""
        yield from self._bayes()
        yield from self._logistic()
        yield from self._linear()
        yield from self._tree()

    def _entry(self, task: str, key: str) -> Entry:
        return Entry(task, f"{key}.{self.deployment.profile.modulus_bits}", self.name, self.level, TRUST)

    def _bayes(self) -> Iterator[Entry]:
        spec, parts = NaiveBayesSpec("nb"), split(data_set("nursery"))
        learner = Learner(self.deployment, parts.data, spec)
        records = parts.data.batch(CHUNK_RECORDS)
        number = 2 if self.watch.quick else CHUNKS_TOGETHER
        chunks = learner.chunks(number)
        owner = self.watch.cpu(lambda: learner.publish(records, 0), CHUNK_RECORDS)
        units = self.watch.cpu(lambda: learner.learn(chunks, number), number * CHUNK_RECORDS)
        entry = replace(
            self._entry(BAYES, "ours"),
            train_cpu=owner + units,
            train_bytes=sum(map(len, chunks[0])) / CHUNK_RECORDS,
            accuracy=twin_accuracy(spec, parts, CHUNK_RECORDS),
        )
        yield from self._asked(entry, learner)

    def _logistic(self) -> Iterator[Entry]:
        parts = lbw()
        learner = Learner(self.deployment, parts.data, NESTEROV)
        records = len(parts.data.records)
        chunks = [learner.publish(parts.data.records, 0)]
        owner = self.watch.cpu(lambda: learner.publish(parts.data.records, 0), records)
        units = self.watch.cpu(lambda: learner.learn(chunks), records)
        public = learner.learner
        if not isinstance(public, LogisticLearner):
            raise TypeError("the model is another one")
        steps = TrainingShape(public.training, records, 0).plan.steps
        between = sum(step.bytes_exchanged for step in steps)
        yield replace(
            self._entry(LOGISTIC, "ours"),
            train_cpu=owner + units,
            train_bytes=(sum(map(len, chunks[0])) + between) / records,
            accuracy=twin_accuracy(NESTEROV, parts, records),
        )

    def _linear(self) -> Iterator[Entry]:
        spec, parts = LogisticSpec("lr", passes=10), split(data_set("wdbc"))
        learner = Learner(self.deployment, parts.data, spec)
        accuracy = twin_accuracy(spec, parts, len(parts.data.records))
        yield from self._asked(replace(self._entry(LINEAR, "ours"), accuracy=accuracy), learner)

    def _tree(self) -> Iterator[Entry]:
        parts = split(data_set("nursery"))
        learner = GrownTree(self.deployment, parts.data, LEAVES)
        records = parts.data.batch(TREE_CHUNK)
        owner = self.watch.cpu(lambda: learner.publish(records, 0), TREE_CHUNK)
        units = self.watch.cpu(learner.teach, learner.window_records)
        between = sum(step.bytes_exchanged for plan in learner.plans for step in plan.steps)
        own = sum(map(len, learner.window[0])) / TREE_CHUNK
        entry = replace(
            self._entry(TREE, "ours"),
            train_cpu=owner + units,
            train_bytes=own + between / learner.window_records,
            accuracy=self._grown_accuracy(parts),
        )
        yield from self._asked(entry, learner)

    @staticmethod
    def _grown_accuracy(parts: Split) -> float:
        return twin_accuracy(TreeSpec("dt", max_leaves=LEAVES), parts, TREE_CHUNK)

    def _asked(self, entry: Entry, learner: Learner) -> Iterator[Entry]:
        """Yield the entry with the figures of a single query, then a second one about rows together."""
        for rows in (1, TOGETHER):
            asked, prepared = learner.ask(rows), learner.prepared
            answered = learner.answer(asked.wires, prepared)
            if learner.read(asked, answered) != asked.expected:
                raise RuntimeError(f"{entry.task}: the answer is not the twin's")
            plan = learner.query_plan(asked.query)
            works = (
                lambda: learner.ask(rows),  # noqa: B023  (called before the next turn)
                lambda: learner.answer(asked.wires, prepared),  # noqa: B023
                lambda: learner.read(asked, answered),  # noqa: B023
            )
            own = sum(map(len, [*asked.wires, *answered]))
            found = replace(
                entry,
                query_cpu=sum(self.watch.cpu(work, rows) for work in works),
                query_bytes=(own + sum(step.bytes_exchanged for step in plan.steps)) / rows,
                query_rounds=1 + len(plan.steps),
            )
            if rows == 1:
                yield found
            else:
                together = f"{entry.system}, {rows} rows a message"
                key = f"{entry.key}.together"
                yield replace(
                    found, system=together, key=key, train_cpu=None, train_bytes=None, accuracy=None
                )
