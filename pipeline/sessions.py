"""MU's sessions with SU: the base transfers once, re-keyed chunks, lessons, refreshes and queries.

Everything is a function of the journal, the log and MU's keys: asked again, also after a restart,
it gives the same bytes.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from crypto.dtpkc import Ciphertext, encode_ciphertexts
from crypto.errors import CryptoError, RemoteProtocolError
from pipeline.rounds import PlanTooLargeError, RoundExchange, SecondaryRefusedError
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.chunk_encodings import Vectors
from roles.classifiers.learner import LEARN, QUERY, AskedQuery, MasterCall
from roles.learners import AnyLearner
from roles.model_state import ModelState
from roles.rekeying import REKEY, rekey_call
from roles.session import MasterProgram, Session, session_name
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from roles.unit_secrets import UnitSecrets
from roles.vectors import decode_vectors
from schemas.journal import JournalEntry
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.snapshots import WaitingChunk

Result = TypeVar("Result")

UNANSWERABLE = (SecondaryRefusedError, PlanTooLargeError, RemoteProtocolError, CryptoError)
"""What a message, or SU's replies about it, may lead to; anything else is a bug or a broken disk."""

KEPT_PREPARATIONS = 4
SESSION_ATTEMPTS = 3


class Sessions:
    """Runs MU's half of sessions; what several of them need is computed once and shared."""

    def __init__(
        self,
        exchange: RoundExchange,
        tenant: Tenant,
        keys: UnitKeys,
        pool: ThreadPoolExecutor,
        group: asyncio.TaskGroup,
    ) -> None:
        """Take what sessions need; those that several callers share run in `group`."""
        self._exchange = exchange
        self._tenant = tenant
        self._keys = keys
        self._pool = pool
        self._group = group
        self._bases: asyncio.Future[TransferBases] | None = None
        self._prepared: OrderedDict[bytes, asyncio.Future[Any]] = OrderedDict()

    def go_on(self, tenant: Tenant, keys: UnitKeys) -> None:
        """Run sessions in another key epoch from now on; none is under way.

        What was prepared before is of no use any more: SU has another share of it.
        """
        self._tenant, self._keys, self._bases = tenant, keys, None
        self._prepared.clear()

    async def meet(self) -> None:
        """Run the base transfers if they were not run yet; raises like `answer`."""
        await self._transfer_bases()

    async def answer(
        self, learner: AnyLearner, entry: JournalEntry, model: ModelState, query: Query
    ) -> Answer:
        """Return the answer to a journaled query from the version that the entry fixed.

        Raises:
            SecondaryRefusedError: SU refuses, and goes on doing so.
            PlanTooLargeError: The query's session would not fit.
            RemoteProtocolError, CryptoError: A reply of SU cannot be used.
        """
        prepared = await self._preparation(learner, model)
        place = {
            "client": entry.sender,
            "message_hash": entry.message_hash,
            "partition": entry.partition,
            "offset": entry.offset,
            "rows": query.rows,
        }
        layouts = learner.query_layouts(query.rows)
        asked = AskedQuery(
            learner.subject(QUERY, model, **place),
            query,
            decode_vectors(self._tenant, query.vectors, learner.query_encodings, layouts),
        )
        client_key = self._tenant.roster.client_keys[entry.sender]
        call = await asyncio.to_thread(learner.answering, model, prepared, asked, client_key)
        sealed: list[Ciphertext] = await self.run(call, "query_rounds")
        encoded = encode_ciphertexts(self._tenant.parameters, sealed)
        return Answer(query.query_id, query.rows, model.version, "", encoded)

    async def teach(self, call: MasterCall[Result]) -> Result:
        """Run a session of a lesson; raises like `answer`."""
        return await self.run(call, LEARN)

    async def rekey(self, chunk: WaitingChunk, vectors: Vectors) -> Vectors:
        """Return a chunk's ciphertexts under the service key; raises like `answer`."""
        return await self.run(rekey_call(self._tenant, chunk, vectors), REKEY)

    async def run(self, call: MasterCall[Result], activity: str) -> Result:
        """Run a session after the base transfers; raises like `answer`."""
        bases = await self._transfer_bases()
        ends = bases.receiver, bases.sender
        secrets = UnitSecrets("mu", self._keys.theta, self._keys.seed, *ends, self._keys.strong_share)

        def start() -> tuple[Session, MasterProgram[Result]]:
            session = Session(self._tenant, "mu", self._keys.seed, call.subject, call.plan)
            return session, call.program(session, secrets, self._pool)

        return await self._run(start, activity)

    async def _run(self, start: Callable[[], tuple[Session, MasterProgram[Result]]], activity: str) -> Result:
        """Run a session to its end; again from its start if SU has forgotten it meanwhile."""
        for attempt in range(1, SESSION_ATTEMPTS + 1):
            try:
                return await self._exchange.run(*start(), activity)
            except SecondaryRefusedError as error:
                if error.reason != ReasonCode.PLAN_VIOLATION or attempt == SESSION_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _share(self, work: Coroutine[None, None, Result]) -> asyncio.Future[Result]:
        """Start what several callers wait for; only what makes a message unanswerable is theirs."""
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

    async def _preparation(self, learner: AnyLearner, model: ModelState) -> Any:
        """Return what queries to a version need: one session for all of them."""
        call = await asyncio.to_thread(learner.preparation, model)
        if call is None:
            return None
        name = session_name(self._tenant, call.subject)
        prepared = self._prepared.get(name)
        if prepared is None or _failed(prepared):
            prepared = self._share(self.run(call, "refresh"))
            self._prepared[name] = prepared
            self._forget_old()
        return await asyncio.shield(prepared)

    def _forget_old(self) -> None:
        # Not one that is being made: the same session must not run twice at a time.
        done = [name for name, prepared in self._prepared.items() if prepared.done()]
        kept = KEPT_PREPARATIONS * len(self._tenant.configuration.models)
        for name in done[: max(0, len(self._prepared) - kept)]:
            del self._prepared[name]

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

        bases = await self._run(start, "base_transfers")
        await asyncio.to_thread(self._keys.store_bases, bases)
        return bases


def _failed(shared: asyncio.Future[Result]) -> bool:
    return shared.done() and (shared.cancelled() or shared.exception() is not None)
