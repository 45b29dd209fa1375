"""Read a command's JSON and hold it against its schema in schemas/cli/."""

import json
from importlib.resources import files
from typing import Any

import jsonschema


def read_objects(stdout: str) -> list[dict[str, Any]]:
    """Parse JSON Lines, each of which must conform to the schema its first field names."""
    objects: list[dict[str, Any]] = [json.loads(line) for line in stdout.splitlines()]
    for found in objects:
        kind = found["schema"].removeprefix("privml.").removesuffix("/1")
        schema = json.loads((files("schemas") / "cli" / f"{kind.replace(' ', '_')}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(found, schema, cls=jsonschema.Draft202012Validator)
    return objects


def read_object(stdout: str) -> dict[str, Any]:
    """Parse the one JSON object of a command."""
    assert stdout.endswith("\n")
    (found,) = read_objects(stdout)
    return found
