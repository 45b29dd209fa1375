"""`python -m benchmarks.comparison_logistic`: the integer twin beside scikit-learn and the same in floats.

The twin gives every answer of the encrypted model, to the last bit, so that accuracy can be compared
in the clear. All three see the same features under one schema; five stratified folds, seed 0.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.data_sets import BUNDLED, ROOT, data_set, folder, title
from benchmarks.float_logistic import FloatReference
from benchmarks.page import write_between
from pipeline.demo_data import shuffled_order
from pipeline.model_options import parse_models
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE, LogisticSchedule
from roles.classifiers.logistic_regression_twin import LogisticTwin
from roles.model_settings import logistic_schedule
from roles.twins import PlainLogistic
from schemas.models import LogisticSpec

PAGE = ROOT / "docs" / "benchmarks.md"
MARKER = "logistic regression"
SETS = ("adult", "nhanes3", "wdbc", "edin", "lbw", "pcs", "uis")
FOLDS = 5
CHUNK_RECORDS = 500
ONE_CHUNK = ("lr:passes=7,rate=4,momentum=0.875", "lr:passes=30,rate=4,momentum=0.875")
"""How small sets are learnt, whole, as people write it: seven Nesterov iterations, and thirty."""
ONLINE = (
    "lr:passes=2,rate=2,momentum=0.875,decay=100",
    "lr:passes=2,batch=100,rate=2,momentum=0.875,decay=200",
)
"""How large sets are learnt, chunk after chunk."""
MANY_RECORDS = 5000
MAX_ITERATIONS = 1000

Ints: TypeAlias = npt.NDArray[np.int64]
Scores: TypeAlias = npt.NDArray[np.number[Any]]
Fold: TypeAlias = tuple[Ints, Ints]
"""Numbers of the records that are learnt, in order, and of those that are asked about."""
Method: TypeAlias = Callable[[LogisticSchedule, Ints, Ints, Ints], Scores]
"""From features and labels of training records and features of others to the others' scores."""


def chunks_of(records: int) -> Iterator[slice]:
    """Yield the chunks of so many training records."""
    size = CHUNK_RECORDS if records >= MANY_RECORDS else records
    return (slice(start, start + size) for start in range(0, records, size))


def by_twin(schedule: LogisticSchedule, features: Ints, labels: Ints, asked: Ints) -> Scores:
    """Return the scores of the integer twin: those of the encrypted model."""
    twin = LogisticTwin.empty(features.shape[1], 2, schedule)
    for chunk in chunks_of(len(labels)):
        twin = twin.learn(features[chunk], labels[chunk])
    return twin.scores(asked)[:, 0]


def by_floats(schedule: LogisticSchedule, features: Ints, labels: Ints, asked: Ints) -> Scores:
    """Return the scores of the same algorithm in floats."""
    reference = FloatReference(features.shape[1], 2, schedule)
    for chunk in chunks_of(len(labels)):
        reference.learn(features[chunk] / FEATURE_ONE, labels[chunk])
    return reference.scores(asked / FEATURE_ONE)[:, 0]


def by_sklearn(schedule: LogisticSchedule, features: Ints, labels: Ints, asked: Ints) -> Scores:
    """Return the scores of scikit-learn's solver, run to its end on standardised columns."""
    del schedule
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - an extra, not a dependency
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    model: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    scores: Scores = model.fit(features, labels).decision_function(asked)
    return scores


METHODS: dict[str, Method] = {
    "scikit-learn": by_sklearn,
    "same algorithm in floats": by_floats,
    "PrivML": by_twin,
}


def folds_of(labels: Ints) -> Iterator[Fold]:
    """Yield the folds; training records come in an order of their own."""
    from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415 - an extra, not a dependency

    order = np.array(shuffled_order(len(labels), 0))
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels)
    for train, test in split:
        yield order[np.isin(order, train)], test


def compare(name: str) -> Iterator[str]:
    """Yield the lines about one data set: accuracy and area under the curve, means over the folds."""
    data = data_set(name)
    labels = np.asarray(data.records.labels, dtype=np.int64)
    for option in ONLINE if len(labels) >= MANY_RECORDS else ONE_CHUNK:
        (spec,) = parse_models([option], 2)
        assert isinstance(spec, LogisticSpec)
        features = PlainLogistic(spec, data.schema).features(data.records)
        cells = [_cell(method, logistic_schedule(spec), features, labels) for method in METHODS.values()]
        shape = f"{len(labels):,} × {features.shape[1]}"
        yield f"| {title(name)} | {shape} | `{option}` | {' | '.join(cells)} |"


def _cell(method: Method, schedule: LogisticSchedule, features: Ints, labels: Ints) -> str:
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - an extra, not a dependency

    right, areas = [], []
    for train, test in folds_of(labels):
        scores = method(schedule, features[train], labels[train], features[test])
        right.append(((scores >= 0) == labels[test]).mean())
        areas.append(roc_auc_score(labels[test], scores))
    return f"{100 * np.mean(right):.2f}, {np.mean(areas):.4f}"


def report(names: Sequence[str]) -> str:
    """Return the table as Markdown."""
    lines = [f"| | records × features | model | {' | '.join(METHODS)} |"]
    lines.append("| --- | --- | --- |" + " ---: |" * len(METHODS))
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        lines += compare(name)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit code: 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison_logistic", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    names = [name for name in SETS if (folder() / f"{name}.csv").is_file()] or [BUNDLED]
    table = report(names)
    if options.write_docs:
        write_between(PAGE, MARKER, table)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
