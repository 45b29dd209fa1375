"""Both units linked in memory for sessions of logistic regression."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from doubles import seeded_coins
from tenants import SmallTenant

from crypto.dtpkc import Ciphertext
from crypto.packing import SlotLayout
from crypto.service_key import finish_open, half_open
from roles.building_blocks.narrow_words import pack_narrow
from roles.building_blocks.seal import unseal
from roles.classifiers.logistic_regression_opening import EncryptedRecords
from roles.classifiers.logistic_regression_query import QueryShape, query_master, query_secondary
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE, LogisticSchedule
from roles.classifiers.logistic_regression_shape import LogisticRecords, LogisticShape, LogisticState
from roles.classifiers.logistic_regression_training import TrainingShape, learn_master, learn_secondary
from roles.classifiers.logistic_regression_twin import LogisticTwin
from roles.session import Session, run_linked
from schemas.rounds import Subject

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PlainRecords:
    """Records before encryption: scaled numbers, one-hot bits, classes."""

    words: Ints
    bits: Bits
    labels: Ints

    def features(self, records: LogisticRecords) -> Ints:
        """Return what the twin learns from."""
        chosen = self.bits[:, list(records.bit_columns)].astype(np.int64) * FEATURE_ONE
        return np.concatenate([self.words, chosen], axis=1)


def plain_records(records: LogisticRecords, rows: int, seed: str, *, noise: int = 300) -> PlainRecords:
    """Return random records whose classes can be learnt."""
    coins = seeded_coins(f"records {seed}")
    words = coins.words((rows, records.words), np.uint32).astype(np.int64) % 2047 - 1023
    columns = []
    for size in records.attribute_sizes:
        value = coins.words(rows, np.uint32).astype(np.int64) % size
        columns.append(np.eye(size, dtype=np.uint8)[value])
    bits = np.concatenate(columns, axis=1) if columns else np.zeros((rows, 0), dtype=np.uint8)
    signal = words.sum(axis=1) + 700 * bits.sum(axis=1, where=np.arange(bits.shape[1]) % 3 == 0)
    signal = signal + coins.words(rows, np.uint32).astype(np.int64) % (2 * noise + 1) - noise
    ranks = signal.argsort().argsort()
    return PlainRecords(words, bits, ranks * records.classes // max(rows, 1))


def encrypt_vector(
    small: SmallTenant, layout: SlotLayout | None, integers: npt.NDArray[np.integer], seed: str
) -> tuple[Ciphertext, ...]:
    """Encrypt a vector under the service key; nothing where there is no layout."""
    if layout is None:
        return ()
    narrow = layout.meaning == "words"
    plaintexts = pack_narrow(layout, integers) if narrow else layout.pack(integers.reshape(-1))
    return tuple(small.tenant.service_key.encrypt_many(plaintexts, seeded_coins(f"encrypt {seed}")))


def encrypt_records(
    small: SmallTenant, shape: LogisticShape, plain: PlainRecords, seed: str, *, labelled: bool
) -> EncryptedRecords:
    """Encrypt a chunk, or the rows of a query."""
    rows = len(plain.words)
    bits = plain.bits
    if labelled:
        one_hot = np.eye(shape.records.classes, dtype=np.uint8)[plain.labels]
        bits = np.concatenate([bits, one_hot], axis=1)
    return EncryptedRecords(
        encrypt_vector(small, shape.words_layout(rows), plain.words, f"words {seed}"),
        encrypt_vector(small, shape.bits_layout(rows, labelled=labelled), bits, f"bits {seed}"),
    )


def opened_weights(small: SmallTenant, shape: LogisticShape, state: LogisticState) -> Ints:
    """Open a state with both keys, which no party holds: shape (blocks, K, d + 1)."""
    parameters, layout, ciphertexts = small.tenant.parameters, shape.state, state.ciphertexts
    halves = half_open(parameters, ciphertexts, small.master.theta, [0] * len(ciphertexts))
    t2s = [ciphertext.t2 for ciphertext in ciphertexts]
    opened = finish_open(parameters, halves, t2s, small.secondary.theta)
    slots = np.array(layout.unpack(opened), dtype=np.int64)
    assert (slots % 2 == 0).all()
    words = slots // 2 % (1 << 32)
    signed: Ints = np.where(words >= 1 << 31, words - (1 << 32), words)
    return signed.reshape(shape.blocks, shape.problems, shape.weights)


@dataclass
class Learner:
    """The encrypted model of a small tenant."""

    small: SmallTenant
    records: LogisticRecords
    schedule: LogisticSchedule
    state: LogisticState = field(init=False)

    def __post_init__(self) -> None:
        self.shape = LogisticShape(self.small.tenant, self.records, self.schedule)
        self.state = LogisticState.empty(self.shape, "m")

    def subject(self, purpose: str, rows: int, seed: str) -> Subject:
        name = seeded_coins(f"subject {seed} {self.state.steps}").bytes(32)
        return Subject(purpose, "m", message_hash=name, rows=rows)

    def learn(self, encrypted: EncryptedRecords, rows: int, seed: str) -> None:
        """Learn a chunk; the state changes only if that succeeds."""
        training = TrainingShape(self.shape, rows, self.state.steps)
        subject = self.subject("learn", rows, seed)
        mu = Session(self.small.tenant, "mu", self.small.master.seed, subject, training.plan)
        su = Session(self.small.tenant, "su", self.small.secondary.seed, subject, training.plan)
        self.state = run_linked(
            learn_master(mu, self.small.master, training, self.state, encrypted),
            mu,
            learn_secondary(su, self.small.secondary, training),
            su,
        )

    def learn_plain(self, plain: PlainRecords, seed: str) -> None:
        """Encrypt a chunk and learn it."""
        encrypted = encrypt_records(self.small, self.shape, plain, seed, labelled=True)
        self.learn(encrypted, len(plain.words), seed)

    def ask(self, plain: PlainRecords, seed: str, *, probabilities: bool = False) -> Ints:
        """Encrypt rows, ask, and open the answer as the client: shape (values, rows)."""
        encrypted = encrypt_records(self.small, self.shape, plain, seed, labelled=False)
        rows = len(plain.words)
        query = QueryShape(self.shape, rows, probabilities)
        subject = self.subject("query", rows, seed)
        mu = Session(self.small.tenant, "mu", self.small.master.seed, subject, query.plan)
        su = Session(self.small.tenant, "su", self.small.secondary.seed, subject, query.plan)
        key = self.small.client_key
        t2s = {
            "words": tuple(ciphertext.t2 for ciphertext in encrypted.words),
            "bits": tuple(ciphertext.t2 for ciphertext in encrypted.bits),
        }
        sealed = run_linked(
            query_master(mu, self.small.master, query, self.state, encrypted, key.public),
            mu,
            query_secondary(su, self.small.secondary, query, t2s, key.public),
            su,
        )
        return np.array(unseal(key, query.answers, sealed), dtype=np.int64).reshape(-1, rows)

    def weights(self) -> Ints:
        """Open the state: shape (blocks, K, d + 1)."""
        return opened_weights(self.small, self.shape, self.state)

    def assert_equal(self, twin: LogisticTwin) -> None:
        """Compare every weight with the twin's."""
        found = self.weights()
        np.testing.assert_array_equal(found[0], twin.weights)
        np.testing.assert_array_equal(found[-1], twin.lookahead)
