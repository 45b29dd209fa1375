"""`python -m benchmarks.comparison_trees`: the integer twin against river's Hoeffding tree, record by record.

The twin gives every answer of the encrypted tree, to the last bit; so accuracy can be compared in
the clear, in minutes. Both see the same 0/1 tests and the same stream, and are asked about each
record before they learn it (prequential accuracy). Needs `river`, the extra `compare`.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.data_sets import NAMES, ROOT, DataSet, available, csv_file, data_set, title
from benchmarks.line_chart import line_chart
from benchmarks.page import write_between
from pipeline.model_options import parse_models
from roles.classifiers.hoeffding_tree_growth import bits_of_tests
from roles.encoding import EncodedRecords, encode_bits
from roles.twins import PlainTree
from schemas.data_schema import MISSING_TOKENS, NumericAttribute
from schemas.models import TreeSpec

PAGE = ROOT / "docs" / "benchmarks.md"
MARKER = "trees"
ORDERS = 3
CHUNK_RECORDS = 200
GRACE, DEPTH = 200, 20
LEAVES = (16, 64)
BOUNDS = (("1e-7", "0.05"), ("1e-2", "0.05"), ("1e-7", "0.10"), ("1e-2", "0.10"))
CURVES_OF = BOUNDS[0]
POINTS = 50
DATA_SETS = NAMES[:2]

Hits: TypeAlias = npt.NDArray[np.bool_]
"""Per record of a stream whether its class was predicted."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one learner made of several streams.

    Attributes:
        hits: Per stream, in its order.
        leaves: At the end of each stream.
    """

    hits: tuple[Hits, ...]
    leaves: tuple[int, ...]

    @property
    def percent(self) -> float:
        """Mean prequential accuracy over the streams."""
        return 100 * float(np.mean([hits.mean() for hits in self.hits]))

    def curve(self) -> list[tuple[float, float]]:
        """Return (records, percent right in the stretch that ends there), averaged over the streams."""
        mean = np.mean(self.hits, axis=0)
        edges = np.linspace(0, len(mean), POINTS + 1).astype(int)
        return [(float(end), 100 * float(mean[start:end].mean())) for start, end in pairwise(edges)]


def orders(records: int) -> list[npt.NDArray[np.int64]]:
    """Return the stream orders: fixed permutations."""
    return [np.random.default_rng(seed).permutation(records) for seed in range(ORDERS)]


def twin_stream(data: DataSet, spec: TreeSpec, order: npt.NDArray[np.int64]) -> tuple[Hits, int]:
    """Ask the twin about each chunk, then let it learn the chunk."""
    twin = PlainTree(spec, data.schema)
    assert data.records.labels is not None
    hits = []
    for start in range(0, len(order), CHUNK_RECORDS):
        rows = order[start : start + CHUNK_RECORDS]
        chunk = EncodedRecords(data.records.indices[rows], data.records.labels[rows])
        hits.append(twin.predict(chunk) == chunk.labels)
        twin.learn(chunk)
    return np.concatenate(hits), len(twin.twin.growth.leaves)


def river_stream(
    tree: Any, records: Sequence[dict[Any, Any]], labels: Sequence[int], order: npt.NDArray[np.int64]
) -> tuple[Hits, int]:
    """Ask river's tree about each record, then let it learn the record."""
    hits = []
    for place in order.tolist():
        hits.append(tree.predict_one(records[place]) == labels[place])
        tree.learn_one(records[place], labels[place])
    return np.array(hits), int(tree.n_leaves or 1)


def over_orders(records: int, run: Callable[[npt.NDArray[np.int64]], tuple[Hits, int]]) -> Result:
    """Run a fresh learner on every stream."""
    found = [run(order) for order in orders(records)]
    return Result(tuple(hits for hits, _ in found), tuple(leaves for _, leaves in found))


def our_tree(data: DataSet, delta: str, tau: str, leaves: int) -> Result:
    """Return what the twin makes of the streams."""
    options = f"dt:max_leaves={leaves},max_depth={DEPTH},grace={GRACE},delta={delta},tau={tau}"
    (spec,) = parse_models([options], data.schema.class_count)
    assert isinstance(spec, TreeSpec)
    return over_orders(len(data.records), lambda order: twin_stream(data, spec, order))


def same_tree(river_tree: Any, data: DataSet, delta: str, tau: str) -> Result:
    """Return what river's tree makes of the same tests, set as ours is."""
    attributes = tuple((a.size, isinstance(a, NumericAttribute)) for a in data.schema.attributes)
    tests = bits_of_tests(encode_bits(data.schema, data.records), attributes)
    records = [dict(enumerate(row)) for row in tests.tolist()]

    def run(order: npt.NDArray[np.int64]) -> tuple[Hits, int]:
        tree = river_tree(
            grace_period=GRACE,
            delta=float(delta),
            tau=float(tau),
            split_criterion="gini",
            leaf_prediction="mc",
            binary_split=True,
            max_depth=DEPTH,
            nominal_attributes=list(range(tests.shape[1])),
        )
        return river_stream(tree, records, _labels(data), order)

    return over_orders(len(records), run)


def default_tree(river_tree: Any, data: DataSet) -> Result:
    """Return what river's tree makes of the raw columns with its own defaults."""
    path, label = csv_file(data.name)
    numeric = {a.name for a in data.schema.attributes if isinstance(a, NumericAttribute)}
    with path.open(encoding="utf-8", newline="") as file:
        records = [_raw(row, label, numeric) for row in csv.DictReader(file)]
    return over_orders(len(records), lambda order: river_stream(river_tree(), records, _labels(data), order))


def _raw(row: dict[str, str], label: str, numeric: set[str]) -> dict[Any, Any]:
    cells = {name: cell.strip() for name, cell in row.items() if name != label}
    return {
        name: float(cell) if name in numeric else cell
        for name, cell in cells.items()
        if name not in numeric or cell not in MISSING_TOKENS
    }


def _labels(data: DataSet) -> list[int]:
    assert data.records.labels is not None
    labels: list[int] = data.records.labels.tolist()
    return labels


def compare(river_tree: Any, name: str) -> Iterator[str]:
    """Yield the lines about one data set, and write its curves."""
    data = data_set(name)
    say(f"{name}: river's defaults …")
    defaults = default_tree(river_tree, data)
    for delta, tau in BOUNDS:
        say(f"{name}: δ = {delta}, τ = {tau} …")
        theirs = same_tree(river_tree, data, delta, tau)
        ours = {leaves: our_tree(data, delta, tau, leaves) for leaves in LEAVES}
        cells = [f"{_cell(result)} ({result.percent - theirs.percent:+.2f})" for result in ours.values()]
        cells += [_cell(theirs), _cell(defaults)]
        yield f"| {title(name)} | {delta}, {tau} | {' | '.join(cells)} |"
        if (delta, tau) == CURVES_OF:
            curves = {f"PrivML, {leaves} leaves": result.curve() for leaves, result in ours.items()}
            curves |= {"river, same tests and bound": theirs.curve(), "river, its defaults": defaults.curve()}
            chart = line_chart(f"{title(name)}, δ = {delta}, τ = {tau}", "records", "% right", curves)
            (ROOT / "docs" / f"tree_{name}.svg").write_text(chart, encoding="utf-8")


def _cell(result: Result) -> str:
    leaves = sorted(set(result.leaves))
    span = str(leaves[0]) if len(leaves) == 1 else f"{leaves[0]} to {leaves[-1]}"
    return f"{result.percent:.2f}, {span} leaves"


def report(river_tree: Any, names: Sequence[str]) -> str:
    """Return the table and the curves as Markdown."""
    head = [*(f"ours, at most {leaves} leaves" for leaves in LEAVES), "river, same tests", "river's defaults"]
    lines = [f"| | δ, τ | {' | '.join(head)} |", "| --- | --- |" + " ---: |" * len(head)]
    for name in names:
        lines += compare(river_tree, name)
    for name in names:
        lines += ["", f"![{title(name)}: accuracy over the stream](tree_{name}.svg)"]
    return "\n".join(lines)


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison_trees", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    try:
        from river.tree import HoeffdingTreeClassifier  # noqa: PLC0415  (an extra of its own)
    except ModuleNotFoundError:
        parser.error("river is missing: install it with `pip install 'privml[compare]'`")
    names = [name for name in DATA_SETS if name in available()]
    if not names:
        parser.error("no data: PRIVML_DATA names the folder that holds nursery.csv and adult.csv")
    table = report(HoeffdingTreeClassifier, names)
    if options.write_docs:
        write_between(PAGE, MARKER, table)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
