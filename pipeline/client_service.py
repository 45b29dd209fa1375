"""The client as a process: rows become encrypted queries, sealed answers become labels."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from crypto.coins import Coins
from crypto.dtpkc import WeakPrivateKey
from crypto.errors import SchemaError
from pipeline.errors import PipelineError, TransportError
from pipeline.log_setup import get_logger
from pipeline.mailbox import Inbox, Publisher, sequence_of
from pipeline.meter import Meter
from pipeline.query_book import QueryBook
from pipeline.rounds import BASE_KEY, PARTITIONS
from pipeline.transport import Transport, partition_for_key
from roles.arrival import Arrival
from roles.client import make_query, read_answer
from roles.encoding import EncodedRecords
from roles.learners import AnyLearner
from roles.refusal import Refusal
from roles.tenant import Tenant
from schemas.codec import decode, encode
from schemas.queries import Answer, Query
from schemas.reasons import ReasonCode
from schemas.topics import TopicName, topic_name

log = get_logger()


class NoAnswerError(PipelineError):
    """The units gave no answer in time; says which one is silent, as far as can be seen."""

    code = ReasonCode.TIMEOUT


@dataclass(frozen=True, slots=True)
class Answered:
    """The labels of one query.

    Attributes:
        query_id: The query's id.
        labels: One index per row; C stands for a row that was no one-hot encoding.
        scores: What else the model told of every row; None where nothing was asked for.
        model_version: Version of the model that answered.
        seconds: From publishing the query to reading the answer.
        query_bytes: Size of the query on its topic.
        answer_bytes: Size of the answer's body.
    """

    query_id: bytes
    labels: Sequence[int] = field(repr=False)
    scores: Sequence[Sequence[int]] | None = field(repr=False)
    model_version: int
    seconds: float
    query_bytes: int
    answer_bytes: int


class ClientService:
    """One client's questions, one at a time."""

    def __init__(
        self,
        transport: Transport,
        tenant: Tenant,
        key: WeakPrivateKey,
        publisher: Publisher,
        meter: Meter,
        pool: ThreadPoolExecutor | None = None,
        book: QueryBook | None = None,
        key_epoch: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """Take what asking needs; `key_epoch` looks up the key epoch in force, once another one began."""
        self._transport = transport
        self._tenant = tenant
        self._key = key
        self._publisher = publisher
        self._meter = meter
        self._pool = pool
        self._book = book
        self._key_epoch = key_epoch
        self._inbox: Inbox | None = None
        self._unanswered_before: int | None = None

    async def open(self, model_id: str) -> None:
        """Note where the answers end: answers to come are read from there.

        Args:
            model_id: Whom the client will ask.
        """
        topic = topic_name(self._tenant.name, TopicName.ANSWERS)
        offset = await self._transport.end_offset(topic, 0)
        self._inbox = Inbox(
            self._transport, self._tenant, TopicName.ANSWERS, offset=offset, meter=self._meter
        )
        self._unanswered_before = await self._unanswered(model_id)

    async def ask(
        self, learner: AnyLearner, rows: EncodedRecords, timeout_seconds: float, *, scores: bool = False
    ) -> Answered:
        """Ask for the labels of some rows and wait for the answer; once more if a key epoch began meanwhile.

        Args:
            learner: Of the model to ask.
            rows: At most the tenant's limit per query.
            timeout_seconds: How long to wait.
            scores: Ask for more than labels, where the model has more to tell.

        Raises:
            NoAnswerError: Nothing came in time.
            Refusal: The units refused the query.
        """
        while True:
            try:
                return await self._ask(learner, rows, timeout_seconds, scores=scores)
            except Refusal as refusal:
                if refusal.reason != ReasonCode.WRONG_KEY_EPOCH or not await self._follow():
                    raise

    async def _follow(self) -> bool:
        """Go on to the key epoch in force; return whether it is a later one."""
        before = self._publisher.key_epoch
        now = before if self._key_epoch is None else await self._key_epoch()
        self._publisher = replace(self._publisher, key_epoch=now)
        return now > before

    async def _ask(
        self, learner: AnyLearner, rows: EncodedRecords, timeout_seconds: float, *, scores: bool
    ) -> Answered:
        with self._meter.activity("encrypt"):
            query, wires = await asyncio.to_thread(self._seal, learner, rows, scores=scores)
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._book is not None and self._inbox is not None:
            # Before it leaves: whoever is interrupted reads the answer later.
            await asyncio.to_thread(self._book.add, query, self._inbox.next_offset)
        await self._publisher.append(TopicName.QUERIES, wires, key=self._publisher.sender.encode())
        log.info("query_published", model=learner.model_id, records=query.rows, bytes=sum(map(len, wires)))
        answer, size = await self._wait(query, started + timeout_seconds)
        seconds = loop.time() - started
        if self._book is not None:
            await asyncio.to_thread(self._book.mark_shown, query.query_id)
        code = answer.reason or "answered"
        log.info("query_closed", model_version=answer.model_version, code=code, seconds=round(seconds, 3))
        with self._meter.activity("open"):
            opened = await asyncio.to_thread(read_answer, learner, self._key, query, answer)
        return Answered(
            query.query_id,
            opened.labels,
            opened.scores,
            answer.model_version,
            seconds,
            sum(map(len, wires)),
            size,
        )

    def _seal(self, learner: AnyLearner, rows: EncodedRecords, *, scores: bool) -> tuple[Query, list[bytes]]:
        client = self._publisher.sender
        query = make_query(
            *(learner, client, rows, Coins.fresh()),
            scores=scores,
            pool=self._pool,
            key_epoch=self._publisher.key_epoch,
        )
        body = encode(query)
        return query, self._publisher.seal(TopicName.QUERIES, "query", sequence_of(body), body)

    async def _wait(self, query: Query, deadline: float) -> tuple[Answer, int]:
        if self._inbox is None:
            raise RuntimeError("open the client first")
        loop = asyncio.get_running_loop()
        while (remaining := deadline - loop.time()) > 0:
            for arrival in await self._inbox.receive(min(remaining, 5.0)):
                if isinstance(arrival, Arrival):
                    try:
                        answer = decode(Answer, arrival.body)
                    except SchemaError:
                        continue
                    if answer.query_id == query.query_id:
                        return answer, len(arrival.body)
        raise await self._silence(query.model_id)

    async def _silence(self, model_id: str) -> NoAnswerError:
        """Say which unit seems silent, as far as a client can see."""
        before, now = self._unanswered_before, await self._unanswered(model_id)
        if before is None or now is None:
            return NoAnswerError(
                "no answer in time", hint="check that `privml mu` and `privml su` are running"
            )
        # MU repeats what SU leaves unanswered, ever more rarely; without MU nothing is added.
        silent = "su" if now > before or now == before > 0 else "mu"
        return NoAnswerError(
            f"no answer in time: {silent.upper()} is silent",
            hint=f"check that `privml {silent}` is running; the query is on its topic and will be answered: "
            "`privml client answers` reads it then",
        )

    async def _unanswered(self, model_id: str) -> int | None:
        """Count MU's requests without a reply, as far as they may be about this client.

        None where the client may not even ask how long these topics are.
        """
        name = self._tenant.name
        keys = (BASE_KEY, model_id.encode(), self._publisher.sender.encode())
        partitions = {partition_for_key(key, len(PARTITIONS)) for key in keys}
        unanswered = 0
        try:
            for partition in partitions:
                for topic, sign in ((TopicName.ROUND_REQUESTS, 1), (TopicName.ROUND_REPLIES, -1)):
                    end = await self._transport.end_offset(topic_name(name, topic), partition)
                    unanswered += sign * end
        except TransportError:
            return None
        return unanswered
