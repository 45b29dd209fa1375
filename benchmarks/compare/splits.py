"""Which records are learnt and which are asked about: the same for every system."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.data_sets import DataSet
from benchmarks.number_sets import number_file
from pipeline.demo_data import shuffled_order
from roles.encoding import EncodedRecords
from roles.twins import twin_of
from schemas.models import ModelSpec

TEST_SHARE = 5
"""One record in five is asked about."""
MAX_RECORDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Split:
    """A data set, cut in two by a fixed order.

    Attributes:
        data: The learnt records.
        test: The others.
    """

    data: DataSet
    test: EncodedRecords = field(repr=False)

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """Classes of the learnt records."""
        return _labels(self.data.records)

    @property
    def test_labels(self) -> npt.NDArray[np.int32]:
        """Classes of the others."""
        return _labels(self.test)


def split(data: DataSet) -> Split:
    """Cut a data set: four fifths are learnt, in a fixed random order."""
    order = np.array(shuffled_order(len(data.records), 0))
    asked = len(order) // TEST_SHARE
    learnt = DataSet(data.name, data.schema, taken(data.records, order[asked:]))
    return Split(learnt, taken(data.records, order[:asked]))


def lbw() -> Split:
    """Return lbw as numbers alone."""
    return split(number_file("lbw"))


def taken(records: EncodedRecords, rows: npt.NDArray[np.int64]) -> EncodedRecords:
    """Return those records."""
    words = None if records.words is None else records.words[rows]
    return EncodedRecords(records.indices[rows], _labels(records)[rows], words)


def twin_accuracy(spec: ModelSpec, parts: Split, chunk_records: int) -> float:
    """Return how many percent of the test records the twin answers rightly, as the encrypted model would."""
    twin = twin_of(spec, parts.data.schema, MAX_RECORDS)
    for number in range(max(1, len(parts.data.records) // chunk_records)):
        twin.learn(parts.data.batch(min(chunk_records, len(parts.data.records)), number))
    return 100 * float((twin.predict(parts.test) == parts.test_labels).mean())


def _labels(records: EncodedRecords) -> npt.NDArray[np.int32]:
    if records.labels is None:
        raise ValueError("the records have no classes")
    return records.labels
