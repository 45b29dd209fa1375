"""The demo's data schema: value lists from the whole table, bin edges from one owner's part.

Which values a categorical column may have is public knowledge (a data dictionary would say it);
where its quantiles lie is not, so only the first owner gives its edges away.
"""

from pathlib import Path

from pipeline.schema_inference import infer_schema
from schemas.data_schema import Attribute, CategoricalAttribute, DataSchema, NumericAttribute


def demo_schema(whole: Path, first_owner: Path, label: str, bins: int) -> DataSchema:
    """Return the schema for a demo.

    Args:
        whole: CSV file of all rows.
        first_owner: CSV file of the first owner's training rows.
        label: Name of the class column.
        bins: Bins of a numeric column, at most.

    Raises:
        InputFileError: A file cannot be used.
    """
    listed, cut = infer_schema(whole, label, bins), infer_schema(first_owner, label, bins)
    own = {attribute.name: attribute for attribute in cut.schema.attributes}
    return DataSchema(
        listed.schema.version,
        tuple(_joined(attribute, own[attribute.name]) for attribute in listed.schema.attributes),
        listed.schema.label,
    )


def _joined(of_all: Attribute, of_first: Attribute) -> Attribute:
    if isinstance(of_all, CategoricalAttribute):
        return of_all
    if isinstance(of_first, NumericAttribute):
        return NumericAttribute(of_all.name, of_first.edges, of_first.low, of_first.high, of_all.missing)
    # The first owner holds so few distinct integers that its column looks categorical: they are the edges.
    values = sorted(of_first.values, key=float)
    if len(values) < 2:
        return of_all
    return NumericAttribute(of_all.name, tuple(values[:-1]), values[0], values[-1], of_all.missing)
