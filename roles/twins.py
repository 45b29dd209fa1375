"""Every model in the clear: the plaintext twins under one interface, fed like the units are.

For the demo, tests and benchmarks, which hold all records; no party of a tenant does. The twins
themselves (`roles.classifiers.*_twin`) share no code with the protocols that they check.
"""

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from roles.classifiers.hoeffding_tree_twin import HoeffdingTreeTwin
from roles.classifiers.logistic_regression_schedule import FEATURE_ONE
from roles.classifiers.logistic_regression_twin import LogisticTwin
from roles.classifiers.naive_bayes_twin import NaiveBayesTwin, score_bits
from roles.encoding import EncodedRecords, count_table, encode_bits, encode_label_bits, encode_labels
from roles.model_settings import logistic_schedule, tree_settings
from roles.word_encoding import numeric_columns, words_of
from schemas.data_schema import DataSchema, NumericAttribute
from schemas.models import LogisticSpec, ModelSpec, NaiveBayesSpec, TreeSpec

IntArray: TypeAlias = npt.NDArray[np.int64]
Bits: TypeAlias = npt.NDArray[np.uint8]


class Twin(Protocol):
    """A model in the clear."""

    def learn(self, records: EncodedRecords) -> bool:
        """Take a chunk in; return whether it was learnt, now or with later ones."""
        ...

    def predict(self, rows: EncodedRecords) -> IntArray:
        """Return the label of every row."""
        ...


class PlainNaiveBayes:
    """Naive Bayes in the clear.

    Attributes:
        twin: The model so far.
    """

    def __init__(self, spec: NaiveBayesSpec, schema: DataSchema, max_total_records: int) -> None:
        width = score_bits(len(schema.attribute_sizes), max_total_records.bit_length())
        self._schema = schema
        self.twin = NaiveBayesTwin.empty(schema.attribute_sizes, schema.class_count, width, spec.alpha_256)

    def learn(self, records: EncodedRecords) -> bool:
        """See `Twin.learn`."""
        self.twin = self.twin.learn(count_table(self._schema, records))
        return True

    def predict(self, rows: EncodedRecords) -> IntArray:
        """See `Twin.predict`."""
        return np.asarray(self.twin.predict(rows.indices), dtype=np.int64)


class PlainLogistic:
    """Logistic regression in the clear.

    Attributes:
        twin: The model so far.
    """

    def __init__(self, spec: LogisticSpec, schema: DataSchema) -> None:
        self._schema = schema
        numeric = numeric_columns(schema) if spec.scaled else ()
        self._attributes = [a for a in range(len(schema.attributes)) if a not in numeric]
        self._scaled = bool(numeric)
        bits = sum(schema.attribute_sizes[a] for a in self._attributes)
        features = len(numeric) + bits
        self.twin = LogisticTwin.empty(features, schema.class_count, logistic_schedule(spec))

    def features(self, records: EncodedRecords) -> IntArray:
        """Return what the model looks at: numbers first, then one-hot bits, 10 fractional bits each."""
        bits = encode_bits(self._schema, records, self._attributes).astype(np.int64) * FEATURE_ONE
        return np.concatenate([words_of(records).astype(np.int64), bits], axis=1) if self._scaled else bits

    def learn(self, records: EncodedRecords) -> bool:
        """See `Twin.learn`; a chunk that overflows leaves the model as it was."""
        try:
            self.twin = self.twin.learn(self.features(records), encode_labels(self._schema, records))
        except OverflowError:
            return False
        return True

    def predict(self, rows: EncodedRecords) -> IntArray:
        """See `Twin.predict`."""
        return self.twin.predict(self.features(rows))


class PlainTree:
    """A Hoeffding tree in the clear, with the public schedule of windows and attempts.

    Attributes:
        twin: The tree so far.
        waiting: Chunks that wait for their window to be full.
    """

    def __init__(self, spec: TreeSpec, schema: DataSchema) -> None:
        self._schema = schema
        attributes = tuple((a.size, isinstance(a, NumericAttribute)) for a in schema.attributes)
        self.twin = HoeffdingTreeTwin.empty(attributes, schema.class_count, tree_settings(spec))
        self.waiting: list[tuple[Bits, Bits]] = []

    def learn(self, records: EncodedRecords) -> bool:
        """See `Twin.learn`."""
        self.waiting.append((encode_bits(self._schema, records), encode_label_bits(self._schema, records)))
        while size := self.twin.growth.window([len(bits) for bits, _ in self.waiting]):
            self.twin.learn_window(self.waiting[:size])
            self.waiting = self.waiting[size:]
            if self.twin.growth.attempt_is_due:
                self.twin.attempt()
        return True

    def predict(self, rows: EncodedRecords) -> IntArray:
        """See `Twin.predict`."""
        self.twin.refresh_labels()
        return self.twin.predict(encode_bits(self._schema, rows))


def twin_of(spec: ModelSpec, schema: DataSchema, max_total_records: int) -> Twin:
    """Return the twin of a model before any record."""
    match spec:
        case NaiveBayesSpec():
            return PlainNaiveBayes(spec, schema, max_total_records)
        case LogisticSpec():
            return PlainLogistic(spec, schema)
        case TreeSpec():
            return PlainTree(spec, schema)
