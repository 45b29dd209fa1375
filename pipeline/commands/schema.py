"""`privml schema infer`: propose the public data schema from a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.output import JsonOption, Output

app = typer.Typer(no_args_is_help=True, help="The public data schema: attributes, values, bin edges.")


@app.command()
def infer(
    file: Annotated[Path, typer.Argument(help="CSV file with a header line.")],
    label: Annotated[str, typer.Option(help="Name of the class column.")],
    bins: Annotated[int, typer.Option(min=2, max=256, help="Bins of a numeric column, at most.")] = 10,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before writing.")] = False,
    json: JsonOption = False,
) -> None:
    """Infer a data schema and print it as TOML on stdout.

    Everything in it is public: values of categorical columns and bin edges are taken from the file,
    so look at the list that is printed before you hand the schema on.
    """
    from pipeline.schema_inference import infer_schema
    from schemas.schema_toml import dump_schema

    output = Output(json)
    inferred = infer_schema(file, label, bins)
    output.say(inferred.listing)
    for warning in inferred.warnings:
        output.say(f"warning: {warning}")
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("add --yes to publish the values above without being asked")
        typer.confirm("Write a schema with these public values?", err=True, abort=True)
    text = dump_schema(inferred.schema)
    output.document(text)
    output.result(
        "schema",
        {
            "records": inferred.records,
            "features_onehot": inferred.schema.onehot_columns,
            "classes": inferred.schema.class_count,
            "sha256": inferred.schema.digest.hex(),
            "warnings": list(inferred.warnings),
            "toml": text,
        },
    )
