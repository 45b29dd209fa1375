"""The list of findings is the one of the command line's page."""

import re
from pathlib import Path

from roles.findings import FindingCode

CLI = Path(__file__).parents[3] / "docs" / "cli.md"


def test_every_code_is_documented() -> None:
    section = CLI.read_text().split("\n## Findings\n")[1]
    documented = [
        code for line in section.splitlines() for code in re.findall(r"`(\w+)`", line.split(" | ")[0])
    ]
    assert sorted(documented) == sorted(code.value for code in FindingCode)
