"""Lines of classification by Bost et al., at one modulus size; answers are held against the model's own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.baselines.bost import decision_tree, hyperplane, naive_bayes
from benchmarks.baselines.bost.comparison import Parties
from benchmarks.compare import clear, papers
from benchmarks.compare.clear import Ints
from benchmarks.compare.entry import BAYES, LEVELS, LINEAR, TREE, Entry, Stopwatch
from benchmarks.compare.splits import Split, split
from benchmarks.data_sets import data_set
from crypto.coins import Coins
from roles.word_encoding import words_of

WIDTH = 64
"""Bits of the numbers that are compared, as published."""
TRUST = "none between client and server; the server knows the model"
LEVELLED_BYTES = 2 * 8192 * 3 * 8
"""Of a levelled ciphertext: two polynomials of 8192 coefficients under three primes of 64 bits."""
ROWS = 2
"""Rows that are asked about, by turns."""

Classify = Callable[[int], int]
"""From the number of a test row to its class."""


@dataclass(frozen=True, slots=True)
class Bost:
    """The three classifiers at one size.

    Attributes:
        bits: |N| of both cryptosystems.
        watch: Takes the times.
    """

    bits: int
    watch: Stopwatch

    def entries(self) -> Iterator[Entry]:
        """Measure all three."""
        nursery, wdbc = split(data_set("nursery")), split(data_set("wdbc"))
        for name, task, parts, prepare, published in (
            ("naive Bayes", BAYES, nursery, self.bayes, papers.BOST_BAYES),
            ("hyperplane", LINEAR, wdbc, self.hyperplane, papers.BOST_LINEAR),
            ("tree, its levelled part not run", TREE, nursery, self.tree, papers.BOST_TREE),
        ):
            parties = Parties.generate(self.bits, Coins.fresh())
            classify, expected = prepare(parties, parts)
            yield self._line(
                Entry(
                    task,
                    f"bost.{self.bits}",
                    f"Bost et al., {name}",
                    LEVELS[self.bits],
                    TRUST,
                    accuracy=100 * float((expected == parts.test_labels).mean()),
                    published=published,
                ),
                parties,
                classify,
                expected[:ROWS].tolist(),
            )

    @staticmethod
    def bayes(parties: Parties, parts: Split) -> tuple[Classify, Ints]:
        """Return how rows are classified by naive Bayes, and the classes of all of them."""
        model = clear.bayes_table(parts)
        encrypted = naive_bayes.publish(parties, model.entries, model.priors)
        places = model.places(parts.test.indices)
        return lambda row: naive_bayes.classify(parties, WIDTH, encrypted, places[row]), model.classes(
            parts.test.indices
        )

    @staticmethod
    def hyperplane(parties: Parties, parts: Split) -> tuple[Classify, Ints]:
        """Return the same by a hyperplane."""
        model = clear.hyperplane(parts)
        encrypted = hyperplane.publish(parties, model.weights)
        rows = words_of(parts.test).tolist()
        return lambda row: hyperplane.classify(parties, WIDTH, encrypted, rows[row]), model.sides(parts.test)

    @staticmethod
    def tree(parties: Parties, parts: Split) -> tuple[Classify, Ints]:
        """Return the same by a tree."""
        root, model = clear.tree(parts)
        rows = parts.test.indices.tolist()
        expected = np.asarray(model.predict(parts.test.indices), dtype=np.int64)
        return lambda row: decision_tree.classify(parties, WIDTH, root, rows[row], LEVELLED_BYTES), expected

    def _line(self, entry: Entry, parties: Parties, classify: Classify, expected: Sequence[int]) -> Entry:
        transcript = parties.transcript
        transcript.sent.clear()
        messages = transcript.messages
        if [classify(row) for row in range(len(expected))] != expected:
            raise RuntimeError(f"{entry.system}: an answer is not the model's")
        each = len(expected)
        size, trips = transcript.total_bytes / each, (transcript.messages - messages) / 2 / each
        cpu = self.watch.cpu(lambda: [classify(row) for row in range(each)], each, once=True)
        return Entry(
            entry.task,
            entry.key,
            entry.system,
            entry.level,
            entry.trust,
            query_cpu=cpu,
            query_bytes=size,
            query_rounds=round(trips),
            accuracy=entry.accuracy,
            published=entry.published,
        )
