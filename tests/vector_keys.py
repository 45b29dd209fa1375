"""Keys of tests/vectors/dtpkc.json, by modulus size."""

import json
from functools import cache
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors" / "dtpkc.json"


@cache
def vector_file() -> dict[str, Any]:
    """Return the parsed vector file."""
    parsed: dict[str, Any] = json.loads(VECTORS.read_text())
    return parsed


def vector_case(modulus_bits: int) -> dict[str, Any]:
    """Return the case of that modulus size, its integers still decimal strings."""
    for case in vector_file()["cases"]:
        if case["modulus_bits"] == modulus_bits:
            found: dict[str, Any] = case
            return found
    raise KeyError(modulus_bits)
