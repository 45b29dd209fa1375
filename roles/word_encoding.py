"""Numbers as narrow words: scaled to the schema's public range, clipped, in 10 fractional bits.

For learners that work on numbers instead of bins (docs/protocols.md §4, §6). Cells are read as
exact decimals and rounded once, so that every platform gives the same words; no float is built.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from crypto.errors import LocalProtocolError
from roles.building_blocks.narrow_words import OFFSET
from roles.encoding import EncodedRecords, MissingValueError, NotANumberError
from schemas.data_schema import MISSING_TOKENS, DataSchema, Missing, NumericAttribute
from schemas.decimal_text import exact_decimal, parse_decimal

WORD_LIMIT = OFFSET
"""Largest |x|: what the ends of the range become."""


class NumberScaler:
    """Turns the cells of one numeric column into words; build it once per column and file.

    A missing value counts as the middle of the range where the schema gives missing values a place
    of their own: its bin says so in `bits`, words have no room for it.
    """

    def __init__(self, attribute: NumericAttribute) -> None:
        low, high = Fraction(exact_decimal(attribute.low)), Fraction(exact_decimal(attribute.high))
        self._name = attribute.name
        self._sum, self._width = low + high, high - low
        self._takes_missing = attribute.missing is Missing.OWN_VALUE

    def word(self, cell: str) -> int:
        """Return the cell's word, in [−1023, 1023]; what lies outside the range is clipped.

        Raises:
            NotANumberError: The cell is no finite decimal number.
            MissingValueError: It is missing, and the column refuses that.
        """
        text = cell.strip()
        if text in MISSING_TOKENS:
            if not self._takes_missing:
                raise MissingValueError(
                    f"column {self._name!r} has a missing value", "fill it in, or leave it out", self._name
                )
            return 0
        value = parse_decimal(text)
        if value is None:
            raise NotANumberError(
                f"column {self._name!r} has something that is not a number",
                "write plain numbers such as 12, -0.5 or 1.2e-3, without thousands separators",
                self._name,
            )
        scaled = round((2 * Fraction(value) - self._sum) * WORD_LIMIT / self._width)
        return max(-WORD_LIMIT, min(WORD_LIMIT, scaled))


def numeric_columns(schema: DataSchema) -> tuple[int, ...]:
    """Return the positions of the numeric attributes, ascending: the columns of words."""
    return tuple(
        index for index, attribute in enumerate(schema.attributes) if isinstance(attribute, NumericAttribute)
    )


def number_scalers(schema: DataSchema) -> tuple[NumberScaler, ...]:
    """Return a scaler for every numeric attribute, in column order."""
    return tuple(
        NumberScaler(attribute) for attribute in schema.attributes if isinstance(attribute, NumericAttribute)
    )


def words_of(records: EncodedRecords) -> npt.NDArray[np.int32]:
    """Return the words of records, shape ``(n, numeric attributes)``, checked against their range.

    Raises:
        LocalProtocolError: They have none, or one outside the range.
    """
    words = records.words
    if words is None or len(words) != len(records) or (np.abs(words) > WORD_LIMIT).any():
        raise LocalProtocolError("these records have no words, or one outside its range")
    return words
