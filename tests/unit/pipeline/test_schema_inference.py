from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from datasets import data_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schema_strategies import decimals

from crypto.errors import SchemaError
from pipeline.csv_input import InputFileError, check_training_file
from pipeline.demo_data import csv_text
from pipeline.schema_inference import infer_schema
from schemas.data_schema import CategoricalAttribute, Missing, NumericAttribute
from schemas.schema_toml import dump_schema, load_schema

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str) -> Path:
        path = tmp_path / "data.csv"
        path.write_text(content, encoding="utf-8")
        return path

    return write_file


def column(cells: list[str], header: str = "a") -> str:
    """Write a file with one column beside alternating labels."""
    return csv_text((header, "class"), [(cell, "no" if i % 2 else "yes") for i, cell in enumerate(cells)])


def numeric(path: Path, bins: int = 10) -> NumericAttribute:
    attribute = infer_schema(path, "class", bins).schema.attributes[0]
    assert isinstance(attribute, NumericAttribute)
    return attribute


def test_words_become_categories_sorted_by_code_point(write: Write) -> None:
    inferred = infer_schema(write(column(["b", "a", "ä", "B", "a"])), "class")
    assert inferred.schema.attributes == (CategoricalAttribute("a", ("B", "a", "b", "ä")),)
    assert inferred.schema.label.labels == ("no", "yes")
    assert inferred.records == 5
    assert inferred.warnings == ()


def test_few_integers_become_categories_in_numeric_order(write: Write) -> None:
    attribute = infer_schema(write(column([str(i) for i in range(-5, 11)])), "class").schema.attributes[0]
    assert attribute == CategoricalAttribute("a", tuple(map(str, range(-5, 11))))


def test_seventeen_integers_become_bins(write: Write) -> None:
    assert numeric(write(column([str(i) for i in range(17)])), bins=4).edges == ("4", "8", "12")


def test_few_fractions_become_bins(write: Write) -> None:
    assert numeric(write(column(["0.5", "1.5"] * 10))).edges == ("0.5", "1.5")


def test_edges_are_quantiles_rounded_and_merged(write: Write) -> None:
    # Quartiles of 1000.1 … 1099.1: 1024.1, 1049.1, 1074.1, to three digits 1020, 1050, 1070.
    assert numeric(write(column([f"{i}.1" for i in range(1000, 1100)])), 4).edges == ("1020", "1050", "1070")
    # Nine tenths are 0: the equal quantiles are one edge.
    assert numeric(write(column(["0"] * 90 + [f"{i}.5" for i in range(10)]))).edges == ("0",)


def test_scaling_range_is_mean_and_four_deviations(write: Write) -> None:
    # Mean 2000.5, deviation 0.5: 1998.5 to 2002.5.
    attribute = numeric(write(column(["2000.0", "2001.0"] * 50)))
    assert (attribute.low, attribute.high) == ("1998.5", "2002.5")
    constant = numeric(write(column(["0.5"] * 5)))
    assert (constant.low, constant.high, constant.edges) == ("0", "1", ("0.5",))


def test_edges_that_rounding_swallows_are_reported(write: Write) -> None:
    inferred = infer_schema(write(column([f"{100000 + i}.5" for i in range(100)])), "class")
    assert "subtract a constant" in inferred.warnings[0]


@pytest.mark.parametrize("cell", ["", "?", "NA", "NaN"])
def test_a_missing_value_gets_its_own(write: Write, cell: str) -> None:
    content = csv_text(("a", "b", "class"), [("x", "1.5", "no"), (cell, "2.5", "yes")])
    schema = infer_schema(write(content), "class").schema
    assert [attribute.missing for attribute in schema.attributes] == [Missing.OWN_VALUE, Missing.REFUSE]
    assert schema.attribute_sizes == (2, 3)


def test_the_label_may_stand_anywhere(write: Write) -> None:
    content = csv_text(("a", "class", "b"), [("x", "10", "u"), ("y", "9", "v")])
    schema = infer_schema(write(content), "class").schema
    assert schema.column_names == ("a", "b", "class")
    assert schema.label.labels == ("9", "10")


@pytest.mark.parametrize(
    ("content", "code", "line", "named"),
    [
        ("", "empty_file", 1, None),
        ("a,class\n", "empty_file", 1, None),
        ("a,klass\nx,1\n", "wrong_columns", 1, "class"),
        ("a,a,class\nx,x,1\n", "wrong_columns", 1, "a"),
        ("a,,class\nx,x,1\n", "wrong_columns", 1, ""),
        ("a,class\nx,1\ny,\n", "missing_value", 3, "class"),
        ("a,class\nx,1\ny,1\n", "wrong_columns", None, "class"),
        ("a,class\n?,1\n,2\n", "missing_value", 2, "a"),
        ("a,class\n1.5,1\n2.5,2\n-inf,1\ninf,1\n", "not_a_number", 4, "a"),
        ("a,class\n1.5,1\n1e999,2\n", "not_a_number", 3, "a"),
        ("a,class\nx,1\ny\n", "malformed", 3, None),
        (f"a,class\n{'x' * 129},1\ny,2\n", "malformed", None, None),
    ],
)
def test_files_without_a_schema(
    write: Write, content: str, code: str, line: int | None, named: str | None
) -> None:
    with pytest.raises(InputFileError) as caught:
        infer_schema(write(content), "class")
    assert (caught.value.code, caught.value.line, caught.value.column) == (code, line, named)


def test_too_many_labels_or_values(write: Write) -> None:
    many = csv_text(("a", "class"), [("x", str(i)) for i in range(257)])
    with pytest.raises(InputFileError, match="257 distinct values"):
        infer_schema(write(many), "class")
    with pytest.raises(InputFileError, match="4096"):
        infer_schema(write(column([f"v{i}" for i in range(4097)])), "class")
    with pytest.raises(SchemaError, match="2 bins"):
        infer_schema(write(column(["1.5", "2.5"])), "class", bins=1)


def test_a_word_among_numbers_is_pointed_out(write: Write) -> None:
    inferred = infer_schema(write(column([*(f"{i}.5" for i in range(17)), "4,5"])), "class")
    assert isinstance(inferred.schema.attributes[0], CategoricalAttribute)
    assert "line 19" in inferred.warnings[0]


def test_a_few_numbers_and_a_word_are_an_ordinary_category(write: Write) -> None:
    assert infer_schema(write(column(["1", "2", "3", "more"])), "class").warnings == ()


def test_identifiers_are_pointed_out(write: Write) -> None:
    assert (
        "identify people" in infer_schema(write(column([f"v{i}" for i in range(101)])), "class").warnings[0]
    )


def test_the_listing_names_all_that_is_published(write: Write) -> None:
    content = csv_text(("a", "b", "class"), [("x", "1.5", "no"), ("", "2.5", "yes"), ("y", "3.5", "no")])
    inferred = infer_schema(write(content), "class")
    assert inferred.listing == (
        "From 3 records, these facts would be published to owners, units and clients:\n"
        "  class (label): the 2 values 'no', 'yes'\n"
        "  a: the 2 values 'x', 'y'; that some are missing\n"
        "  b: quantiles 1.5, 2.5, 3.5; mean ± 4 deviations -0.77 to 5.77\n"
        "A record becomes 7 bits and one of 2 classes."
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(decimals.filter(lambda value: value != value.to_integral_value()), min_size=2, max_size=60),
    st.integers(2, 12),
)
def test_a_file_fits_the_schema_inferred_from_it(tmp_path: Path, values: list[Decimal], bins: int) -> None:
    path = tmp_path / "data.csv"
    path.write_text(column([str(value) for value in values]))
    inferred = infer_schema(path, "class", bins)
    attribute = inferred.schema.attributes[0]
    assert isinstance(attribute, NumericAttribute)
    assert 1 <= len(attribute.edges) < bins
    assert all(len(Decimal(edge).normalize().as_tuple().digits) <= 3 for edge in attribute.edges)
    assert Decimal(attribute.low) <= min(values) or len(values) > 16
    assert check_training_file(path, inferred.schema) == len(values)
    assert infer_schema(path, "class", bins) == inferred
    assert load_schema(dump_schema(inferred.schema)) == inferred.schema


@pytest.mark.parametrize("name", ["nursery", "adult", "wdbc", "nhanes3"])
def test_real_data_sets_fit(name: str, tmp_path: Path) -> None:
    table = data_table(name)
    path = tmp_path / "data.csv"
    path.write_text(csv_text(table.columns, table.rows))
    inferred = infer_schema(path, table.columns[-1])
    schema = load_schema(dump_schema(inferred.schema))
    assert check_training_file(path, schema) == len(table.rows) == inferred.records
    print(f"{table.name}: F = {schema.onehot_columns}, C = {schema.class_count}, {inferred.warnings}")
