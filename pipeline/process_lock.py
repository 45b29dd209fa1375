"""At most one process per role and state folder: two under one identity would contradict each other.

Shards of a role share a lock's file and hold a byte of it for each of their parts.
"""

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError, StorageError
from schemas.reasons import ReasonCode


class AlreadyRunningError(PipelineError):
    """Another process of this host works under the same identity."""

    code = ReasonCode.INVALID_CONFIG


@contextmanager
def sole_process(path: Path, who: str, parts: Collection[int] | None = None) -> Iterator[None]:
    """Hold a lock while the block runs; the system releases it when the process dies, however it dies.

    Args:
        path: The lock's file, on a local disk; it stays.
        who: Whom to name if another process holds it.
        parts: Numbers of what the process has to itself; without any it has everything.

    Raises:
        AlreadyRunningError: Another process holds it.
        StorageError: The file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise StorageError("the state folder cannot be written", file=path) from error
    with file:
        try:
            if parts is None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for part in parts or ():
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, part)
        except (BlockingIOError, PermissionError):
            raise AlreadyRunningError(
                f"{who} is running already", hint="stop the other process first", file=path
            ) from None
        yield
