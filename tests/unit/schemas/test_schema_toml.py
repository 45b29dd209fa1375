import pytest
from hypothesis import given, settings
from schema_strategies import data_schemas

from crypto.errors import SchemaError
from schemas.data_schema import CategoricalAttribute, ClassLabel, DataSchema, Missing, NumericAttribute
from schemas.schema_toml import dump_schema, load_schema

SCHEMA = DataSchema(
    1,
    (
        CategoricalAttribute("colour", ("red", 'dark "green"'), Missing.OWN_VALUE),
        NumericAttribute("age", ("-0.5", "30", "1e+20"), "-2", "99.25"),
    ),
    ClassLabel("class", ("no", "yes")),
)
TEXT = dump_schema(SCHEMA)


@settings(max_examples=60)
@given(data_schemas())
def test_text_and_back(schema: DataSchema) -> None:
    assert load_schema(dump_schema(schema)) == schema


def test_long_lists_are_broken_into_lines() -> None:
    values = tuple(f"value {number}" for number in range(200))
    schema = DataSchema(1, (CategoricalAttribute("a", values),), ClassLabel("c", ("0", "1")))
    text = dump_schema(schema)
    assert max(map(len, text.splitlines())) <= 100
    assert load_schema(text) == schema


def test_numbers_are_read_exactly_and_spelled_canonically() -> None:
    edited = load_schema(TEXT.replace("[-0.5, 30, 1e+20]", "[-0.50, 30, 30.1000000000000000001]"))
    age = edited.attributes[1]
    assert isinstance(age, NumericAttribute)
    assert age.edges == ("-0.5", "30", "30.1000000000000000001")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("format =", "form =", "format"),
        ("data-schema/1", "data-schema/2", "format"),
        ('kind = "numeric"', 'kind = "number"', "age"),
        ('missing = "refuse"', 'missing = "drop"', "age"),
        ('missing = "refuse"', 'missing = "refuse"\nextra = 1', "extra"),
        ('missing = "refuse"', "", "missing"),
        ("[-0.5, 30, 1e+20]", '["-0.5"]', "edges"),
        ("[-0.5, 30, 1e+20]", "[true]", "edges"),
        ("[-0.5, 30, 1e+20]", "[nan]", "finite"),
        ("[-0.5, 30, 1e+20]", "[30, 3]", "increasing"),
        ("[-2, 99.25]", "[-2]", "range"),
        ('["no", "yes"]', '["no", 1]', "label"),
        ('["no", "yes"]', '"no"', "label"),
        ("[label]", "[[label]]", "label"),
        ("[label]", "[label", "TOML"),
    ],
)
def test_a_broken_file_names_the_place(old: str, new: str, named: str) -> None:
    assert old in TEXT
    with pytest.raises(SchemaError, match=named):
        load_schema(TEXT.replace(old, new))
