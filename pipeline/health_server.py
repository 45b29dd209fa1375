"""A unit's `/metrics`, `/healthz` and `/readyz` over HTTP, on a thread beside the event loop.

The thread asks the loop; a loop that does not answer is what `/healthz` finds out. Nothing is read from a
request but its path. There is no login and no TLS: bind it to an address that only the operator reaches.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import TimeoutError as NoAnswerError
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any, Self, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.errors import PipelineError
from pipeline.unit_probe import UnitProbe
from schemas.reasons import ReasonCode

T = TypeVar("T")

LOOP_SECONDS = 5.0
"""A loop that takes longer to answer does not respond; a probe of the topics takes less."""
REQUEST_SECONDS = 5.0
_TEXT = "text/plain; charset=utf-8"


class MetricsAddressError(PipelineError):
    """Nothing can be served at the address of `--metrics`."""

    code = ReasonCode.USAGE


@dataclass(frozen=True, slots=True)
class MetricsAddress:
    """Where to serve metrics; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``; an IPv6 address stands in brackets.

        Raises:
            MetricsAddressError: It is no such text.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
            raise MetricsAddressError("--metrics takes HOST:PORT, such as 127.0.0.1:9464")
        return cls(host, int(port))


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: all logs go through the allow-list."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that broke; see `_Handler.log_message`."""


class HealthServer:
    """Serves a unit's health while it is entered; a context manager.

    Attributes:
        address: ``HOST:PORT`` where it listens.
    """

    def __init__(self, where: MetricsAddress, probe: UnitProbe) -> None:
        """Listen at an address, within a running event loop.

        Raises:
            MetricsAddressError: The address is taken, or not of this host.
        """
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        try:
            family, *_, place = socket.getaddrinfo(
                where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            kind = type("_Server", (_Server,), {"address_family": family})
            self._server: WSGIServer = kind(place[:2], _Handler)
        except OSError as error:
            raise MetricsAddressError(
                f"metrics cannot be served at {where.host}:{where.port} ({error.strerror})",
                hint="name a free port of this host with --metrics",
            ) from None
        self._server.set_app(self._answer)
        host = f"[{where.host}]" if ":" in where.host else where.host
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *ending: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # --- on threads of the server

    def _answer(self, request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, kind, body = self._response(request.get("PATH_INFO", ""))
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if request.get("REQUEST_METHOD") == "HEAD" else body]

    def _response(self, path: str) -> tuple[str, str, bytes]:
        try:
            match path:
                case "/metrics":
                    return "200 OK", CONTENT_TYPE_LATEST, self._ask(self._probe.metrics)
                case "/healthz":
                    self._ask(_nothing)
                    return "200 OK", _TEXT, b"ok\n"
                case "/readyz":
                    reason = self._ask(self._probe.unready)
                    text = (reason or "ready") + "\n"
                    return "503 Service Unavailable" if reason else "200 OK", _TEXT, text.encode()
                case _:
                    return "404 Not Found", _TEXT, b"/metrics, /healthz or /readyz\n"
        except NoAnswerError:
            return "503 Service Unavailable", _TEXT, b"the event loop does not respond\n"

    def _ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        asked = asyncio.run_coroutine_threadsafe(question(), self._loop)
        try:
            return asked.result(LOOP_SECONDS)
        finally:
            asked.cancel()


async def _nothing() -> None:
    """Take one turn of the event loop."""
