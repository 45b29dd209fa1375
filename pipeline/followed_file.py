"""Lines of a file that grows, or of a pipe, as they come; ends when told so.

A growing file has no end: where nothing more is there now, more may come. A pipe ends when its writer
closes it.
"""

import io
import os
import select
import stat
import threading
from pathlib import Path
from typing import Self

LOOK_SECONDS = 0.2
"""Between two looks at a file that has not grown, and at whether to end."""
_BLOCK_BYTES = 1 << 16
STDIN = Path("-")


class FollowedFile:
    """A source of lines that is read by one thread and ended by another.

    Args:
        file: Open for reading; a regular file, a pipe or a terminal.
        grows: Whether to wait for more at the end of a regular file.
    """

    def __init__(self, file: io.FileIO, *, grows: bool) -> None:
        self._file = file
        self._descriptor = file.fileno()
        regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._regular = regular
        self._grows = grows and regular
        self._buffer = bytearray()
        self._ended = False
        self._stop = threading.Event()

    @classmethod
    def open(cls, path: Path, *, grows: bool) -> Self:
        """Open a file, or stdin for ``-``.

        Raises:
            OSError: It cannot be opened.
        """
        return cls(io.FileIO(0 if path == STDIN else path, closefd=path != STDIN), grows=grows)

    def close(self) -> None:
        """Close the file; stdin stays open."""
        self._file.close()

    def stop(self) -> None:
        """End: who reads gets what was whole by now, and then nothing more."""
        self._stop.set()

    def has_line(self) -> bool:
        """Return whether a whole line is there without waiting."""
        while b"\n" not in self._buffer and not self._ended and self._ready(0.0):
            if not self._fill():
                break
        return b"\n" in self._buffer

    def readline(self, limit: int) -> bytes:
        """Return the next line, at most `limit` bytes of it; empty at the end."""
        while b"\n" not in self._buffer and len(self._buffer) < limit:
            if self._stop.is_set():
                # What has no end of line may be half a row.
                return b""
            if self._ended:
                break
            if self._ready(LOOK_SECONDS) and not self._fill() and not self._ended:
                self._stop.wait(LOOK_SECONDS)
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        line = bytes(self._buffer[: min(end, limit)])
        del self._buffer[: len(line)]
        return line

    def _ready(self, seconds: float) -> bool:
        return self._regular or bool(select.select([self._descriptor], [], [], seconds)[0])

    def _fill(self) -> bool:
        """Take in what is there; return whether there was anything."""
        read = os.read(self._descriptor, _BLOCK_BYTES)
        self._buffer += read
        self._ended = not read and not self._grows
        return bool(read)
