"""Files that only their owner may read, replaced at once and durably."""

import os
import stat
from pathlib import Path
from tempfile import NamedTemporaryFile


class LoosePermissionsError(OSError):
    """Other users of the machine may read or write a file that must be private."""


def read_private(path: Path, limit: int) -> bytes:
    """Read at most `limit + 1` bytes of a regular file of mode 0600 or tighter.

    Raises:
        LoosePermissionsError: The mode grants anything to group or others. Nothing was read.
        OSError: The file is missing, not regular or not readable.
    """
    # Checked on the open file, so that it cannot be swapped in between; O_NONBLOCK, since opening a
    # named pipe put in its place would otherwise wait for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"{path} is not a regular file")
        if mode & 0o077:
            raise LoosePermissionsError(f"{path} may be read by other users of this machine")
        return file.read(limit + 1)


def write_private(path: Path, data: bytes, *, exclusive: bool) -> None:
    """Put `data` in the place of `path`, mode 0600: after a crash the old or the new file is there.

    Args:
        path: The file; its folder must exist.
        data: The whole new content.
        exclusive: Refuse to replace an existing file.

    Raises:
        FileExistsError: `exclusive`, and the file exists. It is unchanged.
        OSError: Something could not be written. The old file is unchanged.
    """
    temporary: Path | None = None
    try:
        # In the same folder, since a rename is atomic only within one file system.
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            # Unlike a rename, a link fails where the name is taken.
            os.link(temporary, path)
        else:
            temporary.replace(path)
        # The name lives in the folder: without this it may be gone after a power cut.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
