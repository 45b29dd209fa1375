from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import attributes, cell_for, decimals, schemas_with_records

from crypto.errors import LocalProtocolError
from roles.encoding import (
    CellError,
    EncodedRecords,
    MissingValueError,
    NotANumberError,
    UnknownCategoryError,
    cell_encoder,
    collect_records,
    count_table,
    encode_bits,
    encode_label_bits,
    encode_labels,
    label_encoder,
)
from schemas.data_schema import (
    Attribute,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.decimal_text import canonical_decimal

COLOUR = CategoricalAttribute("colour", ("red", "green", "NA"), Missing.REFUSE)
AGE = NumericAttribute("age", ("17.5", "30"), "-2", "99", Missing.OWN_VALUE)
SCHEMA = DataSchema(1, (COLOUR, AGE), ClassLabel("class", ("no", "yes")))
RECORDS = collect_records([(0, 0), (1, 3), (1, 2)], [1, 0, 1])


@pytest.mark.parametrize(
    ("cell", "index"),
    [("17.5", 0), ("17.50", 0), ("-1e3", 0), ("17.500000000000000000001", 1), (" 30 ", 1), ("30.01", 2)],
)
def test_bins_are_closed_from_above(cell: str, index: int) -> None:
    assert cell_encoder(AGE).index(cell) == index


@pytest.mark.parametrize("cell", ["", " ", "?", "NA", "NaN", "nan", "(missing)"])
def test_missing_values(cell: str) -> None:
    assert cell_encoder(AGE).index(cell) == 3
    with pytest.raises(MissingValueError):
        label_encoder(SCHEMA).index(cell)


def test_a_listed_value_wins_over_its_reading_as_missing() -> None:
    assert cell_encoder(COLOUR).index("NA") == 2


def test_unknown_category_suggests_and_lists() -> None:
    with pytest.raises(UnknownCategoryError) as caught:
        cell_encoder(COLOUR).index("gren")
    assert caught.value.code == "unknown_category"
    assert caught.value.column == "colour"
    assert caught.value.hint == "did you mean 'green'? allowed: 'red', 'green', 'NA'"


@pytest.mark.parametrize("cell", ["abc", "1,5", "inf", "1e400", "1_0", "٣"])
def test_not_a_number(cell: str) -> None:
    with pytest.raises(NotANumberError) as caught:
        cell_encoder(AGE).index(cell)
    assert caught.value.code == "not_a_number"


@pytest.mark.parametrize("attribute", [COLOUR, AGE])
def test_errors_do_not_quote_the_cell(attribute: Attribute) -> None:
    with pytest.raises(CellError) as caught:
        cell_encoder(attribute).index("canary-7731")
    assert "canary" not in str(caught.value) + caught.value.hint + repr(caught.value)


@given(attributes("a"), st.data())
def test_every_index_has_a_cell(attribute: Attribute, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, attribute.size - 1))
    assert cell_encoder(attribute).index(cell_for(attribute, index)) == index


@given(st.lists(decimals, min_size=1, max_size=6, unique=True), decimals)
def test_the_bin_holds_the_number(edges: list[Decimal], value: Decimal) -> None:
    ordered = sorted(edges)
    attribute = NumericAttribute("a", tuple(map(canonical_decimal, ordered)), "0", "1")
    index = cell_encoder(attribute).index(str(value))
    assert index == 0 or ordered[index - 1] < value
    assert index == len(ordered) or value <= ordered[index]


def test_known_bits_and_counts() -> None:
    assert encode_bits(SCHEMA, RECORDS).tolist() == [
        [1, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 0, 1, 0],
    ]
    # Of chosen attributes the same columns, in the schema's order.
    assert encode_bits(SCHEMA, RECORDS, (1,)).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert encode_bits(SCHEMA, RECORDS, (0, 1)).tolist() == encode_bits(SCHEMA, RECORDS).tolist()
    assert encode_bits(SCHEMA, RECORDS, ()).shape == (3, 0)
    assert encode_label_bits(SCHEMA, RECORDS).tolist() == [[0, 1], [1, 0], [0, 1]]
    counts = count_table(SCHEMA, RECORDS)
    assert counts.feature_counts.tolist() == [[0, 1], [1, 1], [0, 0], [0, 1], [0, 0], [0, 1], [1, 0]]
    assert counts.class_counts.tolist() == [1, 2]


@settings(max_examples=60)
@given(schemas_with_records())
def test_encodings_agree(case: tuple[DataSchema, EncodedRecords]) -> None:
    schema, records = case
    bits, counts = encode_bits(schema, records), count_table(schema, records)
    assert bits.shape == (len(records), schema.onehot_columns)
    assert bits.dtype == np.uint8
    for first, size in zip(schema.attribute_offsets, schema.attribute_sizes, strict=True):
        assert (bits[:, first : first + size].sum(axis=1) == 1).all()
        # Each attribute's counts sum to the class totals, and all of them to n.
        assert (counts.feature_counts[first : first + size].sum(axis=0) == counts.class_counts).all()
    assert counts.class_counts.sum() == len(records)
    assert counts.feature_counts.dtype == np.int64
    product = bits.astype(np.int64).T @ encode_label_bits(schema, records).astype(np.int64)
    assert (product == counts.feature_counts).all()


@pytest.mark.parametrize(
    "records",
    [
        collect_records([(3, 0)], [0]),
        collect_records([(0, -1)], [0]),
        collect_records([(0, 4)], [0]),
        collect_records([(0, 0, 0)], [0]),
        collect_records([(0, 0)], [2]),
        collect_records([(0, 0)], [0, 1]),
    ],
)
def test_indices_outside_the_schema_are_refused(records: EncodedRecords) -> None:
    for encode in (encode_bits, encode_labels, count_table):
        with pytest.raises(LocalProtocolError):
            encode(schema=SCHEMA, records=records)


def test_unlabelled_records_have_bits_and_no_counts() -> None:
    queries = collect_records([(0, 0)])
    assert encode_bits(SCHEMA, queries).sum() == 2
    with pytest.raises(LocalProtocolError):
        count_table(SCHEMA, queries)


def test_repr_shows_no_record() -> None:
    assert repr(RECORDS) == "EncodedRecords()"
    assert repr(count_table(SCHEMA, RECORDS)) == "Counts()"
