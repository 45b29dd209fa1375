"""Hypothesis strategies for data schemas and records that fit them."""

from decimal import Decimal

import numpy as np
from hypothesis import strategies as st

from roles.encoding import EncodedRecords
from schemas.data_schema import (
    MISSING_TOKENS,
    Attribute,
    CategoricalAttribute,
    ClassLabel,
    DataSchema,
    Missing,
    NumericAttribute,
)
from schemas.decimal_text import canonical_decimal

names = (
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda name: name not in MISSING_TOKENS)
)
decimals = st.decimals(min_value=-(10**6), max_value=10**6, places=3, allow_nan=False)


@st.composite
def attributes(draw: st.DrawFn, name: str) -> Attribute:
    missing = draw(st.sampled_from(Missing))
    if draw(st.booleans()):
        return CategoricalAttribute(
            name, tuple(draw(st.lists(names, min_size=1, max_size=6, unique=True))), missing
        )
    edges = sorted(draw(st.lists(decimals, min_size=1, max_size=6, unique=True)))
    low, high = sorted(draw(st.lists(decimals, min_size=2, max_size=2, unique=True)))
    return NumericAttribute(
        name, tuple(map(canonical_decimal, edges)), canonical_decimal(low), canonical_decimal(high), missing
    )


@st.composite
def data_schemas(draw: st.DrawFn) -> DataSchema:
    columns = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    labels = tuple(draw(st.lists(names, min_size=2, max_size=4, unique=True)))
    return DataSchema(
        1, tuple(draw(attributes(name)) for name in columns[1:]), ClassLabel(columns[0], labels)
    )


@st.composite
def schemas_with_records(draw: st.DrawFn) -> tuple[DataSchema, EncodedRecords]:
    schema = draw(data_schemas())
    record = st.tuples(*(st.integers(0, size - 1) for size in schema.attribute_sizes))
    rows = draw(st.lists(record, min_size=1, max_size=20))
    label = st.integers(0, schema.class_count - 1)
    labels = draw(st.lists(label, min_size=len(rows), max_size=len(rows)))
    return schema, EncodedRecords(np.array(rows, dtype=np.int32), np.array(labels, dtype=np.int32))


def cell_for(attribute: Attribute, index: int) -> str:
    """Write a cell that belongs into the bin or value `index`."""
    if isinstance(attribute, CategoricalAttribute):
        return attribute.value_names[index]
    if index < len(attribute.edges):
        return attribute.edges[index]
    return "?" if index > len(attribute.edges) else canonical_decimal(Decimal(attribute.edges[-1]) + 1)
