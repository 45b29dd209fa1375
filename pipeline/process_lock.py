"""At most one process per role and state folder: two under one identity would contradict each other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError, StorageError
from schemas.reasons import ReasonCode


class AlreadyRunningError(PipelineError):
    """Another process of this host works under the same identity."""

    code = ReasonCode.INVALID_CONFIG


@contextmanager
def sole_process(path: Path, who: str) -> Iterator[None]:
    """Hold a lock while the block runs; the system releases it when the process dies, however it dies.

    Args:
        path: The lock's file, on a local disk; it stays.
        who: Whom to name if another process holds it.

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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"{who} is running already", hint="stop the other process first", file=path
            ) from None
        yield
