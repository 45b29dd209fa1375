"""A file that costs little to write, twenty thousand times."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fuzz.texts import MEMORY, Scratch


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder without a disk below it, if the machine has one."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def scratch(memory_folder: Path) -> Iterator[Scratch]:
    """Give a file to rewrite."""
    with Scratch(memory_folder) as file:
        yield file
