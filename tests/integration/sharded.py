"""Shards of SU as processes, one killed in the middle of queries: the same story on every transport."""

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Callable

from integration.deployment import COLUMNS, PATIENCE, Deployment, rows, write_csv

from pipeline.configurations import fetch_tenant
from pipeline.meter import Meter
from pipeline.parties import open_identity
from pipeline.rounds import PARTITIONS
from pipeline.rounds_record import RoundsRecord
from pipeline.settings import load_settings
from pipeline.shard import LEDGERS
from pipeline.topic_urls import open_transport
from roles.findings import Findings
from roles.unit_channels import UnitChannels
from roles.unit_keys import unit_keys
from schemas.topics import Role, TopicName, topic_name

EVEN, ODD = ("--shard", "1/2"), ("--shard", "2/2")
CLIENT_PARTITION = 2
"""Of client ``c``; model ``nb`` and the base transfers are on odd ones."""
QUERIES = 12

Replies = dict[tuple[bytes, int], set[bytes]]


async def _replies(deployment: Deployment) -> dict[int, Replies]:
    settings = load_settings(deployment.config)
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_tenant(settings, transport)
        identity = open_identity(settings, tenant, "su", Role.SU)
        keys = unit_keys("su", identity.keystore.secrets, lambda _: None)
        findings = Findings()
        record = RoundsRecord(transport, tenant, UnitChannels(tenant, "su", keys), findings, Meter())
        await record.open()
        found: dict[int, Replies] = {}
        for partition in PARTITIONS:
            record.replies.clear()
            await record.read_replies(partition)
            given: Replies = defaultdict(set)
            for (session, step, _), replies in record.replies.items():
                given[session, step] |= {reply.body_hash for reply in replies if not reply.reason}
            found[partition] = {step: bodies for step, bodies in given.items() if bodies}
        assert not findings.found
        return found


async def _requests(deployment: Deployment) -> int:
    settings = load_settings(deployment.config)
    async with open_transport(settings.transport) as transport:
        tenant = await fetch_tenant(settings, transport)
        name = topic_name(tenant.name, TopicName.ROUND_REQUESTS)
        return await transport.end_offset(name, CLIENT_PARTITION)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def kill_a_shard_in_mid_query(deployment: Deployment, *, keep_ledgers: bool) -> None:
    """Let two shards answer, kill one of them while it does, and let one process take over both.

    Args:
        deployment: Without topics yet but the configuration's.
        keep_ledgers: Whether the new process finds those of the shards, or has the topics alone.
    """
    asked = [row[:3] for row in rows(QUERIES, 42)]
    file = write_csv(deployment.folder / "asked.csv", asked, COLUMNS[:3])
    ask = ("predict", str(file), "--client", "c", "--rows-per-query", "1", "--timeout", "50")
    with deployment.unit("mu"):
        with deployment.unit("su", *EVEN) as dying, deployment.unit("su", *ODD):
            deployment.publish(120)
            labels = deployment.predict(QUERIES, 42)
            before = asyncio.run(_requests(deployment))
            asking = deployment.begin(*ask)
            # In the middle of a query, and at no place that the test chooses.
            until(lambda: asyncio.run(_requests(deployment)) >= before + 4)
            assert dying.end(signal.SIGKILL).code == -signal.SIGKILL
        if not keep_ledgers:
            for path in (deployment.folder / "T" / "state").glob(f"{LEDGERS}*"):
                path.unlink()
        with deployment.unit("su"):
            answered = deployment.finish(asking)
    assert answered.code == 0, answered
    assert [line["label"] for line in answered.objects[:-1]] == labels
    replies = asyncio.run(_replies(deployment))
    work = [sum(len(replies[partition]) for partition in PARTITIONS[first::2]) for first in (0, 1)]
    # Refresh and base transfers on odd partitions; on the client's three steps for every query.
    assert work[0] == 3 * (QUERIES + 1)
    assert work[1] > 0
    assert all(len(bodies) == 1 for given in replies.values() for bodies in given.values())
    audits = [deployment.run("audit"), *(deployment.run(unit, "self-audit") for unit in ("mu", "su"))]
    assert [audit.code for audit in audits] == [0, 0, 0], audits
