"""Priv-DT: owners, windows with sealing and split attempts, labels, queries, at several sizes of the tree.

As for naive Bayes everything is signed, verified, journaled and hashed; what is left out is the
log itself. Splits and answers are held against the plaintext twin before anything is timed.
"""

import copy
from functools import partial

from benchmarks.data_sets import available, data_set, title
from benchmarks.deployment import Deployment
from benchmarks.exchange import exchanged
from benchmarks.measure import Benchmark, Prepared
from benchmarks.naive_bayes import BATCH_ROWS
from benchmarks.tree_learner import GrownTree
from roles.classifiers.hoeffding_tree_detail import encode_growth
from roles.encoding import encode_bits, encode_label_bits

LEAVES = (4, 8, 16, 32, 64)
USUAL_LEAVES = 16
TRAIN_TARGETS = {"nursery": 0.03, "adult": 0.06}
BYTES_TARGETS = {"adult": 75_000}
QUERY_TARGETS = {1: 3.0, BATCH_ROWS: 0.6}


class Trees:
    """The benchmarks of Priv-DT on the data sets at hand."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._trees: dict[tuple[str, int], GrownTree] = {}

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks; targets are for 16 leaves."""
        return [row for name in available() if name in TRAIN_TARGETS for row in self._of(name)]

    def _of(self, name: str) -> list[Benchmark]:
        shown, size = title(name), GrownTree.chunk_records
        rows = [
            Benchmark(
                f"dt.encrypt_{name}",
                f"{shown}, chunks of {size}: encrypt, prove, sign (owner)",
                "record",
                partial(self._publish, name),
            ),
            Benchmark(
                f"dt.accept_{name}",
                f"{shown}, chunks of {size}: MU checks, journals and acknowledges a window's chunks",
                "record",
                partial(self._accept, name),
            ),
        ]
        rows += [
            Benchmark(
                f"dt.train_{name}_{leaves}",
                f"{shown}, {leaves} leaves: the same, then a window and an attempt to split, both units",
                "record",
                partial(self._train, name, leaves),
                target=TRAIN_TARGETS[name] if leaves == USUAL_LEAVES else None,
                repetitions=5,
            )
            for leaves in LEAVES
        ]
        rows.append(
            Benchmark(
                f"dt.labels_{name}",
                f"{shown}, {USUAL_LEAVES} leaves: find all leaves' labels, both units",
                "refresh",
                partial(self._label, name),
            )
        )
        for number, target in QUERY_TARGETS.items():
            how = "one query" if number == 1 else f"a query message of {number} rows"
            rows.append(
                Benchmark(
                    f"dt.query_{name}_{number}",
                    f"{shown}, {USUAL_LEAVES} leaves: {how}, both units",
                    "row",
                    partial(self._answer, name, number),
                    target=target,
                )
            )
        return rows

    def _tree(self, name: str, leaves: int = USUAL_LEAVES) -> GrownTree:
        if (name, leaves) not in self._trees:
            self._trees[name, leaves] = GrownTree(self._deployment, data_set(name), leaves)
        return self._trees[name, leaves]

    def _publish(self, name: str) -> Prepared:
        tree = self._tree(name)
        records = tree.data.batch(tree.chunk_records)
        size = sum(map(len, tree.publish(records, 0)))
        return Prepared(
            lambda: tree.publish(records, 0), tree.chunk_records, f"{_shape(tree)}; {size:,} bytes a chunk"
        )

    def _accept(self, name: str) -> Prepared:
        tree = self._tree(name)
        vectors = tree.tree.model.records_layout(tree.chunk_records).ciphertexts
        note = f"{len(tree.window)} chunks of {vectors} ciphertexts"
        return Prepared(tree.accepted, tree.window_records, note)

    def _train(self, name: str, leaves: int) -> Prepared:
        tree = self._tree(name, leaves)
        twin = copy.deepcopy(tree.grown)
        batches = [tree.data.batch(tree.chunk_records, number) for number in range(len(tree.window))]
        schema = tree.data.schema
        twin.learn_window(
            [(encode_bits(schema, batch), encode_label_bits(schema, batch)) for batch in batches]
        )
        tried, bits = len(twin.growth.due), twin.growth.count_bits(twin.growth.due)
        twin.attempt()
        if tree.tree.detail(tree.teach().content) != encode_growth(twin.growth):
            raise RuntimeError(f"{name}: the tree does not grow as the twin does")
        exchanged_bytes = sum(step.bytes_exchanged for plan in tree.plans for step in plan.steps)
        each = exchanged_bytes / tree.window_records
        target = BYTES_TARGETS.get(name) if leaves == USUAL_LEAVES else None
        met = f", target ≤ {target:,} {'met' if each <= target else '**missed**'}" if target else ""
        fields = [side for plan in tree.plans for step in plan.steps for side in (step.request, step.reply)]
        largest = max(sum(section.size for section in side) for side in fields)
        note = (
            f"{_shape(tree)}; window of {len(tree.window)} chunks, {tried} leaves tried at {bits} bits; "
            f"{each:,.0f} bytes between the units{met}; largest step {largest:,} bytes one way"
        )
        return Prepared(tree.teach, tree.window_records, note)

    def _label(self, name: str) -> Prepared:
        tree = self._tree(name)
        return Prepared(tree.refresh, note=exchanged(tree.labels_plan))

    def _answer(self, name: str, rows: int) -> Prepared:
        tree = self._tree(name)
        asked, labels = tree.ask(rows), tree.prepared
        if tree.read(asked, tree.answer(asked.wires, labels)) != asked.expected:
            raise RuntimeError(f"{name}: the answer is not the twin's")
        return Prepared(
            lambda: tree.answer(asked.wires, labels), rows, exchanged(tree.query_plan(asked.query))
        )


def _shape(tree: GrownTree) -> str:
    model = tree.tree.model
    return f"{model.tests} tests, {model.classes} classes"
