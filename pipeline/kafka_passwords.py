"""Users' passwords in a folder: one private file each, drawn where there is none.

A file is what `password_file` in a transport URL names: hand each party its own.
"""

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.private_file import LoosePermissionsError, read_private, write_private
from schemas.reasons import ReasonCode

PASSWORD_BYTES = 32
# Of PBKDF2, by which a broker keeps them: Kafka takes 4096 to 16384.
ITERATIONS = 8192
MAX_PASSWORD_BYTES = 1024


class PasswordFileError(PipelineError):
    """A password file cannot be read or written."""

    code = ReasonCode.INVALID_CONFIG


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """Where a user's password lies.

    Attributes:
        user: Login name.
        path: A file of mode 0600; the password is its first line.
        drawn: It was made just now.
    """

    user: str
    path: Path
    drawn: bool


def password_path(folder: Path, user: str) -> Path:
    """Return where a user's password lies."""
    return folder / f"{user}.password"


def prepare_passwords(folder: Path, users: Iterable[str]) -> list[PasswordFile]:
    """Draw a password for every user who has none yet.

    Raises:
        PasswordFileError: The folder or a file cannot be written.
    """
    files = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for user in users:
            path = password_path(folder, user)
            drawn = not path.exists()
            if drawn:
                write_private(path, f"{secrets.token_urlsafe(PASSWORD_BYTES)}\n".encode(), exclusive=True)
            files.append(PasswordFile(user, path, drawn))
    except OSError as error:
        raise PasswordFileError(
            f"a password file cannot be written: {os.strerror(error.errno or 0)}", file=folder
        ) from error
    return files


def read_password(path: Path) -> str:
    """Return the first line of a password file.

    Raises:
        PasswordFileError: It cannot be read, others may read it, or the line is empty or too long.
    """
    try:
        data = read_private(path, MAX_PASSWORD_BYTES)
        password = data.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except LoosePermissionsError as error:
        raise PasswordFileError(
            "the password file may be read by others", hint="chmod 600", file=path
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordFileError("the password file cannot be read", file=path) from error
    if not password or len(password) > MAX_PASSWORD_BYTES:
        raise PasswordFileError("its first line is empty or too long", file=path)
    return password
