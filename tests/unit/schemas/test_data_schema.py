from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import data_schemas

from crypto.errors import SchemaError
from schemas.data_schema import (
    MISSING_NAME,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
    decode_schema,
    encode_schema,
)

COLOUR = CategoricalAttribute("colour", ("red", "green"), Missing.OWN_VALUE)
AGE = NumericAttribute("age", ("17.5", "30", "64"), "-2", "99")
LABEL = ClassLabel("class", ("no", "yes"))
SCHEMA = DataSchema(1, (COLOUR, AGE), LABEL)


def test_sizes_count_values_bins_and_missing() -> None:
    assert SCHEMA.attribute_sizes == (3, 4)
    assert SCHEMA.onehot_columns == 7
    assert SCHEMA.attribute_offsets == (0, 3)
    assert SCHEMA.class_count == 2
    assert SCHEMA.column_names == ("colour", "age", "class")
    assert COLOUR.value_names == ("red", "green", MISSING_NAME)
    assert AGE.value_names == ("≤ 17.5", "(17.5, 30]", "(30, 64]", "> 64")


@settings(max_examples=60)
@given(data_schemas())
def test_bytes_and_back(schema: DataSchema) -> None:
    data = encode_schema(schema)
    assert decode_schema(data) == schema
    assert encode_schema(decode_schema(data)) == data
    assert len(schema.digest) == 32
    assert all(len(a.value_names) == a.size for a in schema.attributes)


def test_digest_is_pinned() -> None:
    # Changes only with the wire form, and then needs another schema version.
    assert SCHEMA.digest.hex() == "55d133ddc4aff2e21a8ecd52b91f090b3cae9eafd2f5a5992dbea4150c2694ab"


def test_digest_tells_schemas_apart() -> None:
    other = DataSchema(1, (COLOUR, msgspec.structs.replace(AGE, missing=Missing.OWN_VALUE)), LABEL)
    assert other.digest != SCHEMA.digest


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_schema_or_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        decode_schema(data)


@settings(max_examples=60)
@given(st.integers(0, 200), st.integers(1, 255))
def test_changed_bytes_are_another_schema_or_refused(position: int, flip: int) -> None:
    data = bytearray(encode_schema(SCHEMA))
    data[position % len(data)] ^= flip
    try:
        decoded = decode_schema(bytes(data))
    except SchemaError:
        return
    assert decoded != SCHEMA
    assert encode_schema(decoded) == bytes(data)


@pytest.mark.parametrize(
    "build",
    [
        lambda: CategoricalAttribute("a", ()),
        lambda: CategoricalAttribute("a", ("x", "x")),
        lambda: CategoricalAttribute("a", (MISSING_NAME,)),
        lambda: CategoricalAttribute("a", (" x",)),
        lambda: CategoricalAttribute("", ("x",)),
        lambda: CategoricalAttribute("n" * 129, ("x",)),
        lambda: CategoricalAttribute("a", ("x\ny",)),
        lambda: CategoricalAttribute("a", ("\ud800",)),
        lambda: NumericAttribute("a", (), "0", "1"),
        lambda: NumericAttribute("a", ("1", "1"), "0", "1"),
        lambda: NumericAttribute("a", ("2", "1"), "0", "1"),
        lambda: NumericAttribute("a", ("9", "10", "1e+20"), "1", "1"),
        lambda: NumericAttribute("a", ("1.0",), "0", "1"),
        lambda: NumericAttribute("a", ("inf",), "0", "1"),
        lambda: ClassLabel("c", ("only",)),
        lambda: ClassLabel("c", tuple(map(str, range(257)))),
        lambda: DataSchema(2, (AGE,), LABEL),
        lambda: DataSchema(1, (), LABEL),
        lambda: DataSchema(1, (AGE, AGE), LABEL),
        lambda: DataSchema(1, (AGE,), ClassLabel("age", ("a", "b"))),
        lambda: DataSchema(1, (CategoricalAttribute("a", tuple(map(str, range(4097)))),), LABEL),
    ],
)
def test_invalid_schemas_cannot_be_built(build: Callable[[], object]) -> None:
    with pytest.raises(SchemaError):
        build()


def test_limits_themselves_are_allowed() -> None:
    wide = CategoricalAttribute("n" * 128, tuple(map(str, range(4096))))
    schema = DataSchema(1, (wide,), ClassLabel("c", tuple(map(str, range(256)))))
    assert decode_schema(encode_schema(schema)) == schema
