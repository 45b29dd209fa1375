from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import SchemaError
from schemas.decimal_text import canonical_decimal, exact_decimal, is_non_finite, parse_decimal


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-0.5", "-0.5"), (".5", "0.5"), ("5.", 5), ("+1E-3", "0.001"), ("0e999", 0)],
)
def test_reads_plain_numbers(text: str, value: int | str) -> None:
    assert parse_decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "1_000", "1,5", "٣", "NaN", "inf", "0x10", "1e", "--1", " 1", "1e301", "1" * 101, "e5"]
)
def test_refuses_everything_else(text: str) -> None:
    assert parse_decimal(text) is None


@pytest.mark.parametrize("text", ["inf", "-Infinity", "+INF", "1e301", "-1e-999", "9" * 101])
def test_names_infinities(text: str) -> None:
    assert is_non_finite(text)


@pytest.mark.parametrize("text", ["1", "abc", "information", "nan", ""])
def test_other_text_is_no_infinity(text: str) -> None:
    assert not is_non_finite(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.50", "1.5"),
        ("-0", "0"),
        ("1200", "1200"),
        ("1.2E+3", "1200"),
        ("1E+20", "1e+20"),
        ("1E-8", "1e-8"),
    ],
)
def test_has_one_spelling(value: str, text: str) -> None:
    assert canonical_decimal(Decimal(value)) == text
    assert exact_decimal(text) == Decimal(value)


@pytest.mark.parametrize("text", ["1.50", "+1", "01", "1e3", "-0", "x", "NaN"])
def test_refuses_other_spellings(text: str) -> None:
    with pytest.raises(SchemaError):
        exact_decimal(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1E+301"])
def test_refuses_to_spell_what_is_not_finite(value: str) -> None:
    with pytest.raises(SchemaError):
        canonical_decimal(Decimal(value))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=12))
def test_spelling_keeps_the_value(value: Decimal) -> None:
    text = canonical_decimal(value)
    assert exact_decimal(text) == value
    assert canonical_decimal(Decimal(f"{value:f}000")) == text
