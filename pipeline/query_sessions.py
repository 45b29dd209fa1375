"""MU's sessions with SU: base transfers once, a table per model, then one session per query."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from crypto.errors import CryptoError, RemoteProtocolError
from crypto.parameters import Ciphertext, decode_ciphertexts, encode_ciphertexts
from pipeline.rounds import PlanTooLargeError, RoundExchange, SecondaryRefusedError
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.classifiers.naive_bayes_query import QueryShape, query_master
from roles.classifiers.naive_bayes_table import TableShare, refresh_master, table_shape
from roles.master_unit import query_subject, refresh_subject
from roles.model_state import ModelState
from roles.session import MasterProgram, Session, session_name
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from roles.unit_secrets import UnitSecrets
from schemas.journal import JournalEntry
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode

Result = TypeVar("Result")

UNANSWERABLE = (SecondaryRefusedError, PlanTooLargeError, RemoteProtocolError, CryptoError)
"""What a query, or SU's replies to it, may lead to; anything else is a bug or a broken disk."""

BASE_KEY = b"base"
"""Chooses the partition of the base session; models and clients choose theirs by name."""
KEPT_TABLES = 4
SESSION_ATTEMPTS = 3


class QuerySessions:
    """Computes answers; what several queries need is computed once and shared.

    Everything is a function of the journal, the log and MU's keys: asked again, also after a
    restart, it gives the same bytes.
    """

    def __init__(
        self,
        exchange: RoundExchange,
        tenant: Tenant,
        keys: UnitKeys,
        pool: ThreadPoolExecutor,
        group: asyncio.TaskGroup,
    ) -> None:
        """Take what sessions need; those that several queries share run in `group`."""
        self._exchange = exchange
        self._tenant = tenant
        self._keys = keys
        self._pool = pool
        self._group = group
        self._bases: asyncio.Future[TransferBases] | None = None
        self._tables: OrderedDict[bytes, asyncio.Future[TableShare]] = OrderedDict()

    async def answer(self, entry: JournalEntry, model: ModelState, query: Query) -> Answer:
        """Return the answer to a journaled query from the model that the entry fixed.

        Raises:
            SecondaryRefusedError: SU refuses, and goes on doing so.
            PlanTooLargeError: The query's session would not fit.
            RemoteProtocolError, CryptoError: A reply of SU cannot be used.
        """
        bases = await self._transfer_bases()
        secrets = UnitSecrets("mu", self._keys.theta, self._keys.seed, bases.receiver, bases.sender)
        table = await self._table(model, secrets)
        subject = query_subject(self._tenant, model, entry)
        shape = QueryShape(table_shape(self._tenant, subject), query.rows)
        ciphertexts = tuple(decode_ciphertexts(self._tenant.parameters, query.ciphertexts))
        client_key = self._tenant.client_keys[entry.sender]

        def start() -> tuple[Session, MasterProgram[list[Ciphertext]]]:
            session = Session(self._tenant, "mu", self._keys.seed, subject, shape.plan)
            program = query_master(session, secrets, shape, ciphertexts, table, client_key, self._pool)
            return session, program

        sealed = await self._run(start, entry.sender.encode(), "query_rounds")
        return Answer(
            query.query_id, query.rows, model.version, "", encode_ciphertexts(self._tenant.parameters, sealed)
        )

    async def _run(
        self, start: Callable[[], tuple[Session, MasterProgram[Result]]], key: bytes, activity: str
    ) -> Result:
        """Run a session to its end; again from its start if SU has forgotten it meanwhile."""
        for attempt in range(1, SESSION_ATTEMPTS + 1):
            try:
                return await self._exchange.run(*start(), key, activity)
            except SecondaryRefusedError as error:
                if error.reason != ReasonCode.PLAN_VIOLATION or attempt == SESSION_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _share(self, work: Coroutine[None, None, Result]) -> asyncio.Future[Result]:
        """Start what several queries wait for; only what makes a query unanswerable is theirs."""
        shared: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        # Retrieved here, as all who wait may be gone by then.
        shared.add_done_callback(_failed)

        async def run() -> None:
            try:
                result = await work
            except UNANSWERABLE as error:
                shared.set_exception(error)
            else:
                shared.set_result(result)

        self._group.create_task(run())
        return shared

    async def _table(self, model: ModelState, secrets: UnitSecrets) -> TableShare:
        """Return MU's share of the model's table: one refresh for all queries that need it."""
        subject = refresh_subject(self._tenant, model)
        name = session_name(self._tenant, subject)
        table = self._tables.get(name)
        if table is None or _failed(table):
            shape = table_shape(self._tenant, subject)

            def start() -> tuple[Session, MasterProgram[TableShare]]:
                session = Session(self._tenant, "mu", self._keys.seed, subject, shape.plan)
                return session, refresh_master(session, secrets, shape, model, self._pool)

            table = self._share(self._run(start, model.spec.model_id.encode(), "refresh"))
            self._tables[name] = table
            self._forget_old_tables()
        return await asyncio.shield(table)

    def _forget_old_tables(self) -> None:
        # Not one that is being made: the same session must not run twice at a time.
        done = [name for name, table in self._tables.items() if table.done()]
        for name in done[: max(0, len(self._tables) - KEPT_TABLES)]:
            del self._tables[name]

    async def _transfer_bases(self) -> TransferBases:
        if self._keys.bases is not None:
            return self._keys.bases
        if self._bases is None or _failed(self._bases):
            self._bases = self._share(self._run_base_session())
        return await asyncio.shield(self._bases)

    async def _run_base_session(self) -> TransferBases:
        def start() -> tuple[Session, MasterProgram[TransferBases]]:
            session = Session(self._tenant, "mu", self._keys.seed, base_subject(), base_plan(self._tenant))
            return session, base_master(session, self._keys.delta, self._pool)

        bases = await self._run(start, BASE_KEY, "base_transfers")
        await asyncio.to_thread(self._keys.store_bases, bases)
        return bases


def _failed(shared: asyncio.Future[Result]) -> bool:
    return shared.done() and (shared.cancelled() or shared.exception() is not None)
