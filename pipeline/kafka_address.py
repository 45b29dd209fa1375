"""Where a Kafka cluster is and how to log in: the parts of a `kafka://` URL.

    kafka://HOST[:PORT][,HOST[:PORT]...][?NAME=VALUE&...]

    security        PLAINTEXT (the default), SSL, SASL_PLAINTEXT or SASL_SSL
    ca_file         PEM file of whom to trust under TLS; without it, whom the system trusts
    username        login name; needs one of the SASL kinds of security
    password_file   file of mode 0600 whose first line is the password
    mechanism       SCRAM-SHA-512 (the default) or SCRAM-SHA-256
    replication     brokers that hold each topic, when topics are made; without it, the broker's default
    connect         seconds until a cluster that never answered counts as unreachable (10)
    patience        seconds until one that answered before does (60)

In a settings file the files are relative to it, as every path there.
A password never stands in a URL, which is printed, logged and listed with processes.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pipeline.errors import InvalidTransportUrlError
from pipeline.private_file import LoosePermissionsError, read_private

SCHEME = "kafka"
DEFAULT_PORT = 9092
MAX_PASSWORD_BYTES = 1024
CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0

_FILES = ("ca_file", "password_file")
_NAMES = (*_FILES, "security", "username", "mechanism", "replication", "connect", "patience")
_SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A cluster and a login.

    Attributes:
        servers: ``host:port`` of some brokers; any of them knows the others.
        security: How the connection is protected.
        ca_file: Whom to trust under TLS; None for whom the system trusts.
        username: Login name, with the SASL kinds of security.
        password_file: Its first line is the password.
        mechanism: How to log in.
        replication: Copies of each new topic; None for the broker's default.
        connect_seconds: How long to try before any answer was had.
        patience_seconds: How long to try after an outage began.
    """

    servers: tuple[str, ...]
    security: str = "PLAINTEXT"
    ca_file: Path | None = None
    username: str | None = None
    password_file: Path | None = field(default=None, repr=False)
    mechanism: str = _MECHANISMS[0]
    replication: int | None = None
    connect_seconds: float = CONNECT_SECONDS
    patience_seconds: float = PATIENCE_SECONDS

    @property
    def encrypted(self) -> bool:
        """Whether the connection is under TLS."""
        return self.security.endswith("SSL")

    @property
    def logs_in(self) -> bool:
        """Whether a name and a password are sent."""
        return self.security.startswith("SASL")

    def client_options(self) -> dict[str, Any]:
        """Return what every aiokafka client is made with; reads the password and the certificates.

        Raises:
            InvalidTransportUrlError: A file cannot be read or holds something else.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security,
        }
        if self.encrypted:
            options["ssl_context"] = self._ssl_context()
        if self.logs_in:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self._password(),
            }
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise InvalidTransportUrlError(
                "ca_file cannot be read as PEM certificates", file=self.ca_file
            ) from error

    def _password(self) -> str:
        if self.password_file is None:
            raise InvalidTransportUrlError("name the file with the password: password_file")
        try:
            data = read_private(self.password_file, MAX_PASSWORD_BYTES)
        except LoosePermissionsError as error:
            raise InvalidTransportUrlError(
                "the password file may be read by others", hint="chmod 600", file=self.password_file
            ) from error
        except OSError as error:
            raise InvalidTransportUrlError(
                "the password file cannot be read", file=self.password_file
            ) from error
        line = data.split(b"\n", 1)[0].rstrip(b"\r")
        if not line or len(line) > MAX_PASSWORD_BYTES:
            raise InvalidTransportUrlError(
                "the first line of the password file is empty or too long", file=self.password_file
            )
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise InvalidTransportUrlError("the password is not UTF-8", file=self.password_file) from error


def parse_kafka_url(url: str) -> KafkaAddress:
    """Return what a `kafka://` URL says.

    Raises:
        InvalidTransportUrlError: It does not have the form above, or its parts contradict each other.
    """
    parts = urlsplit(url)
    if parts.scheme != SCHEME or not parts.netloc or parts.path.strip("/") or parts.fragment:
        raise InvalidTransportUrlError("a Kafka URL is kafka://HOST[:PORT][,HOST[:PORT]...][?NAME=VALUE&...]")
    if "@" in parts.netloc:
        raise InvalidTransportUrlError(
            "a login does not stand before the host", hint="use ?username=NAME&password_file=FILE"
        )
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise InvalidTransportUrlError("the part after ? is NAME=VALUE&NAME=VALUE") from error
    given = dict(pairs)
    if len(given) != len(pairs) or not given.keys() <= set(_NAMES):
        raise InvalidTransportUrlError(
            "a name after ? is unknown or stands twice", hint=f"known are {', '.join(sorted(_NAMES))}"
        )
    address = KafkaAddress(
        servers=tuple(_server(server) for server in parts.netloc.split(",")),
        security=_one_of(given, "security", _SECURITY),
        ca_file=_path(given, "ca_file"),
        username=given.get("username"),
        password_file=_path(given, "password_file"),
        mechanism=_one_of(given, "mechanism", _MECHANISMS),
        replication=_whole(given, "replication"),
        connect_seconds=_positive(given, "connect", CONNECT_SECONDS),
        patience_seconds=_positive(given, "patience", PATIENCE_SECONDS),
    )
    if address.logs_in != bool(address.username) or address.logs_in != (address.password_file is not None):
        raise InvalidTransportUrlError(
            "security=SASL_SSL or SASL_PLAINTEXT, username and password_file belong together"
        )
    if address.ca_file is not None and not address.encrypted:
        raise InvalidTransportUrlError("ca_file needs security=SSL or SASL_SSL")
    return address


def map_files(url: str, change: Callable[[Path], str]) -> str:
    """Return the URL with every file that it names changed; other kinds of URLs unchanged."""
    base, question, query = url.partition("?")
    if not base.startswith(f"{SCHEME}://") or not question:
        return url
    pairs = [
        (name, change(Path(value)) if name in _FILES and value else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{base}?{urlencode(pairs, safe='/')}"


def _server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError as error:
        raise InvalidTransportUrlError("a port is a number up to 65535") from error
    if not host:
        raise InvalidTransportUrlError("a host is missing: kafka://HOST[:PORT]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _one_of(given: dict[str, str], name: str, known: tuple[str, ...]) -> str:
    value = given.get(name, known[0])
    if value not in known:
        raise InvalidTransportUrlError(f"{name} is one of {', '.join(known)}")
    return value


def _path(given: dict[str, str], name: str) -> Path | None:
    if name not in given:
        return None
    if not given[name]:
        raise InvalidTransportUrlError(f"{name} names no file")
    return Path(given[name])


def _positive(given: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(given.get(name, default))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise InvalidTransportUrlError(f"{name} is a positive number of seconds")
    return value


def _whole(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not given[name].isdecimal() or not 1 <= int(given[name]) <= 100:
        raise InvalidTransportUrlError(f"{name} is a whole number from 1 on")
    return int(given[name])
