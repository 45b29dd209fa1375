"""Priv-NB from a batch of records to an opened answer: owners, MU, both units, clients.

Everything is signed, verified, journaled and hashed as in the services; what is left out is the
log itself. Every answer is held against the plaintext twin before anything is timed.
"""

from functools import partial

from benchmarks.data_sets import BUNDLED, available, data_set, title
from benchmarks.deployment import CLIENT, Deployment
from benchmarks.exchange import exchanged, sign
from benchmarks.learner import CHUNK_RECORDS, Learner
from benchmarks.measure import Benchmark, Prepared
from crypto.coins import Coins
from roles.classifiers.naive_bayes import NaiveBayesLearner
from roles.client import make_query
from schemas.codec import encode
from schemas.models import NaiveBayesSpec
from schemas.topics import TopicName

CHUNKS_TOGETHER = 60
CHUNKS_SINGLY = 10
BATCH_ROWS = 100
SPEC = NaiveBayesSpec("nb")


class NaiveBayes:
    """The benchmarks of Priv-NB on the data sets at hand."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._learners: dict[str, Learner] = {}

    def benchmarks(self) -> list[Benchmark]:
        """Return the benchmarks; targets stand with the data sets that they were set for."""
        names = available()
        training = "adult" if "adult" in names else names[0]
        rows = self._training(training)
        for name in names:
            if name in {"nursery", "adult", BUNDLED}:
                rows.append(
                    Benchmark(
                        f"nb.refresh_{name}",
                        f"{title(name)}: refresh, encrypted counts to shares of the table, both units",
                        "refresh",
                        partial(self._refresh, name),
                        repetitions=5,
                    )
                )
        for name in names:
            rows += self._queries(name)
        return rows

    def _training(self, name: str) -> list[Benchmark]:
        adult = name == "adult"
        prefix = f"{title(name)}, chunks of {CHUNK_RECORDS}"
        return [
            Benchmark(
                f"nb.encrypt_{name}",
                f"{prefix}: count, encrypt, prove, sign (owner)",
                "record",
                partial(self._publish, name),
                target=0.002 if adult else None,
            ),
            Benchmark(
                f"nb.train_{name}_together",
                f"{prefix}: all of MU's work, the proofs of {CHUNKS_TOGETHER} chunks together",
                "record",
                partial(self._train, name, CHUNKS_TOGETHER, CHUNKS_TOGETHER),
                target=0.0005 if adult else None,
            ),
            Benchmark(
                f"nb.train_{name}_singly",
                f"{prefix}: all of MU's work, one chunk at a time",
                "record",
                partial(self._train, name, CHUNKS_SINGLY, 1),
                target=0.001 if adult else None,
            ),
        ]

    def _queries(self, name: str) -> list[Benchmark]:
        nursery = name == "nursery"
        found = []
        for rows, target in ((1, 3.0), (BATCH_ROWS, 0.6)):
            how = "one query" if rows == 1 else f"a query message of {rows} rows"
            found += [
                Benchmark(
                    f"nb.query_{name}_{rows}",
                    f"{title(name)}: {how}, both units",
                    "row",
                    partial(self._answer, name, rows),
                    target=target if nursery else None,
                ),
                Benchmark(
                    f"nb.ask_{name}_{rows}",
                    f"{title(name)}: {how}, the client's encryption and proof",
                    "row",
                    partial(self._ask, name, rows),
                ),
                Benchmark(
                    f"nb.read_{name}_{rows}",
                    f"{title(name)}: {how}, the client's opening of the answer",
                    "row",
                    partial(self._read, name, rows),
                ),
            ]
        return found

    def _learner(self, name: str) -> Learner:
        if name not in self._learners:
            self._learners[name] = Learner(self._deployment, data_set(name), SPEC)
        return self._learners[name]

    def _publish(self, name: str) -> Prepared:
        learner = self._learner(name)
        records = learner.data.batch(CHUNK_RECORDS)
        size = sum(map(len, learner.publish(records, 0)))
        return Prepared(
            lambda: learner.publish(records, 0),
            CHUNK_RECORDS,
            f"{learner.data.shape}; {size:,} bytes a chunk",
        )

    def _train(self, name: str, number: int, together: int) -> Prepared:
        learner = self._learner(name)
        chunks = learner.chunks(number)
        vectors = learner.tenant.counts_layout(CHUNK_RECORDS).ciphertexts
        return Prepared(
            lambda: learner.learn(chunks, together),
            number * CHUNK_RECORDS,
            f"{number} chunks of {vectors} ciphertexts",
        )

    def _refresh(self, name: str) -> Prepared:
        learner = self._learner(name)
        if not isinstance(learner.learner, NaiveBayesLearner):
            raise TypeError("the model is another one")
        shape = learner.learner.table_shape(learner.model.records)
        return Prepared(
            learner.refresh,
            note=f"{learner.data.shape}; {len(shape.entries)} logarithms; {exchanged(shape.plan)}",
        )

    def _answer(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name)
        asked, table = learner.ask(rows), learner.prepared
        if learner.read(asked, learner.answer(asked.wires, table)) != asked.expected:
            raise RuntimeError(f"{name}: the answer is not the twin's")
        note = f"{learner.data.shape}; {exchanged(learner.query_plan(asked.query))}"
        return Prepared(lambda: learner.answer(asked.wires, table), rows, note)

    def _ask(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name)
        records = learner.data.batch(rows)
        keys = self._deployment.signing_keys

        def ask() -> None:
            query = make_query(learner.learner, CLIENT, records, Coins.fresh())
            sign(keys, learner.tenant, CLIENT, TopicName.QUERIES, "query", encode(query))

        return Prepared(ask, rows, "with tables of g and h")

    def _read(self, name: str, rows: int) -> Prepared:
        learner = self._learner(name)
        asked = learner.ask(rows)
        wires = learner.answer(asked.wires, learner.prepared)
        return Prepared(lambda: learner.read(asked, wires), rows)
