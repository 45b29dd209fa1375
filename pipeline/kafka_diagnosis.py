"""Whether a Kafka broker can be talked to, and if not, why: connect to each server by hand.

aiokafka's clients swallow the reason. And stopped while they start they leave a connection open, so
they are started only when a broker has just answered.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from pipeline.kafka_address import KafkaAddress

CLOSE_SECONDS = 2.0

# What a broker does that understands nothing of what it is told.
_CUT_OFF = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        refused: Trying again with nothing changed is no use.
        meaning: One sentence.
        hint: What to do.
        answers: A broker answers, and takes the login.
    """

    refused: bool
    meaning: str
    hint: str
    answers: bool = False


async def diagnose(address: KafkaAddress, options: Mapping[str, Any], seconds: float) -> Diagnosis:
    """Connect and log in to the servers in turn, until one answers; return the most telling attempt.

    Args:
        address: The servers.
        options: What aiokafka's clients are made with.
        seconds: How long it may take.
    """
    found: list[Diagnosis] = []
    for server in address.servers:
        found.append(await _try(address, server, options, seconds / len(address.servers)))
        if found[-1].answers:
            return found[-1]
    return next((one for one in found if one.refused), found[-1])


async def _try(address: KafkaAddress, server: str, options: Mapping[str, Any], seconds: float) -> Diagnosis:
    host, _, port = server.rpartition(":")
    login = {
        name: value for name, value in options.items() if name.startswith(("sasl_", "ssl_", "security_"))
    }
    connection = AIOKafkaConnection(host.strip("[]"), int(port), **login)
    try:
        async with asyncio.timeout(seconds):
            await connection.connect()
    except (KafkaError, OSError, TimeoutError) as error:
        return _explain(error, address, server)
    finally:
        await _close(connection)
    # Of use if then no client can be started.
    return Diagnosis(
        False,
        f"the Kafka broker at {server} answers, but its cluster cannot be used",
        "check advertised.listeners: brokers tell clients where to connect, and that place must be reachable "
        "from this host; or the cluster is still starting",
        answers=True,
    )


async def _close(connection: Any) -> None:
    """Close a connection and wait until it is closed: under TLS the broker has a say in that."""
    if (closed := connection.close()) is not None:
        await asyncio.wait({closed}, timeout=CLOSE_SECONDS)


def _explain(error: BaseException, address: KafkaAddress, server: str) -> Diagnosis:
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed | IllegalSaslStateError):
        return Diagnosis(
            True,
            f"the Kafka broker at {server} refused the user name or the password",
            "check username and password_file in the transport URL",
        )
    if isinstance(error, UnsupportedSaslMechanismError | AuthenticationMethodNotSupported):
        return Diagnosis(
            True,
            f"the Kafka broker at {server} does not know the mechanism {address.mechanism}",
            "check mechanism in the transport URL",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Diagnosis(
            True,
            f"the certificate of the Kafka broker at {server} is not trusted: {error.verify_message}",
            "name the certificate of its authority with ca_file in the transport URL",
        )
    if isinstance(error, ssl.SSLError):
        return Diagnosis(
            True,
            f"no TLS with the Kafka broker at {server}",
            "check security in the transport URL and the port",
        )
    if isinstance(error, socket.gaierror):
        return Diagnosis(False, f"no host of that name: {server}", "check the host in the transport URL")
    if isinstance(error, TimeoutError):
        return Diagnosis(
            False,
            f"no answer from {server} in time",
            "check host and port in the transport URL and the network; the broker may be overloaded",
        )
    if isinstance(error, OSError) and not isinstance(error, _CUT_OFF):
        return Diagnosis(
            False,
            f"no Kafka broker listens at {server}",
            "check host and port in the transport URL and that the broker runs",
        )
    return Diagnosis(
        False,
        f"no Kafka connection with {server}",
        "check security in the transport URL: a port may want TLS, a login, or neither",
    )
