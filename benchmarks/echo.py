"""A round trip between MU and SU without their arithmetic: topics, seals, signatures and SU's ledger.

MU's and SU's own loops, each in a process, with a stand-in for SU's programs that answers at once.
"""

import asyncio
import hashlib
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.deployment import Deployment
from crypto.coins import Coins
from pipeline.mailbox import Publisher
from pipeline.meter import Meter
from pipeline.rounds import RoundExchange, partition_of
from pipeline.secondary_service import SecondaryService
from pipeline.session_ledger import SessionLedger
from pipeline.topic_urls import open_transport
from roles.secondary_epochs import SecondaryEpochs
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from roles.unit_keys import unit_channel
from schemas.rounds import Reply, Request, Subject
from schemas.topics import topic_specs

BODY_BYTES = 4096
# Until the ledger writes over what it wrote before, as it does from then on.
WARM_UP = 400
FORK = multiprocessing.get_context("fork")


class _Echo:
    """Answers every request with as many bytes, at once."""

    bases = object()
    pool: ThreadPoolExecutor | None = None
    heads = SimpleNamespace(offer=lambda _: False)

    def answer(self, request: Request, body: bytes, _: object) -> Reply:
        """Return a reply of the size of the request."""
        return Reply(request.session, request.step, hashlib.sha256(body).digest(), "", request.sections)

    def is_open(self, _: bytes) -> bool:
        """Return that nothing has to be read again."""
        return False


async def measure_round_trips(
    deployment: Deployment, url: str, folder: Path, count: int
) -> tuple[float, float, float]:
    """Return 5th percentile, median and 95th percentile of the seconds of a round trip, one at a time."""
    tenant = deployment.plain_tenant
    ready = FORK.Event()
    process = FORK.Process(target=_serve, args=(deployment, tenant, url, folder, ready), daemon=True)
    async with open_transport(url) as transport:
        await transport.create_topics(topic_specs(tenant.name))
    process.start()
    try:
        await asyncio.to_thread(ready.wait, 60)
        async with open_transport(url) as transport:
            seconds = await _ask_all(deployment, tenant, transport, count)
    finally:
        process.terminate()
        process.join()
    ordered = sorted(seconds)
    return ordered[len(ordered) // 20], median(ordered), ordered[len(ordered) * 95 // 100]


async def _ask_all(deployment: Deployment, tenant: Tenant, transport: Any, count: int) -> list[float]:
    publisher = Publisher(transport, tenant.name, "mu", 1, deployment.signing_keys["mu"])
    channel = unit_channel(tenant, "mu", deployment.unit_keys("mu"))
    exchange = RoundExchange(transport, tenant, publisher, channel, Meter())
    await exchange.open()
    subject = Subject("learn", "nb")
    coins, seconds = Coins.fresh(), []
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(exchange.read_replies())
        for number in range(WARM_UP + count):
            section = coins.bytes(BODY_BYTES)
            request = Request(coins.bytes(32), subject, bytes(32), 1, (section,))
            start = time.perf_counter()
            reply = await exchange._ask(request, partition_of(subject))
            if number >= WARM_UP:
                seconds.append(time.perf_counter() - start)
            if reply.sections != (section,):
                raise RuntimeError(f"the reply is another one: {reply.reason}")
        reading.cancel()
    return seconds


def _serve(deployment: Deployment, tenant: Tenant, url: str, folder: Path, ready: Any) -> None:
    async def serve() -> None:
        async with open_transport(url) as transport:
            publisher = Publisher(transport, tenant.name, "su", 1, deployment.signing_keys["su"])
            epochs = SecondaryEpochs(tenant, deployment.unit_keys("su"))
            ledger = SessionLedger(folder / "su.ledger")
            epochs.unit = cast(SecondaryUnit, _Echo())
            service = SecondaryService(transport, tenant, epochs, publisher, ledger, Meter())
            listening = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(service.run(listening))
                await listening.wait()
                ready.set()

    try:
        asyncio.run(serve())
    finally:
        # Without the exit handlers of the process that it was forked from.
        os._exit(0)
