"""Running a unit as a process: threads, tables, loops, and the figures at the end."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crypto.plaintext_proof import table_bits
from pipeline.health_server import HealthServer, MetricsAddress
from pipeline.journal_index_file import JournalIndexFile
from pipeline.master_service import MasterService
from pipeline.meter import Meter
from pipeline.parties import Identity
from pipeline.process_lock import sole_process
from pipeline.secondary_service import SecondaryService
from pipeline.session_ledger import SessionLedger
from pipeline.settings import Settings
from pipeline.transport import Transport
from pipeline.unit_probe import UnitProbe
from roles.chunk_encodings import ChunkEncodings
from roles.learners import learners_of
from roles.secondary_unit import SecondaryUnit
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys, unit_channel
from schemas.topics import Role

BATCH_OF_PROOFS = 128
PROOF_TABLE_WINDOW = 6
LEDGER_FILE = "su.ledger"
INDEX_FILE = "mu.index"


async def run_unit(
    role: Role,
    settings: Settings,
    transport: Transport,
    tenant: Tenant,
    identity: Identity,
    keys: UnitKeys,
    ready: Callable[[str | None], None],
    *,
    metrics: MetricsAddress | None = None,
) -> dict[str, Any]:
    """Run MU or SU until the task is cancelled; return what it did and saw.

    Args:
        role: ``mu`` or ``su``.
        settings: Where state lies.
        transport: Open.
        tenant: Public facts.
        identity: The unit's.
        keys: The unit's.
        ready: Called once, when the unit listens, with the address of its metrics if it has one.
        metrics: Where to serve metrics and health, from the beginning on.

    Raises:
        MetricsAddressError: Nothing can be served there.
    """
    meter = Meter()
    probe = UnitProbe(role.value, transport, tenant, meter)
    with (
        sole_process(settings.state / f"{role.value}.lock", f"`privml {role.value}`"),
        ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
        contextlib.ExitStack() as stack,
    ):
        served = None if metrics is None else stack.enter_context(HealthServer(metrics, probe))
        try:
            await asyncio.to_thread(prepare_tables, tenant, role)
            publisher = identity.publisher(tenant, transport)
            service: MasterService | SecondaryService
            if role is Role.MU:
                index = stack.enter_context(contextlib.closing(JournalIndexFile(settings.state / INDEX_FILE)))
                service = MasterService(transport, tenant, keys, publisher, index, meter, pool)
                await service.recover()
            else:
                ledger = stack.enter_context(contextlib.closing(SessionLedger(settings.state / LEDGER_FILE)))
                unit = SecondaryUnit(
                    tenant, keys.theta, keys.seed, keys.delta, keys.bases, keys.store_bases, pool
                )
                channel = unit_channel(tenant, role.value, keys)
                service = SecondaryService(transport, tenant, unit, channel, publisher, ledger, meter)
            probe.started(service)
            async with asyncio.TaskGroup() as group:
                listening = asyncio.Event()
                group.create_task(service.run(listening))
                await listening.wait()
                probe.listening()
                ready(None if served is None else served.address)
        except asyncio.CancelledError:
            # SIGTERM or SIGINT: the ordinary end, at whatever point it comes.
            return meter.summary()
    return meter.summary()


def prepare_tables(tenant: Tenant, role: Role) -> None:
    """Make the tables of fixed bases that the role's hot path uses."""
    profile = tenant.parameters.profile
    if role is Role.SU:
        tenant.parameters.prepare(tenant.parameters.g)
        return
    limits = tenant.configuration.limits
    learners = learners_of(tenant).values()
    values = max(
        sum(layout.ciphertexts for layout in ChunkEncodings(tenant).layouts(limits.max_chunk_records)),
        *(
            sum(layout.ciphertexts for layout in learner.query_layouts(limits.max_query_rows))
            for learner in learners
        ),
    )
    tenant.service_key.prepare(PROOF_TABLE_WINDOW, table_bits(profile, values, batch=BATCH_OF_PROOFS))
