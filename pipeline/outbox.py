"""The owner's outbox: every message it ever published, and how far a file has come.

An encrypted chunk is durable here before it is published, and only these bytes are ever sent
under its number. A file whose publishing was interrupted goes on where it stopped, so that
repeating the command publishes nothing twice.
"""

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import PipelineError, StorageError, StorageFullError
from pipeline.private_file import write_private
from schemas.envelope import message_id
from schemas.parts import whole_id
from schemas.reasons import ReasonCode

_SUFFIX = ".chunk"
_BLOCK_BYTES = 1 << 20
_LENGTH_BYTES = 8
_RUN_BYTES = 32
_BATCH_BYTES = 8
_NO_RUN = bytes(_RUN_BYTES)


class NotPublishedError(PipelineError):
    """The owner has no such chunk."""

    code = ReasonCode.NOT_WITHDRAWABLE


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it was, and always will be, sent.

    Attributes:
        sequence: The owner's number for it.
        wires: Wire forms of its parts.
    """

    sequence: int
    wires: tuple[bytes, ...] = field(repr=False)

    @property
    def message_hash(self) -> bytes:
        """Its id."""
        return whole_id([message_id(wire) for wire in self.wires])


@dataclass(frozen=True, slots=True)
class Run:
    """The publishing of one file, from its first chunk until it is finished.

    Attributes:
        name: Unique in the outbox.
        receipts_from: Offset of the receipts topic before the first chunk left.
        stored: Numbers of the chunks that an interrupted attempt made, by batch.
    """

    name: bytes
    receipts_from: int
    stored: dict[int, int]


class Outbox:
    """One folder: a file per message, named by its sequence, and a file per unfinished run.

    Security:
        A second encryption under a used number would be an equivocation; so a number is taken by
        creating its file, which happens at once with its content.
    """

    def __init__(self, folder: Path) -> None:
        """Open the outbox, or make it.

        Raises:
            StorageError: The folder cannot be used.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._next = max(self._sequences(), default=-1) + 1
        except OSError as error:
            raise StorageError("the outbox cannot be opened", file=folder) from error

    def next_sequence(self) -> int:
        """Return the next unused number."""
        return self._next

    def sequence_of(self, chunk_id: bytes) -> int:
        """Return the number under which a chunk was published.

        Raises:
            NotPublishedError: This outbox holds no chunk of that id.
        """
        for sequence in self._sequences():
            if self.message(sequence).message_hash == chunk_id:
                return sequence
        raise NotPublishedError(
            "this owner has published no chunk of that id",
            hint="chunk ids are printed by `privml owner publish`",
            file=self._folder,
        )

    def message(self, sequence: int) -> StoredMessage:
        """Return a stored message.

        Raises:
            StorageError: It is not there or damaged.
        """
        path = self._path(sequence)
        try:
            _, *wires = _frames(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StorageError("a message of the outbox is damaged", file=path) from error
        return StoredMessage(sequence, tuple(wires))

    def store(self, wires: Sequence[bytes], run: Run | None = None, batch: int = 0) -> StoredMessage:
        """Write a message under the next number; durable when it returns.

        Raises:
            StorageFullError: There is no room; the number is still free.
            StorageError: The number is taken, or the file cannot be written.
        """
        stored = StoredMessage(self._next, tuple(wires))
        frames = [(_NO_RUN if run is None else run.name) + batch.to_bytes(_BATCH_BYTES, "big"), *wires]
        content = b"".join(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame for frame in frames)
        self._write(self._path(stored.sequence), content, exclusive=True)
        self._next += 1
        return stored

    def mark_sent(self, sequence: int) -> None:
        """Note that a message is on its topic; if the note is lost, it is sent again, harmlessly."""
        try:
            self._path(sequence).with_suffix(".sent").touch()
        except OSError as error:
            raise _storage_error(error, self._folder) from error

    def unsent(self) -> list[int]:
        """Return the numbers of messages that may not be on their topic, in order."""
        return [n for n in self._sequences() if not self._path(n).with_suffix(".sent").exists()]

    def begin(self, source: bytes, receipts_from: int) -> Run:
        """Return the run of a source: the unfinished one if there is one, else a new one.

        Args:
            source: Digest of the file and of how it is cut into chunks.
            receipts_from: Where receipts of a new run begin.
        """
        path = self._run_path(source)
        if not path.exists():
            self._write(path, b"%d %d" % (self._next, receipts_from), exclusive=True)
        try:
            first, receipts = map(int, path.read_bytes().split())
        except (OSError, ValueError) as error:
            raise StorageError("an unfinished run of the outbox is damaged", file=path) from error
        name = hashlib.sha256(source + first.to_bytes(8, "big")).digest()
        stored: dict[int, int] = {}
        for sequence in self._sequences():
            if sequence >= first:
                run, batch = self._belongs_to(sequence)
                if run == name:
                    stored[batch] = sequence
        return Run(name, receipts, stored)

    def finish(self, source: bytes) -> None:
        """End a run: the same file published again is published a second time."""
        self._run_path(source).unlink(missing_ok=True)

    def _belongs_to(self, sequence: int) -> tuple[bytes, int]:
        """Return the run of a message and its place in it, without reading the rest."""
        path = self._path(sequence)
        try:
            with path.open("rb") as file:
                file.seek(_LENGTH_BYTES)
                header = file.read(_RUN_BYTES + _BATCH_BYTES)
        except OSError as error:
            raise StorageError("a message of the outbox cannot be read", file=path) from error
        return header[:_RUN_BYTES], int.from_bytes(header[_RUN_BYTES:], "big")

    def _sequences(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())

    def _path(self, sequence: int) -> Path:
        return self._folder / f"{sequence:012d}{_SUFFIX}"

    def _run_path(self, source: bytes) -> Path:
        return self._folder / f"{source.hex()}.run"

    def _write(self, path: Path, content: bytes, *, exclusive: bool) -> None:
        try:
            write_private(path, content, exclusive=exclusive)
        except OSError as error:
            raise _storage_error(error, path) from error


def file_digest(path: Path, chunk_size: int) -> bytes:
    """Return what names the chunks of a file: digest of its bytes and of how they are cut."""
    digest = hashlib.sha256(b"%d records per chunk\n" % chunk_size)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise StorageError(f"the file cannot be read: {os.strerror(error.errno or 0)}", file=path) from error
    return digest.digest()


def _storage_error(error: OSError, path: Path) -> StorageError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFullError("no room left for the outbox", file=path)
    return StorageError(f"the outbox cannot be written: {os.strerror(error.errno or 0)}", file=path)


def _frames(content: bytes) -> list[bytes]:
    """Split length-prefixed frames.

    Raises:
        ValueError: The content is cut off.
    """
    frames: list[bytes] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(content[at:start], "big")
        if end > len(content):
            raise ValueError("cut off")
        frames.append(content[start:end])
        at = end
    if not frames:
        raise ValueError("empty")
    return frames
