"""One topic of the embedded log as one SQLite file: its tables, its reads and its writes.

Blocking; `EmbeddedLog` calls it in threads. The tables are public, so that an operator can look
at them, and change them, with `sqlite3` while roles run: no transaction outlives a call, and
whatever stands in a row is delivered as bytes for the roles' own checks to judge.

    message(partition, "offset", key, headers, value, written_at)   headers: msgpack array of pairs
    bounds(partition, first_offset, next_offset)                    offsets are never reused
    topic(format, name, partitions, durability, kept)               one row
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgpack

from pipeline.errors import (
    LogRolledBackError,
    OffsetOutOfRangeError,
    PipelineError,
    StorageError,
    StorageFullError,
    TopicMismatchError,
    TransportBusyError,
    TransportError,
    UnknownTopicError,
)
from pipeline.sqlite_file import transaction
from pipeline.transport import Message, Position, TopicInfo, partition_for_key
from schemas.topics import Durability, TopicSpec

SUFFIX = ".sqlite"
FORMAT = 1

# Fit for a file name, and without a way out of the directory.
_TOPIC_PATTERN = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")

# A writer holds the file for one commit; only a stopped process or a checker holds it longer.
BUSY_SECONDS = 10.0
_WAL_BYTES_KEPT = 64 * 1024 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS topic(
    format INTEGER NOT NULL, name TEXT NOT NULL, partitions INTEGER NOT NULL,
    durability TEXT NOT NULL, kept TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS bounds(
    partition INTEGER PRIMARY KEY, first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS message(
    partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, key BLOB, headers BLOB,
    value BLOB NOT NULL, written_at INTEGER NOT NULL, PRIMARY KEY (partition, "offset"));
"""

# Far beyond any topic; the offset behind it still fits SQLite's integers.
_MAX_OFFSET = (1 << 62) - 1
_MAX_PARTITIONS = 1 << 16

# SQLite keeps whatever type somebody wrote: a row with a text or a fraction for its offset, or one
# beyond all, has no place in the sequence and is passed over. Another row may lie behind the
# recorded end.
_BOUNDS = """
SELECT first_offset, next_offset, (SELECT max("offset") FROM message
    WHERE partition = :partition AND typeof("offset") = 'integer' AND "offset" <= :beyond)
FROM bounds WHERE partition = :partition
"""

# Casts for the same reason.
_READ = """
SELECT "offset", CAST(key AS BLOB), CAST(headers AS BLOB), CAST(value AS BLOB), CAST(written_at AS INTEGER)
FROM message WHERE partition = ? AND "offset" BETWEEN ? AND ? AND typeof("offset") = 'integer'
ORDER BY "offset" LIMIT ?
"""


# The length of a value is known without reading it.
_SIZE = """
SELECT total(length(value)) FROM (SELECT value FROM message
    WHERE partition = ? AND "offset" BETWEEN ? AND ? LIMIT ?)
"""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What a topic was made with."""

    topic: str
    partitions: int
    durability: Durability


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One message to append; headers already encoded."""

    partition: int | None
    key: bytes | None
    headers: bytes | None
    value: bytes


def create_topic_file(directory: Path, spec: TopicSpec) -> None:
    """Make a topic's file, or check that the existing one has as many partitions.

    Killed half-way it leaves a file that counts as no topic, and that the next call completes.

    Raises:
        TopicMismatchError: The topic exists with another number of partitions.
        UnknownTopicError: No topic can have that name.
    """
    path = _path(directory, spec.topic)
    with translated(spec.topic):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            with transaction(connection):
                # Not executescript, which would commit first.
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                row = connection.execute("SELECT partitions FROM topic").fetchone()
                if row is not None and row[0] != spec.partitions:
                    raise TopicMismatchError(f"{spec.topic} exists with {row[0]} partitions")
                if row is None:
                    connection.execute(
                        "INSERT INTO topic VALUES (?, ?, ?, ?, ?)",
                        (FORMAT, spec.topic, spec.partitions, spec.durability.value, spec.kept.value),
                    )
                    connection.executemany(
                        "INSERT INTO bounds VALUES (?, 0, 0)", [(p,) for p in range(spec.partitions)]
                    )
        finally:
            connection.close()


class TopicFile:
    """A connection to one topic; used by one thread at a time."""

    def __init__(self, directory: Path, topic: str, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open an existing topic.

        Args:
            directory: Of the topics.
            topic: Its name.
            busy_seconds: How long a call waits for another process that holds the file.

        Raises:
            UnknownTopicError: It is not there.
        """
        path = _path(directory, topic)
        if not path.is_file():
            raise UnknownTopicError(topic)
        with translated(topic):
            # mode=rw: never make an empty file for a topic that vanished.
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=busy_seconds,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self.facts = self._load_facts(topic)
            full = self.facts.durability is Durability.FULL
            with translated(topic):
                self._connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
                self._connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES_KEPT}")
        except PipelineError:
            self._connection.close()
            raise

    def append(self, messages: Sequence[NewMessage]) -> list[Position | UnknownTopicError]:
        """Append in one transaction; return the places, or that there is no such partition, in order."""
        placed: list[Position | UnknownTopicError] = []
        with translated(self.facts.topic), transaction(self._connection):
            nexts: dict[int, int] = {}
            rows: list[tuple[int, int, bytes | None, bytes | None, bytes, int]] = []
            now = time.time_ns()
            for message in messages:
                partition = message.partition
                if partition is None:
                    partition = partition_for_key(message.key, self.facts.partitions)
                if not 0 <= partition < self.facts.partitions:
                    placed.append(UnknownTopicError(self.facts.topic, partition))
                    continue
                offset = nexts[partition] if partition in nexts else self._bounds(partition)[1]
                nexts[partition] = offset + 1
                placed.append(Position(self.facts.topic, partition, offset))
                rows.append((partition, offset, message.key, message.headers, message.value, now))
            self._connection.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._connection.executemany(
                "UPDATE bounds SET next_offset = ? WHERE partition = ?", [(n, p) for p, n in nexts.items()]
            )
        return placed

    def read(self, partition: int, offset: int, max_messages: int, max_bytes: int) -> list[Message]:
        """Return messages from `offset` on; at least one if there is one.

        Raises:
            OffsetOutOfRangeError, LogRolledBackError: see `Transport.read`.
        """
        topic = self.facts.topic
        found: list[Message] = []
        size = 0
        with translated(topic):
            first, next_ = self._bounds(partition)
            if offset < first:
                raise OffsetOutOfRangeError(topic, partition, offset, oldest=first, next_=next_)
            if offset > next_:
                raise LogRolledBackError(topic, partition, offset, oldest=first, next_=next_)
            cursor = self._connection.execute(_READ, (partition, offset, _MAX_OFFSET, max_messages))
            try:
                for at, key, headers, value, written_at in cursor:
                    content = value or b""
                    size += len(content)
                    if found and size > max_bytes:
                        break
                    found.append(
                        Message(topic, partition, at, key, unpack_headers(headers), content, written_at or 0)
                    )
            finally:
                # An open cursor would keep the file's old pages alive.
                cursor.close()
        return found

    def size(self, partition: int, offset: int, max_messages: int) -> int:
        """Return how many bytes the next messages have."""
        with translated(self.facts.topic):
            row = self._connection.execute(_SIZE, (partition, offset, _MAX_OFFSET, max_messages)).fetchone()
        return int(row[0])

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return the oldest offset that may be read and the next one to be given."""
        with translated(self.facts.topic):
            return self._bounds(partition)

    def trim(self, partition: int, before: int) -> None:
        """Drop the messages below `before`, at most all."""
        with translated(self.facts.topic), transaction(self._connection):
            first, next_ = self._bounds(partition)
            bound = max(first, min(before, next_))
            self._connection.execute(
                'DELETE FROM message WHERE partition = ? AND "offset" < ?', (partition, bound)
            )
            self._connection.execute(
                "UPDATE bounds SET first_offset = ?, next_offset = ? WHERE partition = ?",
                (bound, next_, partition),
            )

    def info(self) -> TopicInfo:
        """Return size and bounds."""
        with translated(self.facts.topic):
            messages, size = self._connection.execute(
                "SELECT count(*), coalesce(sum(length(CAST(value AS BLOB))"
                " + coalesce(length(CAST(key AS BLOB)), 0)), 0) FROM message"
            ).fetchone()
            bounds = [self._bounds(partition) for partition in range(self.facts.partitions)]
        return TopicInfo(
            self.facts.topic,
            self.facts.partitions,
            messages,
            size,
            tuple(first for first, _ in bounds),
            tuple(next_ for _, next_ in bounds),
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _bounds(self, partition: int) -> tuple[int, int]:
        row = self._connection.execute(_BOUNDS, {"partition": partition, "beyond": _MAX_OFFSET}).fetchone()
        if row is None:
            raise UnknownTopicError(self.facts.topic, partition)
        first, next_, last = row
        if not all(type(bound) is int and 0 <= bound <= _MAX_OFFSET for bound in (first, next_)):
            raise StorageError(f"the bounds of {self.facts.topic} partition {partition} are damaged")
        return first, next_ if last is None else max(next_, last + 1)

    def _load_facts(self, topic: str) -> TopicFacts:
        with translated(topic):
            made = self._connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'topic'"
            ).fetchone()[0]
            row = None
            if made:
                row = self._connection.execute("SELECT format, partitions, durability FROM topic").fetchone()
        if row is None:
            raise UnknownTopicError(topic)
        if row[0] != FORMAT or row[2] not in list(Durability):
            raise StorageError(f"the file of {topic} is of another version")
        if type(row[1]) is not int or not 0 < row[1] <= _MAX_PARTITIONS:
            raise StorageError(f"the number of partitions of {topic} is damaged")
        return TopicFacts(topic, row[1], Durability(row[2]))


def _path(directory: Path, topic: str) -> Path:
    if _TOPIC_PATTERN.search(topic) is None:
        raise UnknownTopicError(topic)
    return directory / f"{topic}{SUFFIX}"


def pack_headers(headers: Mapping[str, bytes]) -> bytes | None:
    """Encode headers as a msgpack array of [name, value]; None without any."""
    if not headers:
        return None
    packed: bytes = msgpack.packb([[name, value] for name, value in headers.items()])
    return packed


def unpack_headers(data: bytes | None) -> dict[str, bytes]:
    """Read headers back; damaged ones are no headers, as nothing may depend on them."""
    if not data:
        return {}
    try:
        headers = {name: value for name, value in msgpack.unpackb(data)}  # noqa: C416 - unpacks pairs
    except (ValueError, TypeError, msgpack.UnpackException):
        return {}
    if all(isinstance(name, str) and isinstance(value, bytes) for name, value in headers.items()):
        return headers
    return {}


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)


@contextmanager
def translated(topic: str) -> Iterator[None]:
    """Turn SQLite's errors into the project's."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFullError(f"no room left for {topic}") from error
        if code in _BUSY:
            raise TransportBusyError(f"the file of {topic} is held by another process") from error
        if code == sqlite3.SQLITE_CANTOPEN:
            raise TransportError(f"the file of {topic} cannot be opened") from error
        reason = "is damaged" if code in _DAMAGED else "cannot be read or written"
        raise StorageError(f"the file of {topic} {reason} ({type(error).__name__}, {code})") from error
    except UnicodeDecodeError:
        # The error itself could not be made: its text quotes a damaged name.
        raise StorageError(f"the file of {topic} is damaged") from None
