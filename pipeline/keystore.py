"""One role's secrets in one file, encrypted under a passphrase.

The file is ``MAGIC ‖ header length ‖ header ‖ AES-256-GCM ciphertext ‖ SHA-256 of all before``. The
header (whose keystore it is, how the key is derived, a check value, the nonce) is readable by all and
is the associated data of the ciphertext. The trailing hash finds accidental damage before the slow key
derivation; what an attacker changes on purpose is found by the check value or by the authentication tag.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn, Self, cast

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from pipeline.errors import PipelineError
from pipeline.named_secrets import Secrets
from pipeline.passphrase import Passphrase, WrongPassphraseError
from pipeline.private_file import LoosePermissionsError, read_private, write_private
from schemas.reasons import ReasonCode

MAGIC = b"privml-keystore/1\n"
MAX_FILE_BYTES = 16 << 20
_LENGTH = struct.Struct(">I")
_HASH_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32
_CHECK_BYTES = 16


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a sealed file is for: keystores and backups have one construction.

    Attributes:
        noun: For people.
        magic: Its first bytes; authenticated, so that neither passes for the other.
        max_bytes: Its largest size.
        hint: What to do if it cannot be read.
    """

    noun: str
    magic: bytes
    max_bytes: int
    hint: str


KEYSTORE = FileKind("keystore", MAGIC, MAX_FILE_BYTES, "check the path given with --keystore")


class KeystoreError(PipelineError):
    """A keystore cannot be written, read or trusted."""

    code = ReasonCode.INVALID_KEYSTORE


@dataclass(frozen=True, slots=True)
class KeyDerivation:
    """Cost of turning the passphrase into a key; written into the header.

    The bounds hold for files as well: a forged header can neither ask for all of the memory nor, unless
    it says so by `insecure`, for next to no work.
    """

    memory_kib: int
    iterations: int
    lanes: int
    insecure: bool = False

    def __post_init__(self) -> None:
        # 19 MiB and two passes are the least OWASP recommends; 8 KiB per lane is Argon2's own minimum.
        least_memory, least_iterations = (64, 1) if self.insecure else (19 * 1024, 2)
        if not (
            least_memory <= self.memory_kib <= 1 << 20
            and least_iterations <= self.iterations <= 16
            and 1 <= self.lanes <= 4
        ):
            raise KeystoreError("the key derivation of the keystore is out of bounds")


STANDARD_DERIVATION = KeyDerivation(memory_kib=64 * 1024, iterations=3, lanes=1)
"""About a quarter of a second and 64 MiB."""

INSECURE_TEST_DERIVATION = KeyDerivation(memory_kib=64, iterations=1, lanes=1, insecure=True)
"""For tests only: well below a millisecond. The file says so for ever."""


@dataclass(frozen=True, slots=True)
class KeystoreHeader:
    """Whose secrets these are; public, authenticated."""

    role: str
    tenant: str
    party: str
    key_epoch: int
    derivation: KeyDerivation = STANDARD_DERIVATION


class Keystore:
    """An opened keystore: the secrets, and the derived key with which to write them again.

    Made by `create` or `open`, never directly. `update` needs no passphrase, so that a service can
    store new secrets hours after it was started.

    Security:
        The key and the secrets stay in memory until the process ends; Python cannot wipe them.
    """

    __slots__ = ("_check", "_digest", "_key", "_path", "_salt", "_secrets", "header")

    kind: ClassVar[FileKind] = KEYSTORE

    def __init__(self, path: Path, header: KeystoreHeader, salt: bytes, derived: bytes) -> None:
        self.header = header
        self._path = path
        self._salt = salt
        self._key = derived[:_KEY_BYTES]
        self._check = derived[_KEY_BYTES:]
        self._secrets = Secrets({})
        self._digest = b""

    @classmethod
    def create(
        cls, path: Path, header: KeystoreHeader, secrets: Mapping[str, bytes], passphrase: Passphrase
    ) -> Self:
        """Write a new keystore; an existing file is never replaced.

        Raises:
            KeystoreError: `path` exists or cannot be written. Nothing is left behind.
        """
        salt = os.urandom(_SALT_BYTES)
        store = cls(path, header, salt, _derive(passphrase, salt, header.derivation))
        store._write(Secrets(secrets), exclusive=True)
        return store

    @classmethod
    def open(cls, path: Path, passphrase: Passphrase) -> Self:
        """Read and decrypt a keystore.

        Raises:
            WrongPassphraseError: The file is whole but made with another passphrase.
            KeystoreError: The file is missing, readable by others, damaged or changed.
        """
        data = _read(cls.kind, path)
        header, salt, *_ = _parsed(cls.kind, path, data)
        store = cls(path, header, salt, _derive(passphrase, salt, header.derivation))
        store._decrypt(data)
        return store

    def reread(self) -> Secrets:
        """Return the secrets as they are on disk by now, where another process has added some.

        Raises:
            WrongPassphraseError: It was made anew, with another passphrase.
            KeystoreError: It is missing, readable by others, damaged or changed.
        """
        self._decrypt(_read(self.kind, self._path))
        return self._secrets

    def _decrypt(self, data: bytes) -> None:
        _, _, check, nonce, associated, ciphertext = _parsed(self.kind, self._path, data)
        if not hmac.compare_digest(self._check, check):
            raise WrongPassphraseError(
                f"the passphrase does not open this {self.kind.noun}",
                hint="check which passphrase file belongs to this role",
                file=self._path,
            )
        try:
            plain = AESGCM(self._key).decrypt(nonce, ciphertext, associated)
        except InvalidTag as error:
            raise _damaged(self.kind, self._path) from error
        try:
            self._secrets = Secrets(cast("dict[str, bytes]", _unpack(plain)))
        except (KeystoreError, TypeError):
            # Without its cause: that may quote what was decrypted.
            raise _damaged(self.kind, self._path) from None
        self._digest = data[-_HASH_BYTES:]

    @property
    def secrets(self) -> Secrets:
        """The secrets as they are on disk."""
        return self._secrets

    def update(self, **secrets: bytes) -> None:
        """Add or replace secrets, on disk before in memory.

        Either the old or the new file survives a crash, never a mixture.

        Raises:
            KeystoreError: The file was changed by somebody else since it was read, or cannot be written.
        """
        if _read(self.kind, self._path)[-_HASH_BYTES:] != self._digest:
            raise KeystoreError(
                "the keystore was changed by another process",
                hint="run one process per keystore, and start this one again",
                file=self._path,
            )
        self._write(Secrets({**self._secrets, **secrets}), exclusive=False)

    def __repr__(self) -> str:
        return f"Keystore({self.header.role!r}, {self.header.party!r}, {self._secrets!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keystores are not pickled")

    def _write(self, secrets: Secrets, *, exclusive: bool) -> None:
        # A random nonce is safe here: a keystore is written a few times in its life, not 2^32 times.
        nonce = os.urandom(_NONCE_BYTES)
        header, derivation = self.header, self.header.derivation
        packed = _pack(
            {
                "role": header.role,
                "tenant": header.tenant,
                "party": header.party,
                "key_epoch": header.key_epoch,
                "kdf": "argon2id",
                "memory_kib": derivation.memory_kib,
                "iterations": derivation.iterations,
                "lanes": derivation.lanes,
                "insecure": derivation.insecure,
                "salt": self._salt,
                "check": self._check,
                "nonce": nonce,
            }
        )
        associated = self.kind.magic + _LENGTH.pack(len(packed)) + packed
        sealed = associated + AESGCM(self._key).encrypt(nonce, _pack(dict(secrets)), associated)
        digest = hashlib.sha256(sealed).digest()
        _write(self.kind, self._path, sealed + digest, exclusive=exclusive)
        self._secrets = secrets
        self._digest = digest


def read_header(path: Path) -> KeystoreHeader:
    """Return what a keystore says of itself to everybody; a passphrase is not needed.

    Raises:
        KeystoreError: The file is missing, readable by others or damaged.
    """
    return _parsed(KEYSTORE, path, _read(KEYSTORE, path))[0]


def _derive(passphrase: Passphrase, salt: bytes, cost: KeyDerivation) -> bytes:
    # One derivation gives the key and, independent of it, the check value: knowing one tells nothing
    # about the other, and both cost a guesser the same.
    return Argon2id(
        salt=salt,
        length=_KEY_BYTES + _CHECK_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive(passphrase.value)


def _damaged(kind: FileKind, path: Path) -> KeystoreError:
    return KeystoreError(
        f"the {kind.noun} is damaged or was changed", hint="restore it from a backup", file=path
    )


def _pack(fields: Mapping[str, object]) -> bytes:
    packed: bytes = msgpack.packb({name: fields[name] for name in sorted(fields)}, use_bin_type=True)
    return packed


def _unpack(data: bytes) -> dict[str, object]:
    """Read what `_pack` wrote and nothing else: one encoding per value."""
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise KeystoreError("not msgpack") from error
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise KeystoreError("not a map with text keys")
    if _pack(fields) != data:
        raise KeystoreError("not in canonical form")
    return fields


_Parsed = tuple[KeystoreHeader, bytes, bytes, bytes, bytes, bytes]
"""Header, salt, check value, nonce, associated data and ciphertext."""


def _parsed(kind: FileKind, path: Path, data: bytes) -> _Parsed:
    try:
        return _parse(kind, data)
    except KeystoreError as error:
        raise _damaged(kind, path) from error


def _parse(kind: FileKind, data: bytes) -> _Parsed:
    """Split a file."""
    body = data[:-_HASH_BYTES]
    start = len(kind.magic) + _LENGTH.size
    if len(body) < start or not body.startswith(kind.magic):
        raise KeystoreError(f"not a {kind.noun} of this version")
    if hashlib.sha256(body).digest() != data[-_HASH_BYTES:]:
        raise KeystoreError("the checksum does not match")
    end = start + _LENGTH.unpack_from(body, len(kind.magic))[0]
    if end > len(body):
        raise KeystoreError("the header is cut off")
    fields = _unpack(body[start:end])
    header = KeystoreHeader(
        role=_text(fields, "role"),
        tenant=_text(fields, "tenant"),
        party=_text(fields, "party"),
        key_epoch=_integer(fields, "key_epoch"),
        derivation=KeyDerivation(
            memory_kib=_integer(fields, "memory_kib"),
            iterations=_integer(fields, "iterations"),
            lanes=_integer(fields, "lanes"),
            insecure=fields.get("insecure") is not False,
        ),
    )
    salt = _octets(fields, "salt", _SALT_BYTES)
    check = _octets(fields, "check", _CHECK_BYTES)
    nonce = _octets(fields, "nonce", _NONCE_BYTES)
    return header, salt, check, nonce, body[:end], body[end:]


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise KeystoreError(f"{name} is not a text")
    return value


def _integer(fields: Mapping[str, object], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise KeystoreError(f"{name} is not an integer")
    return value


def _octets(fields: Mapping[str, object], name: str, length: int) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes) or len(value) != length:
        raise KeystoreError(f"{name} is not {length} bytes")
    return value


def _read(kind: FileKind, path: Path) -> bytes:
    try:
        data = read_private(path, kind.max_bytes)
    except LoosePermissionsError as error:
        raise KeystoreError(
            f"the {kind.noun} may be read by other users of this machine",
            hint=f"run: chmod 600 {path}",
            file=path,
        ) from error
    except OSError as error:
        raise KeystoreError(
            f"the {kind.noun} cannot be read: {error.strerror or 'not a regular file'}",
            hint=kind.hint,
            file=path,
        ) from error
    if len(data) > kind.max_bytes:
        raise KeystoreError(f"a {kind.noun} holds at most {kind.max_bytes} bytes", file=path)
    return data


def _write(kind: FileKind, path: Path, data: bytes, *, exclusive: bool) -> None:
    if len(data) > kind.max_bytes:
        raise KeystoreError(f"a {kind.noun} holds at most {kind.max_bytes} bytes", file=path)
    try:
        write_private(path, data, exclusive=exclusive)
    except FileExistsError as error:
        raise KeystoreError(
            f"a {kind.noun} of that name exists and is not replaced",
            hint=f"choose another path, or move the old {kind.noun} away",
            file=path,
        ) from error
    except OSError as error:
        raise KeystoreError(
            f"the {kind.noun} cannot be written: {error.strerror or 'unknown reason'}",
            hint="check that its folder exists, is writable and has room",
            file=path,
        ) from error
