"""Records as arrays: cells → indices → one-hot bits, or counts of (value, class) pairs.

The compact internal form of a record is one index per attribute (docs/protocols.md §4). The
encodings are computed from valid indices only, so an all-zero or twofold one-hot cannot arise.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from crypto.errors import LocalProtocolError, SchemaError
from schemas.data_schema import MISSING_TOKENS, Attribute, CategoricalAttribute, DataSchema, Missing
from schemas.decimal_text import exact_decimal, is_non_finite, parse_decimal
from schemas.reasons import ReasonCode

IndexArray: TypeAlias = npt.NDArray[np.int32]
CountArray: TypeAlias = npt.NDArray[np.int64]
BitArray: TypeAlias = npt.NDArray[np.uint8]
_NAMES_LISTED = 20


class CellError(SchemaError):
    """A cell does not fit its column. The text never quotes the cell: records are private."""

    def __init__(self, message: str, hint: str, column: str) -> None:
        super().__init__(message)
        self.hint = hint
        self.column = column


class UnknownCategoryError(CellError):
    """The cell is none of the column's listed values."""

    code = ReasonCode.UNKNOWN_CATEGORY


class NotANumberError(CellError):
    """The cell of a numeric column is not a finite decimal number."""

    code = ReasonCode.NOT_A_NUMBER


class MissingValueError(CellError):
    """The cell is missing, and its column refuses that."""

    code = ReasonCode.MISSING_VALUE


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRecords:
    """Records as indices.

    Attributes:
        indices: Shape ``(n, A)``; entry (i, a) in ``[0, V_a)``.
        labels: Shape ``(n,)``, class indices in ``[0, C)``; None for queries.
        words: Shape ``(n, numeric attributes)``: their scaled numbers (`roles.word_encoding`); None
            where nobody asks for them.
    """

    indices: IndexArray = field(repr=False)
    labels: IndexArray | None = field(repr=False, default=None)
    words: IndexArray | None = field(repr=False, default=None)

    def __len__(self) -> int:
        """Return the number of records."""
        return int(self.indices.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """The sufficient statistics of naive Bayes for some records.

    Attributes:
        feature_counts: Shape ``(F, C)``: records of class c with one-hot column f set.
        class_counts: Shape ``(C,)``: records of class c.
    """

    feature_counts: CountArray = field(repr=False)
    class_counts: CountArray = field(repr=False)


class CellEncoder:
    """Turns the cells of one column into indices; build it once per column and file."""

    def __init__(self, column: str, values: Sequence[str], missing_index: int | None) -> None:
        self.column = column
        self.values = tuple(values)
        self._known = {value: index for index, value in enumerate(values)}
        self._missing_index = missing_index

    def index(self, cell: str) -> int:
        """Return the cell's index; spaces around it do not count.

        Raises:
            CellError: One of its three kinds, with a hint.
        """
        text = cell.strip()
        found = self._known.get(text)
        if found is not None:
            return found
        if text in MISSING_TOKENS:
            return self._missing()
        return self._unlisted(text)

    def _missing(self) -> int:
        if self._missing_index is None:
            raise MissingValueError(
                f"column {self.column!r} has a missing value",
                f'fill it in, leave the record out, or set missing = "own value" for {self.column!r} in the '
                "schema before the tenant is set up",
                self.column,
            )
        return self._missing_index

    def _unlisted(self, text: str) -> int:
        hint = f"allowed: {listed(self.values)}"
        if (likely := closest(text, self.values)) is not None:
            hint = f"did you mean {likely!r}? {hint}"
        raise UnknownCategoryError(
            f"column {self.column!r} has a value that the schema does not list", hint, self.column
        )


class _NumberEncoder(CellEncoder):
    """Bins decimal cells: bin j holds e_{j−1} < x ≤ e_j."""

    def __init__(self, column: str, edges: Sequence[str], missing_index: int | None) -> None:
        super().__init__(column, (), missing_index)
        self._edges = [exact_decimal(edge) for edge in edges]

    def _unlisted(self, text: str) -> int:
        value = parse_decimal(text)
        if value is None:
            kind = "an infinite or huge number" if is_non_finite(text) else "something that is not a number"
            raise NotANumberError(
                f"column {self.column!r} has {kind}",
                "write plain numbers such as 12, -0.5 or 1.2e-3, without thousands separators",
                self.column,
            )
        # The first edge that is ≥ x: its bin is closed from above.
        return bisect_left(self._edges, value)


class _LabelEncoder(CellEncoder):
    """Encodes labels; a record without one is no training record."""

    def _missing(self) -> int:
        raise MissingValueError(
            f"column {self.column!r}, the class, has a missing value",
            "give the record its label, or leave it out",
            self.column,
        )


def cell_encoder(attribute: Attribute) -> CellEncoder:
    """Build the encoder of an attribute's column."""
    missing_index = attribute.size - 1 if attribute.missing is Missing.OWN_VALUE else None
    if isinstance(attribute, CategoricalAttribute):
        return CellEncoder(attribute.name, attribute.values, missing_index)
    return _NumberEncoder(attribute.name, attribute.edges, missing_index)


def label_encoder(schema: DataSchema) -> CellEncoder:
    """Build the encoder of the label column; a missing label is always refused."""
    return _LabelEncoder(schema.label.name, schema.label.labels, None)


def collect_records(
    rows: Sequence[Sequence[int]],
    labels: Sequence[int] | None = None,
    words: Sequence[Sequence[int]] | None = None,
) -> EncodedRecords:
    """Stack rows of indices, at least one, into arrays."""
    indices = np.array(rows, dtype=np.int32)
    return EncodedRecords(
        indices,
        None if labels is None else np.array(labels, dtype=np.int32),
        None if words is None else np.array(words, dtype=np.int32).reshape(len(rows), -1),
    )


def encode_bits(
    schema: DataSchema, records: EncodedRecords, attributes: Sequence[int] | None = None
) -> BitArray:
    """One-hot attributes: the `bits` encoding of queries and training records.

    Args:
        schema: The tenant's.
        records: Indices, checked here.
        attributes: Which of them, ascending; None for all.

    Returns:
        Shape ``(n, F)``, 0 or 1; each attribute's columns hold exactly one 1.
    """
    _check(schema, records)
    bits = np.zeros((len(records), schema.onehot_columns), dtype=np.uint8)
    offsets = np.array(schema.attribute_offsets, dtype=np.int32)
    np.put_along_axis(bits, records.indices + offsets, 1, axis=1)
    if attributes is None:
        return bits
    sizes = schema.attribute_sizes
    columns = [column for a in attributes for column in range(offsets[a], offsets[a] + sizes[a])]
    return np.ascontiguousarray(bits[:, columns])


def encode_labels(schema: DataSchema, records: EncodedRecords) -> IndexArray:
    """Return the class indices, shape ``(n,)``, checked against the schema."""
    _check(schema, records)
    return _labels(records)


def encode_label_bits(schema: DataSchema, records: EncodedRecords) -> BitArray:
    """One-hot the classes: what training `bits` append to a record, shape ``(n, C)``."""
    labels = encode_labels(schema, records)
    bits = np.zeros((len(records), schema.class_count), dtype=np.uint8)
    bits[np.arange(len(records)), labels] = 1
    return bits


def count_table(schema: DataSchema, records: EncodedRecords) -> Counts:
    """Count (value or bin, class) pairs and classes: the `counts` encoding of a chunk."""
    labels = encode_labels(schema, records)
    classes = schema.class_count
    tables = [
        np.bincount(column * classes + labels, minlength=size * classes).reshape(size, classes)
        for column, size in zip(records.indices.T, schema.attribute_sizes, strict=True)
    ]
    return Counts(
        np.concatenate(tables).astype(np.int64), np.bincount(labels, minlength=classes).astype(np.int64)
    )


def listed(names: Sequence[str]) -> str:
    """Name allowed values for a message, at most twenty of them."""
    shown = ", ".join(repr(name) for name in names[:_NAMES_LISTED])
    rest = len(names) - _NAMES_LISTED
    return f"{shown} and {rest} more" if rest > 0 else shown


def closest(text: str, names: Sequence[str]) -> str | None:
    """Return the name that was probably meant; upper and lower case do not count."""
    folded = {name.casefold(): name for name in reversed(names)}
    matches = get_close_matches(text.casefold(), folded, n=1)
    return folded[matches[0]] if matches else None


def _labels(records: EncodedRecords) -> IndexArray:
    if records.labels is None:
        raise LocalProtocolError("these records have no labels")
    return records.labels


def _check(schema: DataSchema, records: EncodedRecords) -> None:
    """Refuse indices outside the schema, so that no encoding can be anything but one-hot."""
    sizes = np.array(schema.attribute_sizes, dtype=np.int32)
    indices, labels = records.indices, records.labels
    if indices.ndim != 2 or indices.shape[1] != len(sizes):
        raise LocalProtocolError(f"records must have {len(sizes)} indices each")
    if (indices < 0).any() or (indices >= sizes).any():
        raise LocalProtocolError("a record's index is outside its attribute")
    if labels is None:
        return
    if labels.shape != (len(records),) or (labels < 0).any() or (labels >= schema.class_count).any():
        raise LocalProtocolError("labels must be one class index per record")
