"""An owner opens its own chunks again: what its encodings hold, no more (docs/protocols.md, P17).

From `bits` and `words` come the records as they were encoded: bins and scaled numbers, not the cells of
the file. A chunk of `counts` alone gives back its counts; which records they came from is gone.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from crypto.dtpkc import WeakPrivateKey
from crypto.packing import SlotLayout
from roles.building_blocks.narrow_words import OFFSET
from roles.chunk_encodings import BITS, COUNTS, WORDS, ChunkEncodings
from roles.encoding import Counts, EncodedRecords
from roles.vectors import decode_vectors
from roles.word_encoding import WORD_LIMIT, numeric_columns
from schemas.chunks import Chunk
from schemas.data_schema import NumericAttribute
from schemas.decimal_text import exact_decimal

IntArray = npt.NDArray[np.int64]
COUNTS_HEADER = ("attribute", "value", "class", "count")


class OwnChunks:
    """Opens chunks of one owner.

    Args:
        encodings: Of the tenant.
        key: The owner's own.
        pool: Threads for the powers.

    Attributes:
        kind: ``records`` if records come back, else ``counts``.
    """

    def __init__(
        self, encodings: ChunkEncodings, key: WeakPrivateKey, pool: ThreadPoolExecutor | None = None
    ) -> None:
        self._encodings = encodings
        self._schema = encodings.tenant.schema
        self._key = key
        self._pool = pool
        self.kind = "records" if BITS in encodings.names else COUNTS

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns of `rows`."""
        return tuple(self._schema.column_names) if self.kind == "records" else COUNTS_HEADER

    def open(self, chunk: Chunk) -> EncodedRecords | Counts:
        """Return what a chunk holds.

        Indices of attributes that only `words` hold are −1.

        Raises:
            Refusal: The chunk is not of this tenant's form.
            NotOpenableError: It is not encrypted under this key.

        Cost:
            A short power per ciphertext of the encodings that are opened.
        """
        encodings, tenant = self._encodings, self._encodings.tenant
        layouts = encodings.layouts(chunk.records)
        vectors = decode_vectors(tenant, chunk.vectors, encodings.names, layouts)
        wanted = (BITS, WORDS) if self.kind == "records" else (COUNTS,)
        slots = {
            name: _slots(layout, self._key.decrypt_many(vectors[name], self._pool))
            for name, layout in zip(encodings.names, layouts, strict=True)
            if name in wanted
        }
        if self.kind == COUNTS:
            table = slots[COUNTS].reshape(-1, self._schema.class_count)
            return Counts(table[:-1], table[-1])
        words = None
        if WORDS in slots:
            words = (slots[WORDS].reshape(chunk.records, -1) - OFFSET).astype(np.int32)
        return self._records(slots[BITS].reshape(chunk.records, -1), words)

    def _records(self, bits: IntArray, words: npt.NDArray[np.int32] | None) -> EncodedRecords:
        sizes = self._schema.attribute_sizes
        indices = np.full((len(bits), len(sizes)), -1, dtype=np.int32)
        start = 0
        for attribute in self._encodings.bit_attributes or ():
            columns = bits[:, start : start + sizes[attribute]]
            indices[:, attribute] = columns.argmax(axis=1)
            start += sizes[attribute]
        return EncodedRecords(indices, bits[:, start:].argmax(axis=1).astype(np.int32), words)

    def rows(self, opened: EncodedRecords | Counts) -> Iterator[tuple[str, ...]]:
        """Yield what was opened as lines of a table under `header`."""
        if isinstance(opened, Counts):
            yield from self._count_rows(opened)
            return
        names = [attribute.value_names for attribute in self._schema.attributes]
        labels = self._schema.label.labels
        if opened.labels is None:
            return
        for number, (indices, label) in enumerate(zip(opened.indices, opened.labels, strict=True)):
            cells = ["" if i < 0 else names[a][i] for a, i in enumerate(indices)]
            if opened.words is not None:
                # More exact than a bin.
                for column, attribute in enumerate(numeric_columns(self._schema)):
                    cells[attribute] = self._number(attribute, int(opened.words[number, column]))
            yield (*cells, labels[label])

    def _count_rows(self, counts: Counts) -> Iterator[tuple[str, ...]]:
        labels, features = self._schema.label.labels, iter(counts.feature_counts)
        yield from _lines(self._schema.label.name, "", labels, counts.class_counts)
        for attribute in self._schema.attributes:
            for value in attribute.value_names:
                yield from _lines(attribute.name, value, labels, next(features))

    def _number(self, index: int, word: int) -> str:
        attribute = self._schema.attributes[index]
        if not isinstance(attribute, NumericAttribute):
            raise TypeError("words are of numeric attributes")
        low, high = Fraction(exact_decimal(attribute.low)), Fraction(exact_decimal(attribute.high))
        # The inverse of `NumberScaler.word`, to the six digits that it can be good for.
        return f"{float((low + high + (high - low) * Fraction(word, WORD_LIMIT)) / 2):.6g}"


def _lines(
    attribute: str, value: str, labels: Sequence[str], counts: npt.NDArray[np.int64]
) -> Iterator[tuple[str, ...]]:
    for label, count in zip(labels, counts, strict=True):
        yield attribute, value, label, str(count)


def _slots(layout: SlotLayout, plaintexts: Sequence[int]) -> IntArray:
    return np.array(layout.unpack(plaintexts), dtype=np.int64) >> int(layout.doubled)
