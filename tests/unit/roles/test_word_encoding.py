"""Numbers as words: exact, clipped, the same on every platform."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_trips import random_records
from tenants import small_schema, small_tenant

from crypto.errors import LocalProtocolError
from roles.classifiers.logistic_regression_shape import LogisticRecords
from roles.encoding import MissingValueError, NotANumberError, collect_records
from roles.word_encoding import WORD_LIMIT, NumberScaler, number_scalers, numeric_columns, words_of
from schemas.data_schema import Missing, NumericAttribute


def attribute(low: str, high: str, missing: Missing = Missing.REFUSE) -> NumericAttribute:
    return NumericAttribute("weight", ("1",), low, high, missing)


@pytest.mark.parametrize(
    ("cell", "word"),
    [("0", -1023), ("20", 1023), ("10", 0), (" 15 ", 512), ("5", -512), ("-1e9", -1023), ("20.0001", 1023)],
)
def test_a_range_becomes_minus_one_to_one(cell: str, word: int) -> None:
    assert NumberScaler(attribute("0", "20")).word(cell) == word


@given(st.decimals("-1e6", "1e6", places=3))
def test_words_are_monotone_and_near(value: Decimal) -> None:
    scaler = NumberScaler(attribute("-1000", "3000"))
    word = scaler.word(str(value))
    assert word <= scaler.word(str(value + 1))
    clipped = max(Decimal(-1000), min(Decimal(3000), value))
    assert abs(Decimal(word) - (clipped - 1000) / 2000 * WORD_LIMIT) <= Decimal("0.5")


def test_missing_values_are_the_middle_or_refused() -> None:
    assert NumberScaler(attribute("0", "20", Missing.OWN_VALUE)).word("?") == 0
    with pytest.raises(MissingValueError):
        NumberScaler(attribute("0", "20")).word("")
    for cell in ("red", "inf", "nan()", "1,000"):
        with pytest.raises(NotANumberError):
            NumberScaler(attribute("0", "20")).word(cell)


def test_columns_follow_the_schema() -> None:
    schema = small_schema()
    assert numeric_columns(schema) == (2,)
    assert len(number_scalers(schema)) == 1
    mixed = LogisticRecords.of_schema(schema, scaled=True)
    assert (mixed.words, mixed.used_attributes, mixed.features) == (1, (0, 1), 7)
    # The bins of what is a number are no bits of its records at all.
    assert mixed.query_bits == 6
    assert mixed.label_columns == (6, 7, 8)
    binned = LogisticRecords.of_schema(schema, scaled=False)
    assert (binned.words, binned.features, binned.query_bits) == (0, 10, schema.onehot_columns)


def test_bits_that_are_published_for_others_are_left_alone() -> None:
    schema = small_schema()
    beside = LogisticRecords.of_schema(schema, scaled=True, bit_attributes=(0, 1, 2))
    assert (beside.words, beside.used_attributes, beside.features) == (1, (0, 1), 7)
    assert beside.query_bits == schema.onehot_columns
    assert beside.bit_columns == tuple(range(6))
    assert beside.label_columns == (10, 11, 12)


def test_words_are_checked() -> None:
    records = random_records(small_tenant(), 2, "words")
    good = np.array([[1023], [-1023]], dtype=np.int32)
    assert words_of(replace(records, words=good)).tolist() == [[1023], [-1023]]
    for words in (None, good[:1], good + np.int32(1)):
        with pytest.raises(LocalProtocolError, match="no words"):
            words_of(replace(records, words=words))


def test_collected_words_keep_one_row_per_record() -> None:
    records = collect_records([(0, 1), (2, 3)], [0, 1], [(1, -1023), (0, 5)])
    assert words_of(records).tolist() == [[1, -1023], [0, 5]]
    # Also where a schema has no numbers.
    assert words_of(collect_records([(0,), (1,)], [0, 1], [(), ()])).shape == (2, 0)
