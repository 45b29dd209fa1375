"""What is varied, and what is timed at every point: all else stays as it is.

Everything is signed, verified, journaled and hashed as in the other benchmarks, without the log.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.learner import CHUNK_RECORDS, Learner
from benchmarks.measure import Prepared
from benchmarks.naive_bayes import CHUNKS_TOGETHER
from benchmarks.number_sets import made_up
from benchmarks.scaling.laboratory import Laboratory, categorical, publish_as
from benchmarks.tree_learner import GrownTree
from crypto.profiles import profile
from schemas.models import LogisticSpec, NaiveBayesSpec

Points = Iterator[tuple[float, Prepared]]
BAYES = NaiveBayesSpec("nb")
TREE_RECORDS = 4800
FEW_LEAVES = 4
NUMBER_RECORDS = 200
OWNED_CHUNKS = 100
OWNED_RECORDS = 50


@dataclass(frozen=True, slots=True)
class Axis:
    """One quantity that grows.

    Attributes:
        name: For files and for `--only`.
        title: What is timed.
        quantity: What grows.
        points: Work by the size of the quantity, ascending.
    """

    name: str
    title: str
    quantity: str
    points: Callable[[Laboratory], Points]


def records(laboratory: Laboratory) -> Points:
    """Train naive Bayes on more and more records: owners and MU together."""
    learner = Learner(laboratory.deployment(), categorical(20_000), BAYES)
    sizes = [1000, 3000, 10_000, 30_000, 100_000, *([] if laboratory.quick else [1_000_000])]
    for size in sizes:
        yield (
            size,
            Prepared(partial(_train, learner, size // CHUNK_RECORDS)),
        )


def _train(learner: Learner, chunks: int) -> None:
    learner.learn(learner.chunks(chunks), CHUNKS_TOGETHER)


def owners(laboratory: Laboratory) -> Points:
    """Train naive Bayes on the same chunks from more and more owners: MU alone."""
    data = categorical(OWNED_CHUNKS * OWNED_RECORDS)
    for number in (1, 3, 10, 30, 100):
        learner = Learner(laboratory.deployment().sharing_keys(number), data, BAYES)
        chunks = [
            publish_as(learner, f"o{place % number}", place // number, data.batch(OWNED_RECORDS, place))
            for place in range(OWNED_CHUNKS)
        ]
        yield number, Prepared(partial(learner.learn, chunks, CHUNKS_TOGETHER))


def classes(laboratory: Laboratory) -> Points:
    """Answer one row of naive Bayes with more and more classes."""
    for number in (2, 4, 8, 16, 24):
        yield number, _query(Learner(laboratory.deployment(), categorical(2000, classes=number), BAYES), 1)


def query_rows(laboratory: Laboratory) -> Points:
    """Answer a message of more and more rows about naive Bayes."""
    learner = Learner(laboratory.deployment(), categorical(2000), BAYES)
    for number in (1, 10, 50, 200, 1000):
        yield number, _query(learner, number)


def modulus(laboratory: Laboratory) -> Points:
    """Answer one row of naive Bayes at longer and longer moduli."""
    for name in ("toy", "paper", "legacy", "standard", "large"):
        learner = Learner(laboratory.deployment(name), categorical(2000), BAYES)
        yield profile(name).modulus_bits, _query(learner, 1)


def _query(learner: Learner, rows: int) -> Prepared:
    asked, prepared = learner.ask(rows), learner.prepared
    if learner.read(asked, learner.answer(asked.wires, prepared)) != asked.expected:
        raise RuntimeError("the answer is not the twin's")
    return Prepared(lambda: learner.answer(asked.wires, prepared))


def features(laboratory: Laboratory) -> Points:
    """Train logistic regression, one pass, on records of more and more numbers: both units, per record."""
    for number in (5, 15, 40, 120, 300):
        learner = Learner(laboratory.deployment(), made_up(NUMBER_RECORDS, number), LogisticSpec("lr"))
        chunks = [learner.publish(learner.data.records, 0)]
        yield number, Prepared(partial(learner.learn, chunks), NUMBER_RECORDS)


def tests(laboratory: Laboratory) -> Points:
    """Train a tree of four leaves on records of more and more tests: both units, per record."""
    for attributes in (2, 5, 10, 30, 100):
        data = categorical(TREE_RECORDS, attributes, 5, 2)
        yield 5 * attributes, _window(GrownTree(laboratory.deployment(), data, FEW_LEAVES))


def leaves(laboratory: Laboratory) -> Points:
    """Train a tree of more and more leaves: both units, per record."""
    for number in (4, 8, 16, 32, 64):
        data = categorical(TREE_RECORDS * number // FEW_LEAVES)
        yield number, _window(GrownTree(laboratory.deployment(), data, number))


def _window(tree: GrownTree) -> Prepared:
    if len(tree.grown.growth.leaves) != tree.leaves:
        raise RuntimeError(f"the tree has {len(tree.grown.growth.leaves)} leaves instead of {tree.leaves}")
    return Prepared(tree.teach, tree.window_records)


AXES = (
    Axis("records", "Naive Bayes: owners and MU, all records", "records", records),
    Axis("owners", "Naive Bayes: MU, 100 chunks of 50 records", "owners", owners),
    Axis("classes", "Naive Bayes: one row, both units", "classes", classes),
    Axis("query_rows", "Naive Bayes: one message, both units", "rows of the message", query_rows),
    Axis("modulus", "Naive Bayes: one row, both units", "bits of the modulus", modulus),
    Axis("features", "Logistic regression: a pass, both units, per record", "numbers of a record", features),
    Axis("tests", "Tree of 4 leaves: both units, per record", "tests", tests),
    Axis("leaves", "Tree on 32 tests: both units, per record", "leaves", leaves),
)
