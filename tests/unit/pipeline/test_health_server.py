"""A unit's health over HTTP: what each path says, and when."""

import asyncio
import http.client
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from pipeline import health_server
from pipeline.health_server import HealthServer, MetricsAddress, MetricsAddressError


@dataclass
class Probe:
    """Stands for a unit."""

    reason: str = ""

    async def unready(self) -> str:
        return self.reason

    async def metrics(self) -> bytes:
        return b"privml_rounds_total 1.0\n"


@pytest.fixture
async def served() -> AsyncIterator[tuple[HealthServer, Probe]]:
    probe = Probe()
    with HealthServer(MetricsAddress("127.0.0.1", 0), probe) as server:  # type: ignore[arg-type]
        yield server, probe


def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_every_path_has_its_answer(
    served: tuple[HealthServer, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    server, probe = served
    assert await asyncio.to_thread(get, server, "/healthz") == (200, b"ok\n")
    assert await asyncio.to_thread(get, server, "/readyz") == (200, b"ready\n")
    assert await asyncio.to_thread(get, server, "/metrics") == (200, b"privml_rounds_total 1.0\n")
    assert (await asyncio.to_thread(get, server, "/metrics", "HEAD"))[0] == 200
    assert (await asyncio.to_thread(get, server, "/privml.toml"))[0] == 404
    probe.reason = "catching up"
    assert await asyncio.to_thread(get, server, "/readyz") == (503, b"catching up\n")
    # A unit that is not ready is alive, and nothing was written beside the log.
    assert (await asyncio.to_thread(get, server, "/healthz"))[0] == 200
    assert capsys.readouterr().err == ""


async def test_a_loop_that_does_not_respond_is_unhealthy(
    served: tuple[HealthServer, Probe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_server, "LOOP_SECONDS", 0.05)
    asked = asyncio.create_task(asyncio.to_thread(get, served[0], "/healthz"))
    await asyncio.sleep(0)
    # Blocks the loop on purpose, for longer than the server waits.
    time.sleep(0.5)  # noqa: ASYNC251
    assert await asked == (503, b"the event loop does not respond\n")


async def test_a_taken_address_is_refused_with_what_to_do(served: tuple[HealthServer, Probe]) -> None:
    taken = MetricsAddress.parse(served[0].address)
    with pytest.raises(MetricsAddressError, match="cannot be served"):
        HealthServer(taken, served[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "localhost:", "localhost:x", "h:65536", "h:-1", "h:１"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(MetricsAddressError):
        MetricsAddress.parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:9464", "::1", 9464)]
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert MetricsAddress.parse(text) == MetricsAddress(host, port)
