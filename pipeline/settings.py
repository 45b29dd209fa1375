"""privml.toml: where a tenant's topics and keys lie, and which configuration is pinned.

Nothing in it is secret. Paths in it are relative to the file, so that its folder can be moved.
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.kafka_address import map_files
from pipeline.passphrase import Passphrase
from schemas.reasons import ReasonCode
from schemas.topics import TENANT_PATTERN

FILE_NAME = "privml.toml"
ENVIRONMENT = "PRIVML_CONFIG"


class SettingsError(PipelineError):
    """The settings file is missing or does not say what it must."""

    code = ReasonCode.INVALID_CONFIG


@dataclass(frozen=True, slots=True)
class Settings:
    """The content of a settings file.

    Attributes:
        path: The file.
        tenant: The tenant's name.
        transport: URL of its topics.
        key_epoch: Key epoch of the pinned configuration.
        authority: Name under which the authority signs.
        authority_key: Its Ed25519 public key.
        configuration: SHA-256 of the pinned configuration.
        keys: Folder of the keystores.
        state: Folder of what the roles remember between runs.
        passphrase_file: Where passphrases come from unless told otherwise.
        insecure: The tenant may use a profile below the standard.
    """

    path: Path
    tenant: str
    transport: str
    key_epoch: int
    authority: str
    authority_key: bytes
    configuration: bytes
    keys: Path
    state: Path
    passphrase_file: Path | None
    insecure: bool

    def passphrase(self, file: Path | None, descriptor: int | None) -> Passphrase:
        """Return the passphrase from the options of a command, else from the settings.

        Raises:
            WrongPassphraseError: It cannot be read.
            SettingsError: There is neither option nor setting.
        """
        if descriptor is not None:
            return Passphrase.from_descriptor(descriptor)
        chosen = file or self.passphrase_file
        if chosen is None:
            raise SettingsError(
                "no passphrase: name a file with --passphrase-file",
                hint="or set passphrase_file in the settings file",
                file=self.path,
            )
        return Passphrase.from_file(chosen)

    def keystore(self, name: str) -> Path:
        """Return where the keystore of a party lies unless told otherwise."""
        return self.keys / f"{name}.key"


def settings_path(given: Path | None) -> Path:
    """Return the settings file: the option, else the environment, else ./privml.toml."""
    return given or Path(os.environ.get(ENVIRONMENT) or FILE_NAME)


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        SettingsError: It is missing, no TOML, or lacks a value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot be read: {os.strerror(error.errno or 0)}",
            hint="name it with --config, set PRIVML_CONFIG, or make one with `privml authority init`",
            file=path,
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"is no TOML file: {error}", file=path) from error
    except (ValueError, RecursionError):
        # What the parser leaves to `int`, and to the stack.
        raise SettingsError("holds a number that is too long, or arrays nested too deep", file=path) from None
    folder = path.resolve().parent
    passphrase_file = _value(table, "passphrase_file", str, path, default="")
    return Settings(
        path=path,
        tenant=_tenant(table, path),
        transport=_resolve_url(_value(table, "transport", str, path), folder),
        key_epoch=_value(table, "key_epoch", int, path),
        authority=_value(table, "authority", str, path),
        authority_key=_hex(table, "authority_key", path),
        configuration=_hex(table, "configuration_sha256", path),
        keys=folder / _value(table, "keys", str, path, default="keys"),
        state=folder / _value(table, "state", str, path, default="state"),
        passphrase_file=folder / passphrase_file if passphrase_file else None,
        insecure=_value(table, "insecure", bool, path, default=False),
    )


def dump_settings(settings: Settings) -> str:
    """Return the text of a settings file; paths inside its folder become relative."""
    folder = settings.path.resolve().parent
    lines = [
        "# Made by `privml authority init`. Nothing here is secret; the pinned values must not be changed.",
        f"tenant = {_quoted(settings.tenant)}",
        f"transport = {_quoted(_shorten_url(settings.transport, folder))}",
        f"key_epoch = {settings.key_epoch}",
        f"authority = {_quoted(settings.authority)}",
        f'authority_key = "{settings.authority_key.hex()}"',
        f'configuration_sha256 = "{settings.configuration.hex()}"',
        f"keys = {_quoted(_shorten(settings.keys, folder))}",
        f"state = {_quoted(_shorten(settings.state, folder))}",
    ]
    if settings.passphrase_file is not None:
        lines.append(f"passphrase_file = {_quoted(_shorten(settings.passphrase_file, folder))}")
    lines.append(f"insecure = {str(settings.insecure).lower()}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a TOML basic string; JSON escapes the same characters in the same way."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _resolve_url(url: str, folder: Path) -> str:
    kind, colon, rest = url.partition(":")
    if colon and kind == "log":
        return f"log:{folder / rest}"
    return map_files(url, lambda file: str(folder / file))


def _shorten_url(url: str, folder: Path) -> str:
    kind, colon, rest = url.partition(":")
    if colon and kind == "log":
        return f"log:{_shorten(Path(rest), folder)}"
    return map_files(url, lambda file: _shorten(file, folder))


def _shorten(path: Path, folder: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(folder)) if resolved.is_relative_to(folder) else str(resolved)


def _value(table: dict[str, Any], name: str, kind: type, path: Path, default: Any = None) -> Any:
    value = table.get(name, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SettingsError(f"'{name}' is missing or of another type", file=path)
    if isinstance(value, int) and not 0 <= value < 1 << 63:
        raise SettingsError(f"'{name}' is out of range", file=path)
    if isinstance(value, str) and "\0" in value:
        # No path holds one; opening it would fail as a bug does.
        raise SettingsError(f"'{name}' holds a NUL character", file=path)
    return value


def _tenant(table: dict[str, Any], path: Path) -> str:
    name: str = _value(table, "tenant", str, path)
    if re.search(TENANT_PATTERN, name) is None:
        raise SettingsError(
            "'tenant' is not 1 to 32 lower-case letters, digits and hyphens, no hyphen first", file=path
        )
    return name


def _hex(table: dict[str, Any], name: str, path: Path) -> bytes:
    try:
        data = bytes.fromhex(_value(table, name, str, path))
    except ValueError as error:
        raise SettingsError(f"'{name}' is not hexadecimal", file=path) from error
    if len(data) != 32:
        raise SettingsError(f"'{name}' is not 32 bytes", file=path)
    return data
