"""Take a passphrase from a file or a descriptor; never from arguments or the environment.

Other users of a machine can list the arguments of a process, and an environment is inherited by every
child and copied into crash reports.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

from pipeline.errors import PipelineError
from schemas.reasons import ReasonCode

MAX_PASSPHRASE_BYTES = 4096


class WrongPassphraseError(PipelineError):
    """The passphrase is not the one the keystore was made with, or there is none."""

    code = ReasonCode.WRONG_PASSPHRASE


@dataclass(frozen=True, slots=True)
class Passphrase:
    """What unlocks a keystore; hidden from repr, never empty."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.value or len(self.value) > MAX_PASSPHRASE_BYTES:
            raise WrongPassphraseError(
                f"a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes",
                hint="put it on the first line of the passphrase file",
            )

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the first line of `path`, without its line end.

        Raises:
            WrongPassphraseError: The file cannot be read, or its first line is empty or too long.
        """
        try:
            with path.open("rb") as file:
                return cls(_first_line(file.read(MAX_PASSPHRASE_BYTES + 2)))
        except OSError as error:
            raise WrongPassphraseError(
                f"the passphrase file cannot be read: {os.strerror(error.errno or 0)}",
                hint="name a readable file with --passphrase-file",
                file=path,
            ) from error

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Self:
        """Read the first line from an open file descriptor, without its line end.

        Raises:
            WrongPassphraseError: The descriptor is not open, or its first line is empty or too long.
        """
        read = bytearray()
        try:
            # A pipe hands out what it has: read on until the line or the pipe ends.
            while b"\n" not in read and len(read) < MAX_PASSPHRASE_BYTES + 2:
                part = os.read(descriptor, MAX_PASSPHRASE_BYTES + 2)
                if not part:
                    break
                read += part
        except OSError as error:
            raise WrongPassphraseError(
                f"the passphrase descriptor cannot be read: {os.strerror(error.errno or 0)}",
                hint="open it in the calling shell: --passphrase-fd 3 3<FILE",
            ) from error
        return cls(_first_line(bytes(read)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("passphrases are not pickled")


def _first_line(data: bytes) -> bytes:
    return data.split(b"\n", 1)[0].removesuffix(b"\r")
