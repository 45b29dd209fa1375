"""The data schema as a TOML file that people read, edit and commit.

Numbers stand unquoted and are read as exact decimals, never as floats.
"""

import json
import tomllib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from crypto.errors import SchemaError
from schemas.data_schema import (
    SCHEMA_VERSION,
    Attribute,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.decimal_text import canonical_decimal

FORMAT = f"privml.data-schema/{SCHEMA_VERSION}"
_LINE_WIDTH = 100
_PREAMBLE = """\
# What a record looks like. Owners, units and clients share this file, so all of it is public.
# Attributes keep this order; a data file may have its columns in any order.
#   categorical: a cell must be one of `values`.
#   numeric:     `edges` cut the line into bins, edge j closing bin j from above: edges = [10, 20]
#                means x <= 10, 10 < x <= 20, x > 20. `range` scales x for learners on numbers.
#   missing:     "refuse" a blank, ?, NA or NaN, or make it an "own value", one more at the end.
"""


def dump_schema(schema: DataSchema) -> str:
    """Write a schema as commented TOML; `load_schema` reads back an equal one."""
    blocks = [
        f"{_PREAMBLE}\nformat = {_text(FORMAT)}",
        f"[label]\nname = {_text(schema.label.name)}\nvalues = {_array(map(_text, schema.label.labels))}",
    ]
    for attribute in schema.attributes:
        lines = ["[[attributes]]", f"name = {_text(attribute.name)}"]
        if isinstance(attribute, NumericAttribute):
            lines += [
                'kind = "numeric"',
                f"edges = {_array(attribute.edges)}",
                f"range = [{attribute.low}, {attribute.high}]",
            ]
        else:
            lines += ['kind = "categorical"', f"values = {_array(map(_text, attribute.values))}"]
        lines.append(f"missing = {_text(attribute.missing.value)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def load_schema(text: str) -> DataSchema:
    """Read a schema from TOML.

    Raises:
        SchemaError: The text is not TOML, has unknown or missing keys, or describes no valid schema.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SchemaError(f"the schema is not valid TOML: {error}") from error
    except (ValueError, ArithmeticError, RecursionError):
        # What the parser leaves to the types that it builds, and to the stack.
        raise SchemaError("the schema holds a number that is too long, or arrays nested too deep") from None
    _require_keys(document, {"format", "label", "attributes"}, "the schema")
    if document["format"] != FORMAT:
        raise SchemaError(f"the schema's format must be {FORMAT!r}")
    label = document["label"]
    _require_keys(label, {"name", "values"}, "[label]")
    attributes = document["attributes"]
    if not isinstance(attributes, list):
        raise SchemaError("attributes must be written as [[attributes]] tables")
    return DataSchema(
        version=SCHEMA_VERSION,
        attributes=tuple(_attribute(table, number) for number, table in enumerate(attributes, start=1)),
        label=ClassLabel(
            name=_string(label["name"], "[label] name"), labels=_strings(label["values"], "[label] values")
        ),
    )


def _attribute(table: object, number: int) -> Attribute:
    """Read one [[attributes]] table."""
    where = f"attribute {number}"
    if isinstance(table, dict) and isinstance(table.get("name"), str):
        where = f"attribute {table['name']!r}"
    kind = table.get("kind") if isinstance(table, dict) else None
    if kind not in ("categorical", "numeric"):
        raise SchemaError(f'{where}: kind must be "categorical" or "numeric"')
    own_keys = {"values"} if kind == "categorical" else {"edges", "range"}
    fields = _require_keys(table, {"name", "kind", "missing", *own_keys}, where)
    name = _string(fields["name"], f"{where}, name")
    try:
        missing = Missing(fields["missing"])
    except ValueError as error:
        raise SchemaError(f'{where}: missing must be "refuse" or "own value"') from error
    if kind == "categorical":
        return CategoricalAttribute(name, _strings(fields["values"], f"{where}, values"), missing)
    scaling = _numbers(fields["range"], f"{where}, range")
    if len(scaling) != 2:
        raise SchemaError(f"{where}: range must be [low, high]")
    return NumericAttribute(name, _numbers(fields["edges"], f"{where}, edges"), *scaling, missing)


def _require_keys(table: object, keys: set[str], where: str) -> dict[str, Any]:
    """Return the table if it has exactly these keys."""
    if not isinstance(table, dict):
        raise SchemaError(f"{where} must be a table")
    if absent := keys - table.keys():
        raise SchemaError(f"{where}: {', '.join(sorted(absent))} is not given")
    if unknown := table.keys() - keys:
        raise SchemaError(f"{where}: unknown key {', '.join(sorted(unknown))}")
    return table


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{where} must be text in quotes")
    return value


def _strings(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SchemaError(f"{where} must be a list")
    return tuple(_string(item, where) for item in value)


def _numbers(value: object, where: str) -> tuple[str, ...]:
    # bool is an int in Python, and `true` is no edge.
    if not isinstance(value, list) or not all(type(item) in (int, Decimal) for item in value):
        raise SchemaError(f"{where} must be a list of numbers without quotes")
    return tuple(canonical_decimal(Decimal(item)) for item in value)


def _text(value: str) -> str:
    """Write a TOML basic string: JSON's escapes are a subset of TOML's, and names hold no DEL."""
    return json.dumps(value, ensure_ascii=False)


def _array(items: Iterable[str]) -> str:
    """Write items on one line, or filled over indented lines where that is too long."""
    written = list(items)
    one_line = f"[{', '.join(written)}]"
    if len(one_line) <= _LINE_WIDTH:
        return one_line
    lines = ["   "]
    for item in written:
        if len(lines[-1]) + len(item) + 2 > _LINE_WIDTH and lines[-1].strip():
            lines.append("   ")
        lines[-1] += f" {item},"
    return "\n".join(["[", *lines, "]"])
