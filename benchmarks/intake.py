"""How fast MU takes in chunks that are waiting: from its start to the last receipt, the log included."""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.deployment import OWNER, Deployment
from benchmarks.echo import FORK
from benchmarks.learner import Learner
from pipeline.journal_index_file import JournalIndexFile
from pipeline.mailbox import Publisher
from pipeline.master_service import MasterService
from pipeline.meter import Meter
from pipeline.topic_urls import open_transport
from roles.tenant import Tenant
from schemas.topics import TopicName, topic_name, topic_specs

CHUNK_RECORDS = 50
PATIENCE = 300.0


async def measure_intake(
    deployment: Deployment, learner: Learner, chunks: list[list[bytes]], url: str, folder: Path
) -> float:
    """Return how many chunks a second MU decides, journals durably and receipts."""
    tenant = learner.tenant
    name = topic_name(tenant.name, TopicName.RECEIPTS)
    async with open_transport(url) as transport:
        await transport.create_topics(topic_specs(tenant.name))
        owner = Publisher(transport, tenant.name, OWNER, 1, deployment.signing_keys[OWNER])
        for wires in chunks:
            await owner.append(TopicName.CHUNKS, wires, key=OWNER.encode())
    receiving, sending = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_serve, args=(deployment, tenant, url, folder, sending), daemon=True)
    process.start()
    try:
        start: float = await asyncio.to_thread(receiving.recv)
        async with open_transport(url) as transport, asyncio.timeout(PATIENCE):
            end = 0
            while end < len(chunks):
                await transport.read(name, 0, end, max_messages=1, wait_seconds=0.5)
                end = await transport.end_offset(name, 0)
            seconds = time.monotonic() - start
            messages = await transport.read(topic_name(tenant.name, TopicName.DEAD_LETTERS), 0, 0)
            if messages:
                raise RuntimeError("MU refused a chunk")
    finally:
        process.terminate()
        process.join()
    return len(chunks) / seconds


def _serve(deployment: Deployment, tenant: Tenant, url: str, folder: Path, started: Any) -> None:
    async def serve() -> None:
        async with open_transport(url) as transport:
            publisher = Publisher(transport, tenant.name, "mu", 1, deployment.signing_keys["mu"])
            with (
                contextlib.closing(JournalIndexFile(folder / "mu.index")) as index,
                ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            ):
                keys = deployment.unit_keys("mu")
                service = MasterService(transport, tenant, keys, publisher, index, Meter(), pool)
                await service.recover()
                started.send(time.monotonic())
                await service.run()

    try:
        asyncio.run(serve())
    finally:
        os._exit(0)
