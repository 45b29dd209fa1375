"""Running a unit as a process: threads, tables, loops, and the figures at the end."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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
from pipeline.shard import LEDGERS, LOCK_FILE, WHOLE, Shard
from pipeline.transport import Transport
from pipeline.unit_probe import UnitProbe
from roles.chunk_encodings import ChunkEncodings
from roles.learners import learners_of
from roles.secondary_epochs import SecondaryEpochs
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from schemas.topics import Role

BATCH_OF_PROOFS = 128
PROOF_TABLE_WINDOW = 6
MU_LOCK_FILE = "mu.lock"
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
    shard: Shard = WHOLE,
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
        shard: Which partitions of the rounds SU serves.

    Raises:
        MetricsAddressError: Nothing can be served there.
    """
    meter = Meter()
    probe = UnitProbe(role.value, transport, tenant, meter)
    with (
        _sole_unit(role, settings.state, shard),
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
                ledger = stack.enter_context(contextlib.closing(open_ledger(settings.state, shard)))
                epochs = SecondaryEpochs(tenant, keys, pool)
                service = SecondaryService(transport, tenant, epochs, publisher, ledger, meter, shard)
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


def _sole_unit(role: Role, state: Path, shard: Shard) -> contextlib.AbstractContextManager[None]:
    if role is Role.MU:
        return sole_process(state / MU_LOCK_FILE, "`privml mu`")
    return sole_process(state / LOCK_FILE, "`privml su`, or a shard of it,", shard.partitions)


def open_ledger(state: Path, shard: Shard) -> SessionLedger:
    """Open a shard's ledger, with what other shards' ledgers in the folder have of its partitions.

    Raises:
        StorageError: A ledger cannot be used, or two of them contradict each other.
    """
    own = shard.ledger(state)
    ledger = SessionLedger(own)
    try:
        for path in sorted(state.glob(LEDGERS)):
            if path != own:
                ledger.adopt(path, shard.partitions)
    except BaseException:
        ledger.close()
        raise
    return ledger


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
