"""Numbers as words: exact, clipped, the same on every platform."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenants import small_schema

from crypto.errors import LocalProtocolError
from roles.classifiers.logistic_regression_shape import LogisticRecords
from roles.encoding import MissingValueError, NotANumberError
from roles.word_encoding import WORD_LIMIT, NumberScaler, collect_words, number_scalers, numeric_columns
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
    assert mixed.query_bits == schema.onehot_columns
    assert mixed.label_columns == (10, 11, 12)
    assert LogisticRecords.of_schema(schema, scaled=False).features == schema.onehot_columns


def test_words_are_checked() -> None:
    assert collect_words([[1, -1023]], 2).shape == (1, 2)
    with pytest.raises(LocalProtocolError):
        collect_words([[1024]], 1)
