"""Propose a data schema from one owner's file, and say what publishing it would tell.

Values, labels, quantiles and ranges in a schema come from the file and are seen by everybody, so
the proposal is shown before anything is written. The rules are docs/protocols.md §4.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from itertools import accumulate
from pathlib import Path

from crypto.errors import SchemaError
from pipeline.csv_rows import CsvTable, InputFileError, open_csv
from roles.encoding import closest, listed
from schemas.data_schema import (
    MAX_CLASSES,
    MISSING_TOKENS,
    SCHEMA_VERSION,
    Attribute,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.decimal_text import canonical_decimal, is_non_finite, parse_decimal
from schemas.reasons import ReasonCode

DEFAULT_BINS = 10
CATEGORICAL_INTEGERS = 16  # an integer column with at most so many distinct values is a category
SIGNIFICANT_DIGITS = 3
SCALING_DEVIATIONS = 4
_MANY_VALUES = 100
_PUBLISHED = Context(prec=SIGNIFICANT_DIGITS)


@dataclass(frozen=True, slots=True)
class InferredSchema:
    """A proposal.

    Attributes:
        schema: The schema.
        records: How many records it was taken from.
        listing: What publishing it would tell, for the person who decides.
        warnings: What that person should look at twice.
    """

    schema: DataSchema
    records: int
    listing: str
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Column:
    """The distinct cells of one column: how often each occurs, and on which line first."""

    name: str
    counts: dict[str, int]
    first_lines: dict[str, int]
    first_missing: int | None = None

    def add(self, cell: str, line: int) -> None:
        if cell in MISSING_TOKENS:
            self.first_missing = self.first_missing or line
            return
        if cell not in self.counts:
            self.counts[cell] = 0
            self.first_lines[cell] = line
        self.counts[cell] += 1


def infer_schema(path: Path, label: str, bins: int = DEFAULT_BINS) -> InferredSchema:
    """Propose a schema for the columns of a file.

    Non-numeric columns, and integer columns with at most 16 distinct values, become categorical.
    Other columns are cut at the j/bins quantiles (the smallest value that j/bins of the records do
    not exceed), rounded to 3 significant digits, equal ones merged. Columns with missing values
    give them a value of their own. The same file always gives the same schema.

    Args:
        path: A CSV file.
        label: Name of the class column.
        bins: At least 2; fewer remain where quantiles are equal.

    Raises:
        InputFileError: The file cannot be used, or no schema within the limits holds its columns; an
            infinite number and a missing label have a line.
        SchemaError: Fewer than two bins are asked for.
    """
    if bins < 2:
        raise SchemaError("a numeric column needs at least 2 bins")
    with open_csv(path) as table:
        columns, records = _read_columns(table, label)
    label_column = columns.pop(label)
    warnings: list[str] = []
    try:
        schema = DataSchema(
            version=SCHEMA_VERSION,
            attributes=tuple(_attribute(column, bins, str(path), warnings) for column in columns.values()),
            label=_label(label_column, str(path)),
        )
    except SchemaError as error:
        raise InputFileError(
            ReasonCode.MALFORMED,
            f"no schema can describe this file: {error}",
            "change the column, or leave it out",
            file=str(path),
        ) from error
    return InferredSchema(schema, records, _listing(schema, records), tuple(warnings))


def _read_columns(table: CsvTable, label: str) -> tuple[dict[str, _Column], int]:
    names, line = table.header.cells, table.header.line
    for name in names:
        if not name or names.count(name) > 1:
            what = f"the header names {name!r} more than once" if name else "a column has no name"
            raise InputFileError(
                ReasonCode.WRONG_COLUMNS,
                what,
                "give every column a name of its own",
                file=table.file,
                line=line,
                column=name,
            )
    if label not in names:
        likely = closest(label, names)
        raise InputFileError(
            ReasonCode.WRONG_COLUMNS,
            f"there is no label column {label!r}",
            f"did you mean {likely!r}?" if likely else f"choose one of {listed(names)}",
            file=table.file,
            line=line,
            column=label,
        )
    columns = {name: _Column(name, {}, {}) for name in names}
    records = 0
    for row in table.rows:
        if isinstance(row, InputFileError):
            raise row
        for column, cell in zip(columns.values(), row.cells, strict=True):
            column.add(cell, row.line)
        records += 1
    if records == 0:
        raise InputFileError(
            ReasonCode.EMPTY_FILE,
            "the file has a header and no rows",
            "add at least one row",
            file=table.file,
            line=line,
        )
    return columns, records


def _label(column: _Column, file: str) -> ClassLabel:
    if column.first_missing is not None:
        raise InputFileError(
            ReasonCode.MISSING_VALUE,
            "a label is missing",
            "leave the record out or give it a label",
            file=file,
            line=column.first_missing,
            column=column.name,
        )
    if not 2 <= len(column.counts) <= MAX_CLASSES:
        raise InputFileError(
            ReasonCode.WRONG_COLUMNS,
            f"column {column.name!r} has {len(column.counts)} distinct values",
            f"a label has 2 to {MAX_CLASSES}; name another column as the label",
            file=file,
            column=column.name,
        )
    return ClassLabel(column.name, _sorted_values(column.counts))


def _attribute(column: _Column, bins: int, file: str, warnings: list[str]) -> Attribute:
    missing = Missing.REFUSE if column.first_missing is None else Missing.OWN_VALUE
    if not column.counts:
        raise InputFileError(
            ReasonCode.MISSING_VALUE,
            f"column {column.name!r} has no values",
            "remove the column",
            file=file,
            line=column.first_missing,
            column=column.name,
        )
    numbers = {cell: value for cell in column.counts if (value := parse_decimal(cell)) is not None}
    others = [cell for cell in column.counts if cell not in numbers]
    infinite = [cell for cell in others if is_non_finite(cell)]
    if infinite and len(infinite) == len(others):
        raise InputFileError(
            ReasonCode.NOT_A_NUMBER,
            f"column {column.name!r} has an infinite or huge number",
            "write a finite number, or leave the cell empty if it is not known",
            file=file,
            line=min(column.first_lines[cell] for cell in infinite),
            column=column.name,
        )
    if others:
        if len(numbers) > max(len(others), CATEGORICAL_INTEGERS):
            line = min(column.first_lines[cell] for cell in others)
            warnings.append(
                f"{column.name}: mostly numbers, but categorical because of line {line}, which has none"
            )
        return _categorical(column, missing, warnings)
    if len(numbers) <= CATEGORICAL_INTEGERS and all(_is_integer(cell) for cell in numbers):
        return _categorical(column, missing, warnings)
    return _numeric(
        column.name, [(numbers[cell], column.counts[cell]) for cell in numbers], missing, bins, warnings
    )


def _categorical(column: _Column, missing: Missing, warnings: list[str]) -> CategoricalAttribute:
    if len(column.counts) > _MANY_VALUES:
        warnings.append(
            f"{column.name}: {len(column.counts)} distinct values would be published; "
            "does it name or identify people? Then leave it out"
        )
    return CategoricalAttribute(column.name, _sorted_values(column.counts), missing)


def _numeric(
    name: str, weighted: list[tuple[Decimal, int]], missing: Missing, bins: int, warnings: list[str]
) -> NumericAttribute:
    weighted = sorted(weighted)
    quantiles = set(_quantiles(weighted, bins))
    edges = sorted({_PUBLISHED.plus(value) for value in quantiles})
    if len(edges) < min(len(quantiles), bins - 1) / 2:
        warnings.append(
            f"{name}: only {len(edges)} of {len(quantiles)} edges differ after rounding to "
            f"{SIGNIFICANT_DIGITS} digits; subtract a constant from the column, or edit its edges"
        )
    low, high = _scaling_range(weighted)
    return NumericAttribute(
        name, tuple(map(canonical_decimal, edges)), canonical_decimal(low), canonical_decimal(high), missing
    )


def _quantiles(weighted: list[tuple[Decimal, int]], bins: int) -> Iterator[Decimal]:
    """Yield the value at rank ⌈j·n/bins⌉ for j = 1..bins−1; no value between two is made up."""
    cumulative = list(accumulate(count for _, count in weighted))
    position = 0
    for j in range(1, bins):
        rank = -(-j * cumulative[-1] // bins)
        while cumulative[position] < rank:
            position += 1
        yield weighted[position][0]


def _scaling_range(weighted: list[tuple[Decimal, int]]) -> tuple[Decimal, Decimal]:
    """Return mean ± 4 standard deviations, to three digits of the deviation, rounded outwards."""
    with localcontext(Context(prec=60, Emin=-2000, Emax=2000)):
        total = sum(count for _, count in weighted)
        mean = sum((value * count for value, count in weighted), Decimal(0)) / total
        variance = sum((count * (value - mean) ** 2 for value, count in weighted), Decimal(0)) / total
        # A constant column has no deviation to go by; any range around it will do.
        reach = SCALING_DEVIATIONS * variance.sqrt() or abs(mean) or Decimal(1)
        step = Decimal(1).scaleb(reach.adjusted() - SIGNIFICANT_DIGITS + 1)
        low = ((mean - reach) / step).to_integral_value(ROUND_FLOOR) * step
        high = ((mean + reach) / step).to_integral_value(ROUND_CEILING) * step
        return low, high


def _is_integer(cell: str) -> bool:
    return cell.removeprefix("-").removeprefix("+").isdigit()


def _sorted_values(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Sort integers as numbers and anything else by code point: the same in every locale."""
    if all(_is_integer(cell) and cell.isascii() for cell in counts):
        return tuple(sorted(counts, key=lambda cell: (Decimal(cell), cell)))
    return tuple(sorted(counts))


def _listing(schema: DataSchema, records: int) -> str:
    """Say what everybody would read."""
    lines = [
        f"From {records} records, these facts would be published to owners, units and clients:",
        f"  {schema.label.name} (label): the {schema.class_count} values {listed(schema.label.labels)}",
    ]
    for attribute in schema.attributes:
        if isinstance(attribute, NumericAttribute):
            facts = (
                f"quantiles {', '.join(attribute.edges)}; "
                f"mean ± {SCALING_DEVIATIONS} deviations {attribute.low} to {attribute.high}"
            )
        else:
            facts = f"the {len(attribute.values)} values {listed(attribute.values)}"
        some = "; that some are missing" if attribute.missing is Missing.OWN_VALUE else ""
        lines.append(f"  {attribute.name}: {facts}{some}")
    lines.append(f"A record becomes {schema.onehot_columns} bits and one of {schema.class_count} classes.")
    return "\n".join(lines)
