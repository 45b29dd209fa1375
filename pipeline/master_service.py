"""MU as a process: folds its journal, then accepts chunks and answers queries until it is stopped.

Every decision is written to the journal before it is acted on; what follows a decision (the
model, a receipt, an answer) is computed from the journal and the log alone, so that a restarted
MU does the same again.
"""

import asyncio
import hashlib
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import structlog

from crypto.errors import PrivMLError, RemoteProtocolError, SchemaError
from crypto.parameters import Ciphertext, decode_ciphertexts, encode_ciphertexts
from pipeline.journal_fold import fold_journal, stored_chunk, stored_query
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.rounds import RoundExchange, SecondaryRefusedError
from pipeline.transport import Transport
from roles.arrival import Arrival, Refused
from roles.building_blocks.base_transfers import TransferBases, base_master, base_plan, base_subject
from roles.classifiers.naive_bayes_query import QueryShape, query_master
from roles.classifiers.naive_bayes_table import TableShare, refresh_master, table_shape
from roles.master_unit import MasterUnit, ScreenedChunk, ScreenedQuery, query_subject, refresh_subject
from roles.model_state import ModelState
from roles.refusal import Refusal, refusal_reason
from roles.session import Session
from roles.tenant import Tenant
from roles.unit_keys import UnitKeys
from roles.unit_secrets import UnitSecrets
from schemas.chunks import Withdrawal
from schemas.codec import decode, encode
from schemas.envelope import message_id
from schemas.journal import DeadLetter, EntryKind, JournalEntry, Receipt
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName

log = structlog.get_logger()

Screened = ScreenedChunk | tuple[Arrival, Withdrawal] | Refused

WAIT_SECONDS = 5.0
KEPT_TABLES = 4
SESSIONS_AT_ONCE = 4
SESSION_ATTEMPTS = 3


class MasterService:
    """MU's loops around `roles.master_unit`."""

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        keys: UnitKeys,
        publisher: Publisher,
        meter: Meter,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._transport = transport
        self._tenant = tenant
        self._keys = keys
        self._publisher = publisher
        self._meter = meter
        self._pool = pool
        self._exchange = RoundExchange(transport, tenant, publisher, meter)
        self._journal_lock = asyncio.Lock()
        self._bases: asyncio.Task[TransferBases] | None = None
        self._tables: OrderedDict[bytes, asyncio.Task[TableShare]] = OrderedDict()
        self._sessions = asyncio.Semaphore(SESSIONS_AT_ONCE)
        self.unit = MasterUnit.starting(tenant, tenant.configuration.models[0])

    async def recover(self) -> None:
        """Fold the journal; afterwards `unit` is as it was when MU stopped.

        Raises:
            StorageError: An entry of the chain is missing, or a message that it names.
        """
        self.unit = await fold_journal(self._transport, self._tenant)
        log.info(
            "recovered",
            entries=self.unit.next_sequence,
            chunks=self.unit.model.chunks,
            version=self.unit.model.version,
        )

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Work until cancelled. `recover` comes first."""
        await self._exchange.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._exchange.read_replies())
            for entry, model in list(self.unit.open_queries.values()):
                group.create_task(self._answer_journaled(entry, model))
            group.create_task(self._read_chunks())
            group.create_task(self._read_queries(group))
            if ready is not None:
                ready.set()

    # --- chunks

    async def _read_chunks(self) -> None:
        inbox = self._inbox(TopicName.CHUNKS)
        while True:
            arrivals = await inbox.receive(WAIT_SECONDS)
            if arrivals:
                with self._meter.activity("chunk", times=len(arrivals)):
                    screened, failing = await asyncio.to_thread(self._screen_chunks, arrivals)
                    await self._decide_chunks(screened, failing)

    def _screen_chunks(self, arrivals: list[Arrival | Refused]) -> tuple[list[Screened], frozenset[int]]:
        """Screen what came and check all proofs together; failing are positions in the list."""
        screened: list[Screened] = []
        for arrival in arrivals:
            if isinstance(arrival, Refused):
                screened.append(arrival)
                continue
            try:
                result = self.unit.screen_chunk(arrival)
            except PrivMLError as error:
                screened.append(Refused(arrival, refusal_reason(error)))
            else:
                screened.append((arrival, result) if isinstance(result, Withdrawal) else result)
        proofs = [i for i, item in enumerate(screened) if isinstance(item, ScreenedChunk)]
        statements = [item.statement for item in screened if isinstance(item, ScreenedChunk)]
        failing = self.unit.failing_proofs(statements)
        return screened, frozenset(proofs[i] for i in failing)

    async def _decide_chunks(self, screened: list[Screened], failing: frozenset[int]) -> None:
        """Journal a batch of decisions together, then act on them.

        The entries are chained and folded in order and appended in one go (group commit); what
        others can see, receipts and dead letters, waits until all of them are durable. If an
        append fails MU dies, and its next life folds what was written.
        """
        async with self._journal_lock:
            decided: list[tuple[Arrival, JournalEntry, bytes]] = []
            async with asyncio.TaskGroup() as group:
                for position, item in enumerate(screened):
                    arrival, entry, ciphertexts = await self._decide(item, failed=position in failing)
                    wires = self._publisher.seal(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
                    entry_id = message_id(wires[0])
                    group.create_task(self._append_entry(wires))
                    self.unit.apply(entry, entry_id, ciphertexts)
                    decided.append((arrival, entry, entry_id))
        async with asyncio.TaskGroup() as group:
            for arrival, entry, entry_id in decided:
                if entry.reason:
                    group.create_task(self._dead_letter(arrival, entry.reason))
                if arrival.sender:
                    group.create_task(self._receipt(arrival, entry, entry_id))

    async def _append_entry(self, wires: list[bytes]) -> None:
        await self._publisher.append(TopicName.JOURNAL, wires)

    async def _decide(
        self, item: Screened, *, failed: bool
    ) -> tuple[Arrival, JournalEntry, tuple[Ciphertext, ...]]:
        """Return the message, its journal entry, and the ciphertexts that the entry moves."""
        if isinstance(item, ScreenedChunk):
            if failed:
                return item.arrival, self.unit.decide_reject(item.arrival, ReasonCode.BAD_PROOF), ()
            return item.arrival, self.unit.decide_chunk(item), item.ciphertexts
        if isinstance(item, Refused):
            return item.arrival, self.unit.decide_reject(item.arrival, ReasonCode(item.reason)), ()
        arrival, withdrawal = item
        entry = self.unit.decide_withdrawal(arrival, withdrawal)
        if entry.kind != EntryKind.WITHDRAW:
            return arrival, entry, ()
        known = self.unit.accepted[arrival.sender, withdrawal.owner_sequence]
        return (
            arrival,
            entry,
            await stored_chunk(
                self._transport, self._tenant, known.partition, known.offset, known.message_hash
            ),
        )

    async def _receipt(self, arrival: Arrival, entry: JournalEntry, entry_id: bytes) -> None:
        receipt = Receipt(arrival.message_hash, arrival.sequence, entry.reason, entry.sequence, entry_id)
        body = encode(receipt)
        await self._publisher.publish(
            TopicName.RECEIPTS, "receipt", sequence_of(body), body, key=arrival.sender.encode()
        )

    # --- queries

    async def _read_queries(self, group: asyncio.TaskGroup) -> None:
        inbox = self._inbox(TopicName.QUERIES)
        while True:
            for arrival in await inbox.receive(WAIT_SECONDS, max_messages=SESSIONS_AT_ONCE):
                if isinstance(arrival, Refused):
                    await self._reject_query(arrival.arrival, ReasonCode(arrival.reason), None)
                else:
                    await self._accept_query(arrival, group)

    async def _accept_query(self, arrival: Arrival, group: asyncio.TaskGroup) -> None:
        query: Query | None = None
        try:
            with self._meter.activity("query"):
                screened = await asyncio.to_thread(self._screen_query, arrival)
        except PrivMLError as error:
            try:
                query = decode(Query, arrival.body)
            except SchemaError:
                query = None
            await self._reject_query(arrival, refusal_reason(error), query)
            return
        async with self._journal_lock:
            entry = self.unit.decide_query(screened)
            entry_id = await self._write(entry)
            self.unit.apply(entry, entry_id, query_id=screened.query.query_id)
        _, model = self.unit.open_queries[arrival.message_hash]
        group.create_task(self._answer(entry, model, screened.query))

    def _screen_query(self, arrival: Arrival) -> ScreenedQuery:
        screened = self.unit.screen_query(arrival)
        if self.unit.failing_proofs([screened.statement]):
            raise Refusal(ReasonCode.BAD_PROOF)
        return screened

    async def _reject_query(self, arrival: Arrival, reason: ReasonCode, query: Query | None) -> None:
        async with self._journal_lock:
            entry = self.unit.decide_reject(arrival, reason)
            entry_id = await self._write(entry)
            self.unit.apply(entry, entry_id)
        await self._dead_letter(arrival, reason)
        # The same query again is no news to the client: its answer is there or on its way.
        if query is not None and reason not in {ReasonCode.DUPLICATE, ReasonCode.EQUIVOCATION}:
            await self._send_answer(arrival.sender, Answer(query.query_id, query.rows, 0, reason, b""))

    async def _answer_journaled(self, entry: JournalEntry, model: ModelState) -> None:
        await self._answer(entry, model, await stored_query(self._transport, self._tenant, entry))

    async def _answer(self, entry: JournalEntry, model: ModelState, query: Query) -> None:
        async with self._sessions:
            try:
                answer = await self._run_query(entry, model, query)
            except (SecondaryRefusedError, RemoteProtocolError) as error:
                reason = error.reason if isinstance(error, SecondaryRefusedError) else refusal_reason(error)
                log.warning("query_failed", reason=reason.value, journal_sequence=entry.sequence)
                answer = Answer(query.query_id, query.rows, model.version, reason, b"")
        body = encode(answer)
        async with self._journal_lock:
            closing = self.unit.decide_answered(entry, hashlib.sha256(body).digest())
            self.unit.apply(closing, await self._write(closing))
        await self._send_answer(entry.sender, answer)

    async def _run_query(self, entry: JournalEntry, model: ModelState, query: Query) -> Answer:
        bases = await self._transfer_bases()
        secrets = UnitSecrets("mu", self._keys.theta, self._keys.seed, bases.receiver, bases.sender)
        table = await self._table(model, secrets)
        subject = query_subject(self._tenant, model, entry)
        shape = QueryShape(table_shape(self._tenant, subject), query.rows)
        ciphertexts = tuple(decode_ciphertexts(self._tenant.parameters, query.ciphertexts))
        client_key = self._tenant.client_keys[entry.sender]
        key = entry.sender.encode()
        for attempt in range(SESSION_ATTEMPTS):
            session = Session(self._tenant, "mu", self._keys.seed, subject, shape.plan)
            program = query_master(session, secrets, shape, ciphertexts, table, client_key, self._pool)
            try:
                sealed = await self._exchange.run(session, program, key, "query_rounds")
                break
            except SecondaryRefusedError as error:
                # SU may have forgotten a half-done session; from the start it computes the same.
                if error.reason != ReasonCode.PLAN_VIOLATION or attempt + 1 == SESSION_ATTEMPTS:
                    raise
        return Answer(
            query.query_id, query.rows, model.version, "", encode_ciphertexts(self._tenant.parameters, sealed)
        )

    async def _table(self, model: ModelState, secrets: UnitSecrets) -> TableShare:
        """Return MU's share of the model's table: one refresh for all queries that need it."""
        subject = refresh_subject(self._tenant, model)
        if subject.model_hash not in self._tables:
            while len(self._tables) >= KEPT_TABLES:
                self._tables.popitem(last=False)
            shape = table_shape(self._tenant, subject)
            session = Session(self._tenant, "mu", self._keys.seed, subject, shape.plan)
            program = refresh_master(session, secrets, shape, model, self._pool)
            key = model.spec.model_id.encode()
            task = asyncio.create_task(self._exchange.run(session, program, key, "refresh"))
            task.add_done_callback(lambda done: self._forget_failed(subject.model_hash, done))
            self._tables[subject.model_hash] = task
        return await asyncio.shield(self._tables[subject.model_hash])

    def _forget_failed(self, model_hash: bytes, task: asyncio.Task[TableShare]) -> None:
        if (task.cancelled() or task.exception() is not None) and self._tables.get(model_hash) is task:
            del self._tables[model_hash]

    async def _transfer_bases(self) -> TransferBases:
        if self._keys.bases is not None:
            return self._keys.bases
        if self._bases is None or (self._bases.done() and self._bases.exception() is not None):
            self._bases = asyncio.create_task(self._run_base_session())
        return await asyncio.shield(self._bases)

    async def _run_base_session(self) -> TransferBases:
        session = Session(self._tenant, "mu", self._keys.seed, base_subject(), base_plan(self._tenant))
        program = base_master(session, self._keys.delta, self._pool)
        bases = await self._exchange.run(session, program, b"base", "base_transfers")
        self._keys.store_bases(bases)
        return bases

    # --- writing

    def _inbox(self, topic: TopicName) -> Inbox:
        offset = self.unit.next_offset.get((topic, 0), 0)
        return Inbox(self._transport, self._tenant, topic, offset=offset, meter=self._meter)

    async def _write(self, entry: JournalEntry) -> bytes:
        """Append a journal entry and return its id."""
        published = await self._publisher.publish(TopicName.JOURNAL, "entry", entry.sequence, encode(entry))
        return published.message_hash

    async def _dead_letter(self, arrival: Arrival, reason: str) -> None:
        letter = DeadLetter(
            arrival.topic,
            arrival.partition,
            arrival.offset,
            arrival.message_hash,
            reason,
            self._publisher.sender,
        )
        body = encode(letter)
        self._meter.dead_letters += 1
        log.warning("refused", topic=arrival.topic, offset=arrival.offset, reason=reason)
        await self._publisher.publish(TopicName.DEAD_LETTERS, "deadletter", sequence_of(body), body)

    async def _send_answer(self, client: str, answer: Answer) -> None:
        body = encode(answer)
        await self._publisher.publish(
            TopicName.ANSWERS, "answer", sequence_of(body), body, key=client.encode()
        )
