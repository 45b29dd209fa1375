"""Which sessions a stream of chunks will need, by the learners' own public schedules.

Nothing here looks at a record: numbers of records fix all plans but those of a tree whose shape
depends on which attempts split. A forecast takes the records to spread evenly over the leaves, and
lets a leaf split when its bound falls below the tie threshold; or it lets the tree grow evenly to a
given size.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from roles.classifiers.hoeffding_tree import TreeLearner
from roles.classifiers.hoeffding_tree_growth import Growth
from roles.classifiers.hoeffding_tree_labels import LabelShape
from roles.classifiers.hoeffding_tree_padded_attempt import attempt_shape
from roles.classifiers.hoeffding_tree_query import TreeQueryShape
from roles.classifiers.hoeffding_tree_window import WindowShape
from roles.classifiers.logistic_regression import LogisticLearner
from roles.classifiers.logistic_regression_query import QueryShape as LogisticQueryShape
from roles.classifiers.logistic_regression_training import TrainingShape
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.classifiers.naive_bayes_query import QueryShape
from roles.learners import AnyLearner
from roles.plan import Plan

LONGEST_WINDOW = 64
"""No window takes more chunks."""


@dataclass(frozen=True, slots=True)
class PlannedLesson:
    """Chunks that a model learns together.

    Attributes:
        plans: Of the sessions, one after the other.
        chunks: How many chunks.
        ciphertexts: Of the model that is sealed after it.
    """

    plans: tuple[Plan, ...]
    chunks: int
    ciphertexts: int


class Forecast:
    """The sessions of one model over a stream.

    Attributes:
        learner: The model.
        lessons: Of the stream, in order; none where MU learns alone.
        growth: The tree in the end; None of other models.
    """

    def __init__(self, learner: AnyLearner, chunks: Sequence[int], leaves: int | None = None) -> None:
        """Follow a stream.

        Args:
            learner: The model.
            chunks: Records of every chunk, in order.
            leaves: Leaves of a tree in the end; None where a leaf splits at the tie threshold.
        """
        self.learner = learner
        self.growth: Growth | None = None
        self._records = sum(chunks)
        self._leaves = leaves
        self.lessons: tuple[PlannedLesson, ...] = tuple(self._taught(chunks))

    def preparation(self) -> Plan | None:
        """Return the plan of the session before the first query; None if there is none."""
        if isinstance(self.learner, NaiveBayesLearner):
            return self.learner.table_shape(self._records).plan
        if isinstance(self.learner, TreeLearner) and self.growth is not None:
            return LabelShape(self.learner.model, self.growth).plan
        return None

    def query(self, rows: int) -> Plan:
        """Return the plan of a query of so many rows, asked when all chunks are learnt."""
        if isinstance(self.learner, NaiveBayesLearner):
            return QueryShape(self.learner.table_shape(self._records), rows).plan
        if isinstance(self.learner, LogisticLearner):
            return LogisticQueryShape(self.learner.asked, rows, probabilities=False).plan
        if isinstance(self.learner, TreeLearner) and self.growth is not None:
            return TreeQueryShape(self.learner.model, self.growth, rows).plan
        raise TypeError(f"no forecast of {type(self.learner).__name__}")

    def _taught(self, chunks: Sequence[int]) -> Iterator[PlannedLesson]:
        if isinstance(self.learner, LogisticLearner):
            yield from self._steps(self.learner, chunks)
        if isinstance(self.learner, TreeLearner):
            yield from self._windows(self.learner, chunks)

    def _steps(self, learner: LogisticLearner, chunks: Sequence[int]) -> Iterator[PlannedLesson]:
        made = 0
        kept: dict[tuple[int, int], Plan] = {}
        for records in chunks:
            # The step's number is part of a plan only where the rate decays.
            place = (records, made if learner.training.schedule.decay_steps else 0)
            if place not in kept:
                kept = {place: TrainingShape(learner.training, records, place[1]).plan}
            yield PlannedLesson((kept[place],), 1, learner.training.state.ciphertexts)
            made += len(learner.training.schedule.batches(records))

    def _windows(self, learner: TreeLearner, chunks: Sequence[int]) -> Iterator[PlannedLesson]:
        growth, start = Growth(learner.model.settings), 0
        held = {0: Fraction(0)}
        while taken := growth.window(chunks[start : start + LONGEST_WINDOW]):
            window = WindowShape(learner.model, growth, tuple(chunks[start : start + taken]))
            plans = [window.plan]
            growth, start = window.after, start + taken
            for leaf in growth.leaves:
                held[leaf] += Fraction(window.records, len(growth.leaves))
            if growth.attempt_is_due:
                plans.append(attempt_shape(learner.model, growth).plan)
                growth = self._tried(growth, held)
            yield PlannedLesson(tuple(plans), taken, _ciphertexts(learner, growth))
        self.growth = growth

    def _tried(self, growth: Growth, held: dict[int, Fraction]) -> Growth:
        if growth.settings.pad_depth:
            # The shape does not depend on what leaves hold.
            grown = growth.after_padded_attempt()
            held.update(dict.fromkeys(range(len(growth.nodes), len(grown.nodes)), Fraction(0)))
            return grown
        splits = self._splits(growth, held)
        grown = growth.after_attempt(splits)
        for parent in (leaf for leaf, split in zip(growth.due, splits, strict=True) if split):
            # Children inherit the class counts of their side.
            for child in (grown.nodes[parent].left, grown.nodes[parent].right):
                held[child] = held[parent] / 2
        return grown

    def _splits(self, growth: Growth, held: Mapping[int, Fraction]) -> list[bool]:
        if self._leaves is None:
            return [held[leaf] > growth.settings.tie_records for leaf in growth.due]
        wanted = 1 + -(-(self._leaves - 1) * growth.records // self._records)
        splitting = wanted - len(growth.leaves)
        return [place < splitting for place in range(len(growth.due))]


def _ciphertexts(learner: TreeLearner, growth: Growth) -> int:
    model, inner = learner.model, len(growth.inner)
    tests = model.tests_layout(inner).ciphertexts if inner else 0
    totals = model.totals_layout(len(growth.nodes)).ciphertexts
    return tests + totals + len(growth.leaves) * model.statistics_layout().ciphertexts
