"""The public description of a record: attributes, their values or bins, and the class labels.

Everything here is published to owners, units and clients, and therefore leaks nothing but itself
(docs/protocols.md §4). The wire form has one spelling, hence one digest; numbers are decimal text.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import pairwise

from crypto.errors import SchemaError
from schemas.codec import WireStruct, decode, encode
from schemas.decimal_text import exact_decimal

SCHEMA_VERSION = 1
MAX_ONEHOT_COLUMNS = 4096
MAX_CLASSES = 256
MAX_NAME_CHARACTERS = 128
MISSING_NAME = "(missing)"
# What a data file may write for "not known"; a value that the schema lists itself wins over this.
MISSING_TOKENS = frozenset({"", "?", "NA", "NaN", "nan", MISSING_NAME})


class Missing(Enum):
    """What becomes of a missing value: an error, or one more value at the end of the one-hot."""

    REFUSE = "refuse"
    OWN_VALUE = "own value"


class CategoricalAttribute(WireStruct, tag="c"):
    """An attribute with listed values; a record's index is the value's position in `values`."""

    name: str
    values: tuple[str, ...]
    missing: Missing = Missing.REFUSE

    def __post_init__(self) -> None:
        """Refuse a value list that is empty or ambiguous."""
        _check_names([self.name], "attribute")
        _check_names(self.values, f"value of {self.name!r}")
        if self.size == 0:
            raise SchemaError(f"attribute {self.name!r} has no values")
        if MISSING_NAME in self.values:
            raise SchemaError(f"attribute {self.name!r}: {MISSING_NAME!r} is reserved for missing values")

    @property
    def size(self) -> int:
        """One-hot columns of this attribute, the missing value's included."""
        return len(self.values) + (self.missing is Missing.OWN_VALUE)

    @property
    def value_names(self) -> tuple[str, ...]:
        """A readable name for every one-hot column, in order."""
        return (*self.values, MISSING_NAME) if self.missing is Missing.OWN_VALUE else self.values


class NumericAttribute(WireStruct, tag="n"):
    """An attribute cut into bins: bin j holds e_{j−1} < x ≤ e_j, the outer bins are open.

    `edges` and the scaling range `low`, `high` are canonical decimal texts (`schemas.decimal_text`).
    The range is for learners that work on scaled numbers; bins do not depend on it.
    """

    name: str
    edges: tuple[str, ...]
    low: str
    high: str
    missing: Missing = Missing.REFUSE

    def __post_init__(self) -> None:
        """Refuse edges that are not strictly increasing or a range that is empty."""
        _check_names([self.name], "attribute")
        if not self.edges:
            raise SchemaError(f"attribute {self.name!r} has no bin edges")
        exact = [exact_decimal(edge) for edge in self.edges]
        if any(after <= before for before, after in pairwise(exact)):
            raise SchemaError(f"the edges of {self.name!r} are not strictly increasing")
        if exact_decimal(self.low) >= exact_decimal(self.high):
            raise SchemaError(f"the scaling range of {self.name!r} is empty: low must be below high")

    @property
    def size(self) -> int:
        """One-hot columns of this attribute, the missing value's bin included."""
        return len(self.edges) + 1 + (self.missing is Missing.OWN_VALUE)

    @property
    def value_names(self) -> tuple[str, ...]:
        """A readable name for every one-hot column, in order."""
        inner = (f"({a}, {b}]" for a, b in pairwise(self.edges))
        bins = (f"≤ {self.edges[0]}", *inner, f"> {self.edges[-1]}")
        return (*bins, MISSING_NAME) if self.missing is Missing.OWN_VALUE else bins


Attribute = CategoricalAttribute | NumericAttribute


class ClassLabel(WireStruct):
    """The class column: its name, and the labels whose positions are the class indices."""

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse fewer than two labels, or more than the limit."""
        _check_names([self.name], "label column")
        _check_names(self.labels, f"label of {self.name!r}")
        if not 2 <= len(self.labels) <= MAX_CLASSES:
            raise SchemaError(f"label column {self.name!r} needs 2 to {MAX_CLASSES} labels")


class DataSchema(WireStruct):
    """What every record of a tenant looks like; attributes are in column order."""

    version: int
    attributes: tuple[Attribute, ...]
    label: ClassLabel

    def __post_init__(self) -> None:
        """Refuse another version, repeated column names, or more one-hot columns than the limit."""
        if self.version != SCHEMA_VERSION:
            raise SchemaError(f"data schema version must be {SCHEMA_VERSION}")
        if not self.attributes:
            raise SchemaError("a data schema needs at least one attribute")
        _check_names(self.column_names, "column")
        if self.onehot_columns > MAX_ONEHOT_COLUMNS:
            raise SchemaError(
                f"the schema has {self.onehot_columns} values and bins, more than {MAX_ONEHOT_COLUMNS}; "
                "use fewer bins, or leave out columns with many values"
            )

    @property
    def attribute_sizes(self) -> tuple[int, ...]:
        """V_a: values or bins of each attribute, in column order."""
        return tuple(attribute.size for attribute in self.attributes)

    @property
    def onehot_columns(self) -> int:
        """F: the sum of `attribute_sizes`, the class not included."""
        return sum(self.attribute_sizes)

    @property
    def attribute_offsets(self) -> tuple[int, ...]:
        """First one-hot column of each attribute."""
        offsets = [0]
        for size in self.attribute_sizes:
            offsets.append(offsets[-1] + size)
        return tuple(offsets[:-1])

    @property
    def class_count(self) -> int:
        """C: the number of labels."""
        return len(self.label.labels)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes, in column order."""
        return tuple(attribute.name for attribute in self.attributes)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns of a training file: the attributes, then the label."""
        return (*self.attribute_names, self.label.name)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the schema's name in headers, proofs and plans."""
        return hashlib.sha256(encode_schema(self)).digest()


# Every chunk and query names its schema's digest, and a process sees few schemas.
@lru_cache(maxsize=16)
def encode_schema(schema: DataSchema) -> bytes:
    """Encode canonically: equal schemas give equal bytes, and these are what is signed."""
    return encode(schema)


def decode_schema(data: bytes) -> DataSchema:
    """Decode and check a schema.

    Raises:
        SchemaError: The bytes are not what `encode_schema` writes for any valid schema.
    """
    return decode(DataSchema, data)


def _check_names(names: Sequence[str], what: str) -> None:
    """Refuse names that are empty, too long, padded, unprintable or repeated."""
    seen: set[str] = set()
    for name in names:
        if not name or name != name.strip():
            raise SchemaError(f"{what}: a name is empty or has spaces around it")
        if len(name) > MAX_NAME_CHARACTERS:
            raise SchemaError(f"{what}: a name is longer than {MAX_NAME_CHARACTERS} characters")
        # Cc: control characters, Cs: lone surrogates, which UTF-8 cannot hold.
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
            raise SchemaError(f"{what}: a name holds a control character")
        if name in seen:
            raise SchemaError(f"{what}: {name!r} occurs twice")
        seen.add(name)
