"""Text files with something wrong in them, and a file that is rewritten thousands of times."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fuzz.drawing import Draws
from fuzz.mutants import mutate_bytes

TOML_VALUES = (
    *("0", "-1", "1.5", "1e400", "-1e-400", "nan", "-inf", "0x" + "f" * 40, "9" * 30, "1_0", "01", "0o17"),
    *('""', '" "', "''", '"\\u0000"', '"\\u001b[2J"', '"\\ud800"', '"é"', '"a\\nb"', "'''", '"', "true"),
    *(
        "[]",
        "[[]]",
        "[1, 'a']",
        "{}",
        "{ a = 1 }",
        "[1,",
        "{ a",
        "1979-05-27",
        "07:32:00",
        "1e99999999999999999999",
    ),
    *("[" * 9 + "]" * 9, '"' + "x" * 200 + '"'),
)
TOML_LONG = (
    "9" * 5000,
    "0x" + "f" * 5000,
    "[" * 3000,
    "{a=" * 3000,
    "[" * 300 + "]" * 300,
    "1e" + "9" * 3000,
)
CSV_CELLS = (
    *("", " ", "?", "NA", "nan", "inf", "-Infinity", "1e999", "1e-999", "0", "-0", "+1", "1_0", "0x1", "1,5"),
    *('"', '""', '"a', 'a"b', '"a""b"', '"a\nb"', '"a,b"', "\x00", "\r", "\x1b[2J", "\ufeff", "٣", "1" * 101),
    *("red ", "RED", "x" * 200, "=1+1", "\udc80", "é", "1" * 300),
)
CSV_LONG = ("1" * 5000, "x" * 140_000, '"' + "x,y\n" * 2000, "," * 5000, "\n" * 3000)


MEMORY = Path("/dev/shm")
"""Where files cost no disk, on most machines."""


class Scratch:
    """One private file whose content is replaced for every input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "file"
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)

    def write(self, data: bytes) -> Path:
        """Replace the content and return the path."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Language:
    """What may stand in a file where it should not.

    Attributes:
        words: Short ones.
        long: Long ones, used rarely.
        separator: What the words of a line are separated by.
    """

    words: Sequence[str]
    long: Sequence[str]
    separator: bytes


TOML = Language(TOML_VALUES, TOML_LONG, b"= ")
CSV = Language(CSV_CELLS, CSV_LONG, b",")


def changed_text(draws: Draws, data: bytes, other: bytes, language: Language) -> bytes:
    """Return a good text with other bytes, lines or words, some of them of another good text."""
    for _ in range(draws.pick((1, 1, 1, 2, 4))):
        data = _changed_once(draws, data, other, language)
    return data


def _changed_once(draws: Draws, data: bytes, other: bytes, language: Language) -> bytes:
    words = language.long if draws.chance(100) else language.words
    lines = data.split(b"\n")
    at = draws.below(len(lines))
    match draws.below(8):
        case 0 | 1:
            return mutate_bytes(draws, data, other)
        case 2:
            del lines[at]
        case 3:
            lines.insert(draws.below(len(lines) + 1), lines[at])
        case 4:
            lines[at] = draws.pick(other.split(b"\n"))
        case 5:
            lines.insert(at, draws.pick(words).encode("utf-8", errors="surrogateescape"))
        case _:
            cells = lines[at].split(language.separator)
            word = draws.pick(words).encode("utf-8", errors="surrogateescape")
            cells[draws.below(len(cells)) if language is CSV else -1] = word
            lines[at] = language.separator.join(cells)
    return b"\n".join(lines)
