"""CSV files as rows with line numbers, whatever is wrong with the bytes.

One damaged row does not hide the others: it comes out as an error in its place. Files are read
line by line, so memory does not grow with them.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from crypto.errors import PrivMLError
from schemas.data_schema import MAX_NAME_CHARACTERS
from schemas.reasons import ExitCode, ReasonCode

MAX_LINE_BYTES = 4 << 20  # far above a row of 4096 cells of 128 characters
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNREADABLE = "\udcff"  # stands for a line that is no text
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class InputFileError(PrivMLError):
    """A data file cannot be used as it is; says where, and what to do.

    The text names columns and allowed values, never what a record holds.

    Attributes:
        code: Reason code: empty_file, wrong_columns, unknown_category, not_a_number,
            missing_value, malformed or unreadable_file.
        exit_code: How a command ends, also where the code has another one for messages.
        hint: What to do about it.
        file: The file as it was named.
        line: Line of the file at which the row starts, the header's being 1 unless blank lines
            stand before it.
        column: The column's name.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BAD_INPUT

    def __init__(
        self,
        code: ReasonCode,
        message: str,
        hint: str,
        *,
        file: str,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.file = file
        self.line = line
        self.column = column

    def __str__(self) -> str:
        """Return position, message and hint on one line."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.args[0]} ({self.hint})"


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row that is not blank, its cells without the spaces around them."""

    line: int
    cells: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """An open CSV file: its header, and an iterator over what follows."""

    file: str
    header: CsvRow
    rows: Iterator[CsvRow | InputFileError]


class LineSource(Protocol):
    """Where lines of bytes come from."""

    def readline(self, limit: int, /) -> bytes:
        """Return the next line, at most `limit` bytes of it; empty at the end."""
        ...


@contextmanager
def open_csv(path: Path) -> Iterator[CsvTable]:
    """Open a comma-separated UTF-8 file with a header, with or without a byte order mark.

    Raises:
        InputFileError: The file cannot be opened, is empty, or its header is damaged.
    """
    try:
        source = path.open("rb")
    except OSError as error:
        raise InputFileError(
            ReasonCode.UNREADABLE_FILE,
            "the file cannot be opened",
            error.strerror or "check the path",
            file=str(path),
        ) from error
    with source:
        yield csv_table(source, str(path))


def csv_table(source: LineSource, file: str) -> CsvTable:
    """Read the header of a source of lines; the rows follow as they are asked for.

    Raises:
        InputFileError: The source is empty, or its header is damaged.
    """
    rows = _rows(source, file)
    header = next(rows, None)
    if header is None:
        raise InputFileError(
            ReasonCode.EMPTY_FILE,
            "the file is empty",
            "the first line must name the columns",
            file=file,
            line=1,
        )
    if isinstance(header, InputFileError):
        raise header
    if not all(len(name) <= MAX_NAME_CHARACTERS and len(name.splitlines()) <= 1 for name in header.cells):
        # A quote left open has made a name out of records; and errors quote names.
        raise InputFileError(
            ReasonCode.MALFORMED,
            "a column's name is too long or goes over several lines",
            "name the columns in the first line, and close every quote there",
            file=file,
            line=header.line,
        )
    return CsvTable(file, header, _same_width(rows, header, file))


def _rows(source: LineSource, file: str) -> Iterator[CsvRow | InputFileError]:
    """Split into rows; a row that cannot be read becomes an error with its line."""
    # Strict: a stray quote is an error, instead of swallowing what follows it.
    reader = csv.reader(_lines(source), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield InputFileError(
                ReasonCode.MALFORMED,
                "the row's quotes or line ends are broken, or a cell is too long",
                'write a quote inside a quoted cell twice (""), close every quote, end lines with LF or CRLF',
                file=file,
                line=line,
            )
            continue
        if cells:
            yield _damage(cells, file, line) or CsvRow(line, tuple(cell.strip() for cell in cells))


def _lines(source: LineSource) -> Iterator[str]:
    """Decode line by line; bytes that are not UTF-8 become lone surrogates, found by `_damage`."""
    line = source.readline(MAX_LINE_BYTES)
    if line.startswith(_UTF16_MARKS):
        # Its line ends are two bytes: the whole of it is one unreadable line.
        yield _UNREADABLE
        return
    line = line.removeprefix(_BYTE_ORDER_MARK)
    while line:
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            yield _UNREADABLE
            while line and not line.endswith(b"\n"):
                line = source.readline(MAX_LINE_BYTES)
        else:
            yield line.decode("utf-8", errors="surrogateescape")
        line = source.readline(MAX_LINE_BYTES)


def _damage(cells: list[str], file: str, line: int) -> InputFileError | None:
    """Find bytes that text cannot hold."""
    joined = "".join(cells)
    if "\0" in joined:
        return InputFileError(
            ReasonCode.MALFORMED,
            "the row holds a NUL byte",
            "save the file as plain text (CSV, UTF-8)",
            file=file,
            line=line,
        )
    if not joined.isascii() and any("\udc80" <= character <= "\udcff" for character in joined):
        return InputFileError(
            ReasonCode.MALFORMED,
            "the row is not UTF-8 text, or far too long",
            "save the file as CSV with encoding UTF-8",
            file=file,
            line=line,
        )
    return None


def _same_width(
    rows: Iterator[CsvRow | InputFileError], header: CsvRow, file: str
) -> Iterator[CsvRow | InputFileError]:
    """Turn rows of another width than the header into errors."""
    expected = len(header.cells)
    for row in rows:
        if isinstance(row, CsvRow) and len(row.cells) != expected:
            yield InputFileError(
                ReasonCode.MALFORMED,
                f"the row has {len(row.cells)} cells, the header {expected}",
                "put a cell that holds a comma in quotes; leave an unknown cell empty, but keep its comma",
                file=file,
                line=row.line,
            )
        else:
            yield row
